"""SQL files: rendered by Jinja for names, split into statements by the connector's own parser.

Values never go through Jinja: they are bound (`%(name)s`).
"""

from __future__ import annotations

from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound

from caves_dagster.errors import DeclarationError
from caves_dagster.shop import SQL_ROOT, Shop, Table


@cache
def _environment(root: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([root, SQL_ROOT]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def render(root: Path, name: str, **names: Any) -> str:
    """The SQL of the file `name` under `root`, with `names` put in.

    Raises:
        DeclarationError: the file is missing or uses a name it is not given.
    """
    try:
        return _environment(root).get_template(name).render(**names)
    except TemplateNotFound:
        raise DeclarationError(f"The SQL file {root / name} does not exist.", "Write it.") from None
    except TemplateError as error:
        raise DeclarationError(f"The SQL file {root / name} cannot be rendered: {error}.") from error


def statements(sql: str) -> list[str]:
    """The statements of a script, comments kept with the statement they precede."""
    from snowflake.connector.util_text import split_statements

    found = [text.strip() for text, _ in split_statements(StringIO(sql), remove_comments=True)]
    return [text.rstrip(";").strip() for text in found if text.strip("; \n")]


def transformation_sql(shop: Shop, layer: str, table: Table, source: Table) -> list[str]:
    """The statements that fill `table` from `source`, a stream in normal work."""
    name = f"{shop.name}/{layer}/{table.name.lower()}.sql"
    return statements(render(shop.sql, name, source=source.full_name))


@cache
def setup_sql(shop: Shop) -> list[str]:
    """Every statement that a shop needs before its first event: idempotent, and none replaces a stream."""
    names = [f"ingest/setup/{path.name}" for path in sorted((SQL_ROOT / "ingest" / "setup").glob("*.sql"))]
    scripts = [render(SQL_ROOT, name, raw=shop.raw) for name in names]
    if shop.batch is not None:
        for path in sorted((SQL_ROOT / "batch" / "setup").glob("*.sql")):
            scripts.append(render(SQL_ROOT, f"batch/setup/{path.name}", schema=shop.batch.schema))
    own = sorted((shop.folder / "setup").glob("*.sql"))
    scripts += [render(shop.sql, f"{shop.name}/setup/{path.name}") for path in own]
    scripts += [render(shop.sql, f"{shop.name}/analytics/{view.name.lower()}.sql") for view in shop.views]
    return [statement for script in scripts for statement in statements(script)]
