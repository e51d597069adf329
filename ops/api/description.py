"""What the OpenAPI document says of the routes: their types are msgspec's, and so are the schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody
from litestar.openapi.spec.base import BaseSchemaObject

from adapters.alertmanager.webhook import Webhook
from ops.api.problems import Problem

_PROBLEMS = {
    "400": "A field is missing or wrong: `field` names it. Nothing was taken.",
    "401": "The credential is missing or wrong.",
    "413": "The payload has more than 4 MiB. Nothing was taken.",
    "503": "Redis is full or away. Nothing was taken: try again after `Retry-After` seconds.",
}
_WRONG = {
    HTTPStatus.BAD_REQUEST: "Something in the request is wrong: `field` names it.",
    HTTPStatus.UNAUTHORIZED: "The token is missing, wrong or revoked.",
    HTTPStatus.FORBIDDEN: "This person may not do that.",
    HTTPStatus.NOT_FOUND: "There is none with this id.",
    HTTPStatus.CONFLICT: "The vote does not count; `detail` has the reason.",
    HTTPStatus.GONE: "That position is more than a day old.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests: try again after `Retry-After` seconds.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A store is away, or too much is under way: try again after `Retry-After` seconds.",
}
_ALWAYS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ALWAYS_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
SECURITY: list[dict[str, list[str]]] = [{"token": []}]


@dataclass
class MsgspecSchema(BaseSchemaObject):
    """A JSON Schema as msgspec makes it."""

    content: dict[str, Any] = field(default_factory=dict)

    def to_schema(self) -> dict[str, Any]:
        return self.content


def schema_of(kind: Any) -> MsgspecSchema:
    """The schema of a struct, whole: the document's own components are only for what the framework finds itself."""
    (top,), named = msgspec.json.schema_components([kind], ref_template="{name}")

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return whole(named[part["$ref"]])
            tagged = "anyOf" in part  # its discriminator would name components that are not in the document
            return {name: whole(value) for name, value in part.items() if not (tagged and name == "discriminator")}
        return [whole(value) for value in part] if isinstance(part, list) else part

    return MsgspecSchema(whole(top))


@dataclass
class WebhookOperation(Operation):
    """`POST /v1/alertmanager`: its body, and its answers when something is wrong."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(required=True, content={"application/json": _media(Webhook)})
        problem = {"application/problem+json": _media(Problem)}
        answers = {status: OpenAPIResponse(description=text, content=problem) for status, text in _PROBLEMS.items()}
        self.responses = {**(self.responses or {}), **answers}


def described(
    answers: dict[int, tuple[str, Any]], *, body: Any = None, problems: Sequence[HTTPStatus] = (), media: str = "application/json"
) -> type[Operation]:
    """The operation of a route that needs a token: its `answers` by status, with what they say and their type, and its problems."""

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            if body is not None:
                needed = any(one.required for one in msgspec.structs.fields(body))
                self.request_body = RequestBody(required=needed, content={"application/json": _media(body)})
            found = {str(status): OpenAPIResponse(text, content={media: _media(kind)}) for status, (text, kind) in answers.items()}
            problem = {"application/problem+json": _media(Problem)}
            wrong = {str(int(status)): OpenAPIResponse(_WRONG[status], content=problem) for status in (*_ALWAYS, *problems, *_ALWAYS_LATER)}
            self.responses = {**found, **wrong}
            self.security = SECURITY

    return Described


def _media(kind: Any) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=schema_of(kind))  # type: ignore[arg-type]
