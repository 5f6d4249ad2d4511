"""A proposal written as a shop: declaration, contract, SQL and a test, in a folder of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from caves_dagster.declaration import check_shops
from caves_dagster.declared_sql import check_sql
from caves_dagster.errors import CavesError
from caves_dagster.new_shop.names import attribute
from caves_dagster.new_shop.proposal import Field, Proposal
from caves_dagster.shops import shop_in

_TEMPLATES = Path(__file__).parent / "templates"
_PYTHON = {
    "integer": "Integer",
    "decimal": "Number",
    "boolean": "bool",
    "timestamp": "Timestamp",
}


@dataclass(frozen=True)
class Struct:
    """One object of the event, as the contract's code has it; innermost objects come first."""

    name: str
    what: str
    lines: Sequence[str]


def write_shop(name: str, topic: str, into: Path, proposal: Proposal, owner: str) -> Path:
    """Write the shop, load it back and hold it against its SQL; the folder.

    Raises:
        CavesError: the folder is there already or cannot be written.
    """
    folder = into.expanduser().resolve() / name
    if folder.exists():
        raise CavesError(f"{folder} is there already.", "Choose another name, or folder with --into.")
    names = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "topic": topic,
        "owner": owner,
        "upper": name.upper(),
        "proposal": proposal,
        "structs": list(_structs(proposal)),
        "imports": _imports(proposal),
        "figure": proposal.figure,
    }
    try:
        for template, path in _files(name):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_environment().get_template(template).render(**names), encoding="utf-8")
        lines = (json.dumps(sample, ensure_ascii=False) for sample in proposal.samples)
        (folder / "samples.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        shop = shop_in(folder)
        check_shops([shop])
        check_sql(shop)
    except OSError as error:
        raise CavesError(f"{folder} cannot be written: {error}.", "Choose another with --into.") from None
    except CavesError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """Each template, and the file that it becomes."""
    sql = Path("sql") / name
    yield "shop.py.j2", Path("__init__.py")
    yield "contract.py.j2", Path("contract.py")
    yield "test.py.j2", Path(f"test_{name}.py")
    yield "setup_raw.sql.j2", sql / "setup" / "10_raw.sql"
    yield "setup_production.sql.j2", sql / "setup" / "20_production.sql"
    yield "raw.sql.j2", sql / "raw" / "events.sql"
    yield "production.sql.j2", sql / "production" / "latest.sql"
    yield "duplicates.sql.j2", sql / "checks" / "duplicates.sql"
    yield "raw_vs_prod_counts.sql.j2", sql / "checks" / "raw_vs_prod_counts.sql"
    yield "dashboard_rows.sql.j2", sql / "dashboard" / "rows.sql"


def _environment() -> Environment:
    """Other brackets than SQL's templates have, which these write."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _structs(proposal: Proposal) -> Iterator[Struct]:
    """The objects of the event, the innermost first, the event itself last."""
    for path in sorted((*proposal.objects, ()), key=len, reverse=True):
        fields = [
            (one.path[-1], _type(one), one.required) for one in proposal.fields if one.path[:-1] == path
        ]
        fields += [
            (below[-1], _class(below), always)
            for below, always in proposal.objects.items()
            if below[:-1] == path
        ]
        # msgspec wants those with a default last.
        fields.sort(key=lambda one: not one[2])
        what = f"The object `{'.'.join(path)}`." if path else "One event; fields that are not named are kept."
        lines = [_line(*one) for one in fields] or ["pass"]
        yield Struct(_class(path), what, lines)


def _imports(proposal: Proposal) -> list[str]:
    """What the contract uses of `contract_types`."""
    kinds = {one.kind for one in proposal.fields}
    others = any(one.kind == "timestamp" and one != proposal.time for one in proposal.fields)
    used = {
        "Integer": "integer" in kinds,
        "Timestamp": "timestamp" in kinds,
        "check_moment": others,
        "moment": proposal.time is not None,
        "utc": proposal.time is not None,
    }
    return [name for name, is_used in used.items() if is_used]


def _class(path: Sequence[str]) -> str:
    return "_".join(attribute(part).title().replace("_", "") for part in path) + (
        "Object" if path else "Event"
    )


def _type(one: Field) -> str:
    if one.kind == "text":
        return f"Text{one.size}"
    return _PYTHON[one.kind]


def _line(name: str, kind: str, required: bool) -> str:
    python = attribute(name)
    if python == name:
        return f"{name}: {kind}" if required else f"{name}: {kind} | None = None"
    renamed = f"name={json.dumps(name)}"
    if required:
        return f"{python}: {kind} = msgspec.field({renamed})"
    return f"{python}: {kind} | None = msgspec.field(default=None, {renamed})"
