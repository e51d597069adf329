"""What an operator may set about notifications."""

from __future__ import annotations

import msgspec

from schemas.numbers import Seconds
from schemas.secret import Secret, SecretUrl


class NotifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How patiently people are told."""

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
