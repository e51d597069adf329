"""Who is who in a channel: the accounts there of the people in the settings."""

from __future__ import annotations

from ops.errors import SettingsWrong
from ops.settings import Settings


def accounts(settings: Settings, channel: str) -> dict[str, str]:
    """The names of persons by their accounts in a channel. Raises SettingsWrong where two have the same one."""
    found: dict[str, str] = {}
    for name, person in settings.people.items():
        account = str(getattr(person, channel))
        if account in found:
            raise SettingsWrong(
                [f"people.{name}.{channel} is the account of {found[account]} as well: each person has an account of one's own"]
            )
        if account:
            found[account] = name
    return found
