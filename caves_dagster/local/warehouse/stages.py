"""Internal stages: folders beside the databases. PUT is done by the client, which is told where to write."""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from sqlglot import exp

from caves_dagster.local.warehouse import results
from caves_dagster.local.warehouse.commands import Remove
from caves_dagster.local.warehouse.errors import StatementError, not_found, syntax_error, unsupported
from caves_dagster.local.warehouse.names import Name, resolve, resolve_table
from caves_dagster.local.warehouse.words import Words

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session


class Location(NamedTuple):
    """A place on a stage: its folder, the path under it, and how results name the stage."""

    folder: Path
    path: str
    label: str

    def files(self) -> list[Path]:
        """The files whose path begins with this one, in order of name."""
        if not self.folder.is_dir():
            return []
        found = (file for file in self.folder.rglob("*") if file.is_file())
        return sorted(
            file for file in found if file.relative_to(self.folder).as_posix().startswith(self.path)
        )

    def shown(self, file: Path) -> str:
        """A file as LIST and COPY name it."""
        return f"{self.label}{file.relative_to(self.folder).as_posix()}"

    def inside(self, path: str) -> Path:
        """A path under this location, refused where it would leave the stage."""
        target = (self.folder / self.path / path).resolve()
        if not target.is_relative_to(self.folder.resolve()):
            raise StatementError(f"The path '{path}' is not inside the stage.", 1011, "42601")
        return target


def locate(session: Session, text: str) -> Location:
    """Resolve `@[db.][schema.]stage[/path]`, `@%table[/path]` or `@~[/path]`.

    Raises:
        StatementError: 2003, if there is no such stage.
    """
    if not text.startswith("@"):
        raise syntax_error(f"'{text}' is not a stage.")
    reference, path = _split(text[1:])
    if reference == "~":
        return Location(session.catalog.stages / "~", path, "")
    parts = reference.split(".")
    if parts[-1].startswith("%"):
        table = resolve(
            [*_names(".".join(parts[:-1])), *_names(parts[-1][1:])], session.database, session.schema
        )
        if not session.exists(table):
            raise not_found("Table", table.dotted)
        return Location(session.catalog.stage_folder(table._replace(name=f"%{table.name}")), path, "")
    stage = resolve(_names(reference), session.database, session.schema)
    if session.catalog.options(session.cursor, "STAGE", stage) is None:
        raise not_found("Stage", stage.dotted)
    return Location(session.catalog.stage_folder(stage), path, f"{stage.name.lower()}/")


def create(session: Session, tree: exp.Create) -> results.Result:
    """CREATE STAGE, internal ones."""
    stage = resolve_table(tree.this, session.database, session.schema)
    properties = tree.args["properties"].expressions if tree.args.get("properties") else []
    if any(isinstance(p, exp.Property) and p.name.upper() == "URL" for p in properties):
        raise unsupported("external stages")
    temporary = any(isinstance(p, exp.TemporaryProperty) for p in properties)
    comment = next((p.this.name for p in properties if isinstance(p, exp.SchemaCommentProperty)), None)
    known = session.catalog.options(session.cursor, "STAGE", stage) is not None
    if known and tree.args.get("exists"):
        return results.status(f"{stage.name} already exists, statement succeeded.")
    if known and not tree.args.get("replace"):
        raise StatementError(f"SQL compilation error:\nObject '{stage.name}' already exists.", 2002, "42710")
    folder = session.catalog.stage_folder(stage)
    with session.ddl(stage.database):
        session.require_schema(stage)
        owner = session.id if temporary else None
        session.catalog.record(session.cursor, "STAGE", stage, comment=comment, session=owner)
    if known:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return results.status(f"Stage area {stage.name} successfully created.")


def drop(session: Session, stage: Name, *, exists: bool) -> results.Result:
    """DROP STAGE, with its files."""
    if session.catalog.options(session.cursor, "STAGE", stage) is None:
        if exists:
            return results.status("Drop statement executed successfully.")
        raise not_found("Stage", stage.dotted)
    with session.ddl(stage.database):
        session.catalog.forget(session.cursor, "STAGE", stage)
    shutil.rmtree(session.catalog.stage_folder(stage), ignore_errors=True)
    return results.status(f"{stage.name} successfully dropped.")


def put(session: Session, tree: exp.Put) -> results.Result:
    """PUT: tell the client the folder to write to. It shares this machine's files."""
    location = locate(session, tree.args["target"].name.strip("'"))
    options = _options(tree)
    folder = location.inside("")
    folder.mkdir(parents=True, exist_ok=True)
    source = urlparse(tree.this.name)
    path = unquote(source.netloc + source.path)
    result = results.status(statement_type=0)
    result.upload = {
        "stageInfo": {"locationType": "LOCAL_FS", "location": f"{folder}/", "creds": {}},
        "src_locations": [path],
        "parallel": 4,
        "autoCompress": str(options.get("AUTO_COMPRESS", "TRUE")).upper() == "TRUE",
        "sourceCompression": str(options.get("SOURCE_COMPRESSION", "auto_detect")).lower(),
        "overwrite": str(options.get("OVERWRITE", "FALSE")).upper() == "TRUE",
        "command": "UPLOAD",
    }
    return result


def listing(session: Session, tree: exp.ListStage) -> results.Result:
    """LIST."""
    location = locate(session, tree.this.name.strip("'"))
    rows = []
    for file in location.files():
        facts = file.stat()
        changed = datetime.fromtimestamp(facts.st_mtime, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        rows.append((location.shown(file), facts.st_size, etag(file), changed))
    columns = {"name": "VARCHAR", "size": "BIGINT", "md5": "VARCHAR", "last_modified": "VARCHAR"}
    return results.rows(columns, rows)


def remove(session: Session, command: Remove) -> results.Result:
    """REMOVE: every file whose path begins with the one given."""
    location = locate(session, command.location)
    pattern = re.compile(command.pattern) if command.pattern else None
    removed = []
    for file in location.files():
        if pattern is None or pattern.fullmatch(location.shown(file)):
            file.unlink(missing_ok=True)
            removed.append((location.shown(file), "removed"))
    return results.rows({"name": "VARCHAR", "result": "VARCHAR"}, removed)


def etag(file: Path) -> str:
    """What tells two files of one name apart."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _names(dotted: str) -> list[str]:
    return Words(dotted).name() if dotted else []


def _split(text: str) -> tuple[str, str]:
    """A stage's name and the path under it; a slash within quotes belongs to the name."""
    quoted = False
    for index, character in enumerate(text):
        quoted ^= character == '"'
        if character == "/" and not quoted:
            return text[:index], text[index + 1 :]
    return text, ""


def _options(tree: exp.Put) -> dict[str, Any]:
    properties = tree.args["properties"].expressions if tree.args.get("properties") else []
    return {p.name.upper(): p.args["value"].sql() for p in properties if isinstance(p, exp.Property)}
