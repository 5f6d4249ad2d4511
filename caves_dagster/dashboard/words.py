"""What the page says, in each of its languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["fr", "en"]
LANGUAGES: dict[Language, str] = {"fr": "Français", "en": "English"}


@dataclass(frozen=True)
class Words:
    """One language. `{}` stands for a figure, a moment or a name."""

    shop: str
    period: str
    periods: dict[str, str]
    days: str
    language: str
    as_of: str
    sales: str
    trust: str
    orders_last_day: str
    revenue_last_day: str
    on_the_day_before: str
    orders: str
    revenue: str
    average: str
    rows: str
    rows_last_day: str
    validation: str
    statuses: dict[str, str]
    not_validated: str
    to_validate: str
    wanting: str
    dead_letters: str
    of_last_day: str
    lag: str
    messages: str
    unknown: str
    last_event: str
    never: str
    ago: str
    revenue_per_day: str
    revenue_column: str
    sources: dict[str, str]
    top_by_quantity: str
    top_by_revenue: str
    by_channel: str
    stock_by_category: str
    low_stock: str
    low_stock_of: str
    no_low_stock: str
    latest: str
    latest_rows: str
    day: str
    date: str
    time: str
    number: str
    product: str
    category: str
    quantity: str
    customer: str
    channel: str
    source: str
    place: str
    stock: str
    details: str
    nothing_yet: str
    nothing_chosen: str
    no_figures: str
    figures_of: str
    broker_away: str
    tries_again: str
    units: tuple[str, str, str, str]


ENGLISH = Words(
    shop="Shop",
    period="Period",
    periods={
        "all": "All",
        "7d": "Last 7 days",
        "30d": "Last 30 days",
        "365d": "Last 365 days",
        "chosen": "From … to …",
    },
    days="Days",
    language="Language",
    as_of="As of {}, UTC like all days and times here",
    sales="Sales",
    trust="Can these figures be trusted?",
    orders_last_day="Orders, last 24 h",
    revenue_last_day="Revenue, last 24 h",
    on_the_day_before="on the 24 h before",
    orders="Orders in the period",
    revenue="Revenue in the period",
    average="{} an order",
    rows="Rows in {}",
    rows_last_day="Events, last 24 h",
    validation="Validation",
    statuses={"PASS": "Passed", "WARN": "Warnings", "FAIL": "Failed"},
    not_validated="None yet",
    to_validate="“caves validate” makes a report",
    wanting="Not passed: {}",
    dead_letters="Dead letters",
    of_last_day="{} of the last 24 h",
    lag="Waiting in Kafka",
    messages="messages",
    unknown="Unknown",
    last_event="Last event",
    never="None yet",
    ago="{} ago",
    revenue_per_day="Revenue per day",
    revenue_column="Revenue",
    sources={"BATCH": "Batch", "STREAMING": "Stream"},
    top_by_quantity="Top 5 products by quantity",
    top_by_revenue="Top 5 products by revenue",
    by_channel="Revenue by channel",
    stock_by_category="Stock by category",
    low_stock="Low stock",
    low_stock_of="{} in all; the lowest:",
    no_low_stock="Nothing is low.",
    latest="The 20 latest orders",
    latest_rows="The 20 latest entries",
    day="Day",
    date="Date",
    time="Time",
    number="Order",
    product="Product",
    category="Category",
    quantity="Quantity",
    customer="Customer",
    channel="Channel",
    source="Source",
    place="Place",
    stock="Stock",
    details="Details",
    nothing_yet="Nothing has been sold yet, or nothing has reached production. `caves status` says what "
    "waits where; `caves produce --shop {}` sends orders to try it out.",
    nothing_chosen="Nothing was sold in this period.",
    no_figures="The warehouse gives no figures.",
    figures_of="What is shown is of {}.",
    broker_away="What waits in Kafka is unknown.",
    tries_again="This page tries again by itself.",
    units=("s", "min", "h", "d"),
)

FRENCH = Words(
    shop="Boutique",
    period="Période",
    periods={
        "all": "Tout",
        "7d": "7 derniers jours",
        "30d": "30 derniers jours",
        "365d": "365 derniers jours",
        "chosen": "Du … au …",
    },
    days="Jours",
    language="Langue",
    as_of="État à {}, UTC comme tous les jours et heures de cette page",
    sales="Ventes",
    trust="Peut-on se fier à ces chiffres ?",
    orders_last_day="Commandes, 24 dernières h",
    revenue_last_day="Chiffre d'affaires, 24 dernières h",
    on_the_day_before="sur les 24 h d'avant",
    orders="Commandes de la période",
    revenue="Chiffre d'affaires de la période",
    average="{} par commande",
    rows="Lignes dans {}",
    rows_last_day="Événements, 24 dernières h",
    validation="Validation",
    statuses={"PASS": "Réussie", "WARN": "Alertes", "FAIL": "Échec"},
    not_validated="Aucune",
    to_validate="« caves validate » fait un rapport",
    wanting="Non réussis : {}",
    dead_letters="Messages rejetés",
    of_last_day="{} des 24 dernières h",
    lag="En attente dans Kafka",
    messages="messages",
    unknown="Inconnu",
    last_event="Dernier événement",
    never="Aucun",
    ago="il y a {}",
    revenue_per_day="Chiffre d'affaires par jour",
    revenue_column="Montant",
    sources={"BATCH": "Historique", "STREAMING": "Flux"},
    top_by_quantity="Top 5 des produits par quantité",
    top_by_revenue="Top 5 des produits par chiffre d'affaires",
    by_channel="Chiffre d'affaires par canal",
    stock_by_category="Stock par catégorie",
    low_stock="Stock bas",
    low_stock_of="{} en tout ; les plus bas :",
    no_low_stock="Rien n'est bas.",
    latest="Les 20 dernières commandes",
    latest_rows="Les 20 dernières entrées",
    day="Jour",
    date="Date",
    time="Heure",
    number="Commande",
    product="Produit",
    category="Catégorie",
    quantity="Quantité",
    customer="Client",
    channel="Canal",
    source="Origine",
    place="Lieu",
    stock="Stock",
    details="Détails",
    nothing_yet="Rien n'est encore vendu, ou rien n'est arrivé en production. `caves status` dit ce qui "
    "attend, et où ; `caves produce --shop {}` envoie des commandes d'essai.",
    nothing_chosen="Rien n'a été vendu pendant cette période.",
    no_figures="L'entrepôt de données ne donne pas de chiffres.",
    figures_of="Les chiffres montrés sont ceux de {}.",
    broker_away="Ce qui attend dans Kafka est inconnu.",
    tries_again="Cette page réessaie d'elle-même.",
    units=("s", "min", "h", "j"),
)

WORDS: dict[Language, Words] = {"fr": FRENCH, "en": ENGLISH}
