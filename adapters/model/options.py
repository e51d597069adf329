"""What the settings say of the language model."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.numbers import Positive, Seconds, Wait
from schemas.secret import Secret, SecretUrl


class ModelOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A language model that suggests an action where no playbook fits. Off unless `url` and `name` are set; see docs/model.md.

    What it is sent is sanitized evidence of the incident. What it answers is a suggestion that the gate decides about, never more.
    """

    url: SecretUrl = SecretUrl("")
    """URL of an OpenAI-compatible API, without `/chat/completions`, such as `https://api.openai.com/v1`. Empty: no model is asked."""

    name: str = ""
    """The model's name as that API knows it."""

    key: Secret = Secret("")
    """The API key, sent as a bearer token. Empty: none is sent."""

    timeout: Seconds = 20.0
    """Seconds for one request."""

    time_budget: Seconds = 45.0
    """Seconds for everything that is asked about one incident at one time, repetitions and the critic included."""

    retries: Annotated[int, msgspec.Meta(ge=0, le=5)] = 1
    """How often a request is repeated that was not taken: no connection, 429 or a server's error. One that ran out of time is not."""

    tokens_per_incident: Positive = 60_000
    """The most tokens that are spent on one incident. Before each request the most that it can cost is set aside."""

    tokens_per_day: Positive = 600_000
    """The most tokens that all processes together spend within 24 hours."""

    prompt_limit: Annotated[int, msgspec.Meta(ge=4_000, le=200_000)] = 12_000
    """The longest evidence that is sent, in bytes; what is longer is left out in whole parts, logs first."""

    answer_tokens: Annotated[int, msgspec.Meta(ge=100, le=32_000)] = 1_000
    """The most tokens of one answer; a longer one is cut off there, and not used."""

    answer_limit: Positive = 262_144
    """Bytes of one answer; a larger one is not used."""

    cache: Wait = 3600.0
    """Seconds for which an answer is used again for the same evidence. 0: never."""

    critic: bool = False
    """Whether the model is asked a second time to argue against its suggestion. An objection, or no answer, has a person sign."""

    @property
    def is_on(self) -> bool:
        """Whether a model is asked at all."""
        return bool(self.url)

    def __post_init__(self) -> None:
        if self.url and not self.name:
            raise ValueError("url without name asks nobody: set model.name (MEND_MODEL_NAME) to the model's name, or leave out both")
        if self.url and not self.url.reveal().startswith(("http://", "https://")):
            raise ValueError("url must begin with https:// or http://")
