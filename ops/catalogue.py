"""The playbooks that come with Mendstream, and how a file becomes a version in the store: always as a draft, and said in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from ops.errors import CommandFailed
from schemas.identity import new_id
from schemas.playbook import Playbook
from schemas.playbook_file import PlaybookWrong, read_playbook
from sql.audit import audit_close, audit_open
from sql.database import Connection
from sql.playbooks import PlaybookRow, PlaybookStatus, add_version, get_playbook, set_status, versions_of

BUILT_IN = "playbooks"
"""The package with the YAML files."""


def built_in() -> list[tuple[str, str]]:
    """Name and text of each file of the catalogue, by name."""
    found = sorted((item for item in files(BUILT_IN).iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return [(f"{BUILT_IN}/{item.name}", item.read_text("utf-8")) for item in found]


def texts_of(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Name and text of each file, and of each *.yaml file in a folder. Raises CommandFailed."""
    found = []
    for path in paths:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise CommandFailed(f"there is no *.yaml file in the folder {path}")
        for file in inside:
            try:
                found.append((str(file), file.read_text("utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise CommandFailed(f"{file} cannot be read: {getattr(error, 'strerror', '') or 'it is no UTF-8 text'}") from error
    return found


def read_all(texts: Sequence[tuple[str, str]]) -> list[Playbook]:
    """The playbooks in these texts. Raises CommandFailed with every fault of every file."""
    found, faults = [], []
    for file, text in texts:
        try:
            found.append(read_playbook(text, file))
        except PlaybookWrong as wrong:
            faults += wrong.faults
    if faults:
        raise CommandFailed("\n".join(str(fault) for fault in faults))
    names = [playbook.name for playbook in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise CommandFailed(f"two of the files have a playbook of the name {twice}: give one of them another")
    return found


async def import_one(connection: Connection, playbook: Playbook, *, by: str, at: datetime) -> PlaybookRow | None:
    """Keeps it as a new version, as a draft; None where the newest version says the same."""
    row = await add_version(connection, playbook, at=at, by=by)
    if row is not None:
        await _audit(connection, "import playbook", row.name, row.version, by=by, at=at)
    return row


async def move(connection: Connection, name: str, version: int, status: PlaybookStatus, *, by: str, at: datetime) -> PlaybookRow:
    """Approves or deprecates a version; 0 is the newest, or to deprecate the approved one. Raises CommandFailed where there is none."""
    chosen = version or await _meant(connection, name, status)
    known = await get_playbook(connection, name, chosen)
    if known is None:
        raise CommandFailed(f"there is no playbook {name}{f' of version {version}' if version else ''}: `mend playbooks ls` lists them")
    if known.status is status:
        raise CommandFailed(f"version {known.version} of {name} is {status.value} already, since {known.changed_at:%Y-%m-%d %H:%M} UTC")
    await set_status(connection, name, known.version, status, by=by, at=at)
    what = "approve playbook" if status is PlaybookStatus.APPROVED else "deprecate playbook"
    await _audit(connection, what, name, known.version, by=by, at=at)
    moved = await get_playbook(connection, name, known.version)
    assert moved is not None
    return moved


async def _meant(connection: Connection, name: str, status: PlaybookStatus) -> int:
    """The version that is meant where none is named: the approved one to deprecate, else the newest."""
    versions = await versions_of(connection, name)
    approved = [row.version for row in versions if row.status is PlaybookStatus.APPROVED]
    return approved[0] if approved and status is PlaybookStatus.DEPRECATED else 0


async def _audit(connection: Connection, what: str, name: str, version: int, *, by: str, at: datetime) -> None:
    row = new_id(at)
    await audit_open(connection, id=row, at=at, who=by, what=what, about=f"playbook {name} version {version}")
    await audit_close(connection, row, state="success")
