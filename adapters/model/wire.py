"""The part of the chat completions API that is used: what is sent, and what of an answer is read. Everything else is ignored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from schemas.text import clean

_MOST = 10_000_000  # tokens of one answer, whatever an endpoint claims
_SHOWN = 300  # characters of what an endpoint says of an error


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: our own words, the delimited evidence, and the JSON schema that the answer must have."""

    rules: str
    evidence: str
    form: str
    schema: dict[str, Any]

    @property
    def size(self) -> int:
        """Its length in bytes: no tokenizer makes more tokens of it than that."""
        return len(self.rules.encode()) + len(self.evidence.encode()) + len(msgspec.json.encode(self.schema))


class Ended(StrEnum):
    """How one question to the model ended."""

    ANSWERED = "answered"
    LATE = "late"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    INVALID = "invalid"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came back: the text, or `why` there is none that can be used; and the tokens that it cost, None where nothing tells."""

    ended: Ended
    text: str = ""
    why: str = ""
    tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    total_tokens: int | None = None


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct, frozen=True):
    choices: list[_Choice]
    usage: _Usage | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Failure(msgspec.Struct, frozen=True):
    error: _Error


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


def request(question: Question, *, model: str, answer_tokens: int) -> bytes:
    """The body of one request: temperature 0, one answer, of the given form."""
    return msgspec.json.encode(
        {
            "model": model,
            "messages": [{"role": "system", "content": question.rules}, {"role": "user", "content": question.evidence}],
            "temperature": 0,
            "max_tokens": answer_tokens,
            "response_format": {"type": "json_schema", "json_schema": {"name": question.form, "strict": True, "schema": question.schema}},
        }
    )


def reply_in(body: bytes) -> Reply:
    """What a 200 answers."""
    try:
        completion = msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, RecursionError) as error:
        return Reply(ended=Ended.INVALID, why=f"what the endpoint answers is no chat completion: {clean(str(error), _SHOWN)}")
    tokens = completion.usage.total_tokens if completion.usage is not None else None
    tokens = min(tokens, _MOST) if tokens is not None and tokens > 0 else None
    return msgspec.structs.replace(_content(completion), tokens=tokens)


def _content(completion: _Completion) -> Reply:
    if not completion.choices:
        return Reply(ended=Ended.INVALID, why="the model gave no answer")
    message, reason = completion.choices[0].message, completion.choices[0].finish_reason
    if message.refusal:
        return Reply(ended=Ended.REFUSED, why=f"the model refuses to answer: {clean(message.refusal, _SHOWN)}")
    if reason == "length":
        return Reply(ended=Ended.INVALID, why="the answer is longer than model.answer_tokens and was cut off")
    if reason == "content_filter":
        return Reply(ended=Ended.REFUSED, why="the endpoint's content filter withholds the answer")
    if not message.content or not message.content.strip():
        return Reply(ended=Ended.INVALID, why="the answer is empty")
    return Reply(ended=Ended.ANSWERED, text=message.content)


def said_of_error(body: bytes) -> str:
    """The sentence that an endpoint gives with an error; empty where it gives none. It is not cleaned."""
    try:
        return msgspec.json.decode(body, type=_Failure).error.message
    except (msgspec.DecodeError, RecursionError):
        return ""


def names_in(body: bytes) -> frozenset[str] | None:
    """The names of the models that an endpoint lists; None where it is no such list."""
    try:
        return frozenset(model.id for model in msgspec.json.decode(body, type=_Models).data)
    except (msgspec.DecodeError, RecursionError):
        return None
