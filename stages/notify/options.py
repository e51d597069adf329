"""What an operator may set about notifications."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from schemas.numbers import Positive, Seconds
from schemas.secret import Secret, SecretUrl, Token
from schemas.words import Language

_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")


def _require_safe(url: str) -> None:
    """Raises ValueError for a URL to which a token would go unencrypted; on this machine it may."""
    try:
        split = urlsplit(url)
        host = split.hostname
    except ValueError:
        raise ValueError("url is no URL: it must begin with https://") from None
    if not host or split.query or split.username or not (split.scheme == "https" or (split.scheme == "http" and host in _THIS_MACHINE)):
        raise ValueError("url must begin with https://, for a token goes there, and have no user name and no query")


class SlackOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One card for each incident in a Slack channel, with buttons. docs/channels.md says how to set it up."""

    token: Token = Token("")
    """The bot token of the Slack app (`xoxb-…`), with the scope `chat:write`. Empty: nothing is told in Slack."""

    channel: str = ""
    """The id of the channel, such as `C0123456789`; the app must be a member of it."""

    signing_secret: Secret = Secret("")
    """The signing secret of the Slack app, which proves that a press comes from Slack. Empty: cards have no buttons."""

    language: Language = Language.ENGLISH
    """The language of the cards: `en`, or `zh-Hant` for Traditional Chinese."""

    url: str = "https://slack.com/api"
    """Where Slack's Web API is."""

    def __post_init__(self) -> None:
        _require_safe(self.url)
        if bool(self.token) is not bool(self.channel):
            raise ValueError("token and channel tell in Slack together: set both, or neither")
        if self.signing_secret and not self.token:
            raise ValueError("signing_secret without token and channel proves nothing: set them too")


class TelegramOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One card for each incident in a Telegram chat, with buttons. docs/channels.md says how to set it up."""

    token: Token = Token("")
    """The token of the bot, as BotFather gives it. Empty: nothing is told in Telegram."""

    chat: str = ""
    """The id of the chat, such as `-1001234567890`, or `@name` of a public one; the bot must be a member of it."""

    secret_token: Token = Token("")
    """What was given as `secret_token` to setWebhook, which proves that a press comes from Telegram: 16 characters or more.
    Empty: cards have no buttons."""

    language: Language = Language.ENGLISH
    """The language of the cards: `en`, or `zh-Hant` for Traditional Chinese."""

    url: str = "https://api.telegram.org"
    """Where the Bot API is."""

    def __post_init__(self) -> None:
        _require_safe(self.url)
        if bool(self.token) is not bool(self.chat):
            raise ValueError("token and chat tell in Telegram together: set both, or neither")
        if self.secret_token and not self.token:
            raise ValueError("secret_token without token and chat proves nothing: set them too")


class NotifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently people are told."""

    language: Language = Language.ENGLISH
    """The language of the log and of `webhook`: `en`, or `zh-Hant` for Traditional Chinese. Other channels have their own."""

    webhook: SecretUrl = SecretUrl("")
    """The URL that messages are posted to as JSON. Empty: only the log tells them."""

    webhook_secret: Secret = Secret("")
    """The key of the signature in the header `Mend-Signature` of each post. Empty: posts are not signed."""

    timeout: Seconds = 10.0
    """Seconds that one channel may take for one message."""

    first_wait: Seconds = 2.0
    """Seconds until a channel that failed is tried again; doubles with each further failure."""

    longest_wait: Seconds = 300.0
    """The longest wait in seconds between two tries of one channel."""

    keep: Seconds = 259_200.0
    """Seconds for which a message is tried on a channel that is down; after that it is a dead letter, to be replayed."""

    most_waiting: Positive = 400
    """Messages that wait for one channel that is down; further ones are dead letters at once, to be replayed. Well under
    `bus.max_parked`, beyond which every channel would wait."""

    slack: SlackOptions = SlackOptions()
    telegram: TelegramOptions = TelegramOptions()
