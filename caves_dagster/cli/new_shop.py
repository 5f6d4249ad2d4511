"""`caves new-shop`: a shop of the user's own, written from events as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from caves_dagster.settings import load_settings

if TYPE_CHECKING:
    from caves_dagster.new_shop.proposal import Proposal


def new_shop(
    name: Annotated[str, typer.Argument(help="Folder, schemas, jobs and sensors are named so.")],
    from_event: Annotated[
        Path | None, typer.Option(help="JSON: an event, an array of them, or one a line.")
    ] = None,
    from_topic: Annotated[str | None, typer.Option(help="Read the newest events of this topic.")] = None,
    topic: Annotated[str | None, typer.Option(help="Its topic; else NAME_events.")] = None,
    into: Annotated[Path, typer.Option(help="Folder in which the shop's own is made.")] = Path(),
    key: Annotated[str, typer.Option(help="Field whose latest event counts, such as order.id.")] = "",
    time: Annotated[str, typer.Option(help="Field with the time of the event.")] = "",
    event_id: Annotated[str, typer.Option(help="Field with the id of the event.")] = "",
    owner: Annotated[str, typer.Option(help="Who answers for its data: an address, or team:NAME.")] = "",
) -> None:
    """Write a working shop (declaration, contract, SQL, test) from events; say what was proposed."""
    from caves_dagster.new_shop.proposal import propose
    from caves_dagster.new_shop.samples import from_file, require_one
    from caves_dagster.new_shop.samples import from_topic as read_topic
    from caves_dagster.new_shop.writing import write_shop

    require_one(from_event, from_topic)
    if from_event is not None:
        samples = from_file(from_event)
    else:
        samples = read_topic(load_settings().kafka, from_topic or "")
    proposal = propose(samples, key, time, event_id)
    folder = write_shop(
        name,
        topic or from_topic or f"{name}_events",
        into,
        proposal,
        owner or f"team:{name}",
    )
    _print(Console(soft_wrap=True, highlight=False), name, folder, proposal)


def _print(console: Console, name: str, folder: Path, proposal: Proposal) -> None:
    table = Table(
        title=f"{len(proposal.fields)} fields in {len(proposal.samples)} sample(s)",
        title_justify="left",
        title_style="bold",
    )
    for column in ("field", "column", "type", "always there", "role"):
        table.add_column(column)
    roles = {"key": proposal.key, "time": proposal.time, "event id": proposal.event_id}
    for one in proposal.fields:
        role = ", ".join(role for role, chosen in roles.items() if chosen == one)
        column = {"time": "EVENT_TIME", "event id": "EVENT_ID (in RAW)"}.get(role, one.column)
        table.add_row(escape(one.dotted), column, one.type, "yes" if one.required else "no", role)
    console.print(table)
    for note in proposal.notes:
        console.print(escape(f"Note: {note}"))
    console.print(f"Written to {escape(str(folder))}; samples.jsonl holds the events as they were read.")
    console.print(f"To run it, put this line into .env:\nCAVES_SHOPS={escape(str(folder))}")
    console.print(f"Then: caves setup --shop {name}")
