"""The channels to people: whether somebody could press the buttons of the cards that they show."""

from __future__ import annotations

from collections.abc import Iterator

from ops.channels.accounts import accounts
from ops.errors import SettingsWrong
from ops.examination.finding import Finding, fine, note, warning, wrong
from ops.settings import Settings


def of_channels(settings: Settings) -> Iterator[Finding]:
    """Each channel with cards that the settings name; nothing is asked of it."""
    slack, telegram = settings.notify.slack, settings.notify.telegram
    if slack.token:
        yield _of_buttons(settings, "slack", "signing_secret", is_proven=bool(slack.signing_secret))
    if telegram.token:
        yield _of_buttons(settings, "telegram", "secret_token", is_proven=bool(telegram.secret_token))


def _of_buttons(settings: Settings, channel: str, secret: str, *, is_proven: bool) -> Finding:
    if not is_proven:
        return note(channel, "its cards have no buttons, for nothing could prove a press", f"set notify.{channel}.{secret}")
    try:
        known = accounts(settings, channel)
    except SettingsWrong as error:
        return wrong(channel, str(error), "give each person an account of one's own")
    if not known:
        return warning(channel, "nobody who presses a button there would be heard", f"set {channel} of each [people.NAME]")
    return fine(channel, f"{len(known)} people may press the buttons of its cards")
