"""Everything that was tried in an incident, in lines for people: bounded, the newest last."""

from __future__ import annotations

from schemas.action import describe
from schemas.text import clean
from sql.attempts import TRIED, AttemptRow, attempts_of
from sql.database import Connection

_MOST = 8  # attempts
_LINE = 170  # characters
_ERROR = 60


async def with_tried(connection: Connection, incident: str, question: str, limit: int) -> str:
    """The question with all that was tried in the incident, one line each, within `limit` characters."""
    rows, total = await attempts_of(connection, incident, limit=_MOST) if incident else ([], 0)
    question = " ".join(question.split())  # the lines below are ours alone
    if not rows:
        return clean(question, limit)
    left_out = [f"… {total - len(rows)} earlier"] if total > len(rows) else []
    lines = [TRIED, *left_out, *(line_of(row) for row in rows)]
    text = "\n".join(lines)
    return f"{clean(question, limit - len(text) - 1)}\n{text}"


def line_of(row: AttemptRow) -> str:
    """One attempt: when, what, how it ended, what was judged of it, by whom."""
    ended = ", ".join(filter(None, (row.outcome or row.state or "not known yet", f"verified as {row.verdict}" if row.verdict else "")))
    error = f" ({clean(' '.join(row.error.split()), _ERROR)})" if row.error and not row.verdict else ""
    people = ", ".join(row.signers)
    by = ({"rejected": "rejected by "}.get(row.state, "signed by ") + people) if people else "without a signature"
    repair = "a repair, " if row.repairs else ""
    said = f"- {row.at:%m-%d %H:%M} {describe(row.action)}: {ended}{error}, {repair}{by}"
    return clean(" ".join(said.split()), _LINE)
