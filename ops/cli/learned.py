"""What was learned of one incident, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ops.cli.console import duration
from schemas.words import Bearing
from sql.declarations import DeclarationRow
from sql.diagnoses import DiagnosisRow
from sql.feedback import FeedbackRow

_BORNE = {Bearing.RIGHT: "borne out", Bearing.WRONG: "wrong", Bearing.UNKNOWN: "not known whether it was right"}
_HELD = {True: "held", False: "did not hold", None: "not known"}


def diagnosis_line(row: DiagnosisRow) -> str:
    """What was taken to be wrong, by whom, and whether it was; with the critic's part, where there was one."""
    by = f"{row.source} {row.provider}".strip()
    cause = " ".join(row.root_cause.split()) or "no cause was named"
    line = f"{_BORNE[row.bearing]}: {cause} ({by})"
    if row.critic is None:
        return line
    borne = f", {_BORNE[row.critic_bearing]}" if row.critic_bearing is not None else ""
    said = f": {' '.join(row.objection.split())}" if row.objection else ""
    return f"{line}; a critic {row.critic.value}{borne}{said}"


def declared_line(row: DeclarationRow) -> Iterator[str]:
    """What was declared to follow and what of it did, and how far it reached."""
    for one in row.declared:
        yield f"{_HELD[one.held]}: {' '.join(one.said.split())}"
    foreseen = f"{row.foreseen_pods} pods" if row.foreseen_pods is not None else "not measured"
    downtime = f" and {duration(row.foreseen_downtime)} of downtime" if row.foreseen_downtime else ""
    touched = f"{row.touched_pods} pods were gone or replaced" if row.touched_pods is not None else "what it touched was not seen"
    farther = ": farther than foreseen" if row.went_farther else ""
    yield f"reach foreseen: {foreseen}{downtime}; {touched}{farther}"


def feedback_line(row: FeedbackRow) -> str:
    """What one person said, and whether something newer of that person counts."""
    note = f": {' '.join(row.note.split())}" if row.note else ""
    instead = f"; done instead: {' '.join(row.instead.split())}" if row.instead else ""
    replaced = "" if row.counts else " (replaced by a newer one)"
    return f"{row.person}: {row.rating} of 5{note}{instead}{replaced}"
