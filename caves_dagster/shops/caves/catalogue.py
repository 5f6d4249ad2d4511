"""What the wine shop sells, to whom, where from and how: the facts that batch seed and live events share.

Prices are euros per bottle, sizes litres. Names end with the emoji of their category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

CATEGORIES: Mapping[str, str] = {
    "Rouge": "🍷",
    "Blanc": "🥂",
    "Rosé": "🌸",
    "Effervescent": "🍾",
    "Spiritueux": "🥃",
}
"""Emoji by category."""

SALES_CHANNELS = ("E-com", "Boutique", "Téléphone", "Salon")
ADJUSTMENT_TYPES = ("RESTOCK", "SALE_CORRECTION", "RETURN", "DAMAGE", "COUNT")
WAREHOUSES = (
    "Paris",
    "Lyon",
    "Bordeaux",
    "Marseille",
    "Nantes",
    "Lille",
    "Strasbourg",
    "Toulouse",
    "Dijon",
    "Reims",
    "Montpellier",
    "Nîmes",
)
CUSTOMER_IDS = range(1, 151)


@dataclass(frozen=True, slots=True)
class Product:
    """One bottle on the list."""

    product_id: int
    name: str
    """With its category's emoji."""
    category: str
    price: Decimal
    """Euros, two decimals."""
    bottle_size_liters: Decimal


_FIRST_ID = 1000
_LIST: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "Rouge": (
        ("Château des Tilleuls Saint-Émilion", "34.90", "0.75"),
        ("Médoc Cru Bourgeois", "22.50", "0.75"),
        ("Pomerol Clos des Vignes", "58.00", "0.75"),
        ("Bourgogne Pinot Noir", "19.80", "0.75"),
        ("Gevrey-Chambertin Vieilles Vignes", "62.00", "0.75"),
        ("Côtes du Rhône Villages", "11.90", "0.75"),
        ("Châteauneuf-du-Pape", "39.50", "0.75"),
        ("Gigondas Les Dentelles", "24.00", "0.75"),
        ("Morgon Côte du Py", "16.40", "0.75"),
        ("Cahors Malbec", "13.20", "0.75"),
        ("Madiran Tradition", "14.60", "0.75"),
        ("Chinon Vieilles Vignes", "12.80", "0.75"),
        ("Pic Saint-Loup", "15.70", "0.75"),
        ("Bandol Rouge", "27.30", "0.75"),
        ("Saint-Joseph Magnum", "49.00", "1.5"),
    ),
    "Blanc": (
        ("Chardonnay Réserve", "18.50", "0.75"),
        ("Chablis Premier Cru", "28.90", "0.75"),
        ("Meursault Les Narvaux", "64.00", "0.75"),
        ("Sancerre Les Caillottes", "21.60", "0.75"),
        ("Pouilly-Fumé", "20.40", "0.75"),
        ("Muscadet Sèvre et Maine sur Lie", "9.90", "0.75"),
        ("Riesling Grand Cru", "26.50", "0.75"),
        ("Gewurztraminer Vendanges Tardives", "32.00", "0.375"),
        ("Condrieu", "47.50", "0.75"),
        ("Vouvray Demi-Sec", "14.30", "0.75"),
        ("Picpoul de Pinet", "8.90", "0.75"),
        ("Sauternes Demi-Bouteille", "29.00", "0.375"),
    ),
    "Rosé": (
        ("Côtes de Provence", "12.50", "0.75"),
        ("Bandol Rosé", "19.90", "0.75"),
        ("Tavel", "13.80", "0.75"),
        ("Cabernet d'Anjou", "7.60", "0.75"),
        ("Sable de Camargue Gris", "6.90", "0.75"),
        ("Irouléguy Rosé", "12.20", "0.75"),
        ("Provence Magnum", "28.00", "1.5"),
    ),
    "Effervescent": (
        ("Champagne Brut Tradition", "31.50", "0.75"),
        ("Champagne Blanc de Blancs", "42.00", "0.75"),
        ("Champagne Rosé", "45.00", "0.75"),
        ("Champagne Brut Magnum", "69.00", "1.5"),
        ("Crémant d'Alsace", "11.80", "0.75"),
        ("Crémant de Loire", "10.90", "0.75"),
        ("Blanquette de Limoux", "9.40", "0.75"),
        ("Clairette de Die", "10.20", "0.75"),
    ),
    "Spiritueux": (
        ("Cognac VSOP", "48.00", "0.7"),
        ("Cognac XO", "129.00", "0.7"),
        ("Armagnac Hors d'Âge", "72.00", "0.7"),
        ("Calvados du Pays d'Auge", "39.00", "0.7"),
        ("Rhum Vieux Agricole", "54.50", "0.7"),
        ("Marc de Bourgogne", "36.00", "0.7"),
        ("Eau-de-Vie de Mirabelle", "34.00", "0.5"),
        ("Liqueur de Chartreuse", "44.90", "0.7"),
    ),
}


def _number() -> tuple[Product, ...]:
    bottles = [(category, *bottle) for category, listed in _LIST.items() for bottle in listed]
    return tuple(
        Product(_FIRST_ID + index, f"{name} {CATEGORIES[category]}", category, Decimal(price), Decimal(size))
        for index, (category, name, price, size) in enumerate(bottles)
    )


PRODUCTS = _number()
"""The fifty wines and spirits, ids 1000 to 1049."""
