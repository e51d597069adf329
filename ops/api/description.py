"""What the OpenAPI document says of the webhook, which the handler itself takes as bytes: its types are msgspec's."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass
class MsgspecSchema(BaseSchemaObject):
    """A JSON Schema as msgspec makes it."""

    content: dict[str, Any] = field(default_factory=dict)

    def to_schema(self) -> dict[str, Any]:
        return self.content


def schema_of(kind: type) -> MsgspecSchema:
    """The schema of a struct, whole: the document's own components are only for what the framework finds itself."""
    (top,), named = msgspec.json.schema_components([kind], ref_template="{name}")

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            return whole(named[part["$ref"]]) if "$ref" in part else {name: whole(value) for name, value in part.items()}
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


def _media(kind: type) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=schema_of(kind))  # type: ignore[arg-type]
