"""The doors that the settings open: what the API mounts, and what is to be closed after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from adapters.notify import SlackChannel, TelegramChannel
from ops.channels.accounts import accounts
from ops.channels.presses import Ballot, Presses
from ops.channels.slack import slack_router
from ops.channels.telegram import telegram_router
from ops.clock import now
from ops.settings import Settings
from ops.wiring import open_slack, open_telegram
from sql.database import Database

if TYPE_CHECKING:
    from litestar import Router


class Doors(msgspec.Struct, frozen=True):
    """`routers` are to be mounted as they are: each request proves itself, and needs no other credential."""

    routers: tuple[Router, ...]
    channels: tuple[SlackChannel | TelegramChannel, ...]

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()


def open_doors(settings: Settings, database: Database, ballot: Ballot, *, clock: Callable[[], datetime] = now) -> Doors:
    """The doors for Slack and Telegram, each where its presses can be proven. Raises SettingsWrong for an account of two people."""
    routers: list[Router] = []
    channels: list[SlackChannel | TelegramChannel] = []
    slack, telegram = settings.notify.slack, settings.notify.telegram
    if slack.signing_secret:
        shown = open_slack(settings)
        presses = Presses("slack", database, ballot, accounts(settings, "slack"), language=slack.language, clock=clock)
        routers.append(slack_router(slack.signing_secret, presses, shown, clock=clock))
        channels.append(shown)
    if telegram.secret_token:
        chat = open_telegram(settings)
        presses = Presses("telegram", database, ballot, accounts(settings, "telegram"), language=telegram.language, clock=clock)
        routers.append(telegram_router(telegram.secret_token, presses, chat))
        channels.append(chat)
    return Doors(tuple(routers), tuple(channels))
