"""Channels to people: the log, and a generic webhook."""

from __future__ import annotations

from adapters.notify.log import LogChannel
from adapters.notify.webhook import WebhookChannel, verify_signature

__all__ = ["LogChannel", "WebhookChannel", "verify_signature"]
