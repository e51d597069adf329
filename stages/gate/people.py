"""Who may vote, and what they are: from the gate's own settings, never from a vote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schemas.words import Choice
from sql.approvals import SignatureRow, fold_name

VIEWER = "viewer"


class People:
    """The people of the settings and their roles, by name. With nobody listed, whoever proved to be somebody may sign."""

    def __init__(self, roles: Mapping[str, Sequence[str]] | None = None) -> None:
        self._names = {fold_name(name): name for name in roles or {}}
        self._roles = {fold_name(name): tuple(given) for name, given in (roles or {}).items()}

    def refusal(self, person: str) -> str:
        """Why this person's vote may not count; empty when it may."""
        if not self._roles:
            return ""
        roles = self._roles.get(fold_name(person))
        if roles is None:
            return "this person is not listed under [people] and may not vote"
        if roles and set(roles) <= {VIEWER}:
            return "this person is a viewer, and neither signs nor rejects"
        return ""

    def roles_of(self, person: str) -> tuple[str, ...]:
        return self._roles.get(fold_name(person), ())

    def with_role(self, role: str) -> tuple[str, ...]:
        """The names of the people who have a role."""
        return tuple(sorted(self._names[name] for name, roles in self._roles.items() if role in roles))


def lacking(wanted: Iterable[str], signatures: Sequence[SignatureRow]) -> tuple[str, ...]:
    """The roles that are wanted and that none of those who signed had."""
    had = {role for one in signatures if one.choice is Choice.SIGN for role in one.roles}
    return tuple(role for role in wanted if role not in had)
