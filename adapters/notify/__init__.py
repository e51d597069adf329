"""Channels to people: the log, a generic webhook, and cards in Slack and Telegram."""

from __future__ import annotations

from adapters.notify.log import LogChannel
from adapters.notify.slack import SlackChannel
from adapters.notify.telegram import TelegramChannel
from adapters.notify.webhook import WebhookChannel, verify_signature

__all__ = ["LogChannel", "SlackChannel", "TelegramChannel", "WebhookChannel", "verify_signature"]
