"""A language model behind any OpenAI-compatible chat completions endpoint. It is asked for words, and has no authority over anything."""

from __future__ import annotations

from adapters.model.client import ModelClient
from adapters.model.options import ModelOptions
from adapters.model.wire import Ended, Question, Reply

__all__ = ["Ended", "ModelClient", "ModelOptions", "Question", "Reply"]
