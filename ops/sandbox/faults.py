"""What the sandbox's API answers when it does not do what was asked, in the words and codes of a real API server."""

from __future__ import annotations

from typing import Any

_CODES = {
    "BadRequest": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "AlreadyExists": 409,
    "Conflict": 409,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
}


class ApiFault(Exception):
    """One failed request: `reason` is Kubernetes' word, from which the HTTP status follows."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def code(self) -> int:
        return _CODES[self.reason]

    def status(self) -> dict[str, Any]:
        """The Status object that a client gets."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
