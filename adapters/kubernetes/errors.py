"""What the API server answered, finer than the world's errors, so that a caller can decide by type and never by words."""

from __future__ import annotations

from adapters.errors import Refused, TargetMissing, Transient


class Conflict(Transient):
    """409: the object is not what the request thought it was. Read it again, then decide."""


class Busy(Transient):
    """429: the API server is overloaded, or a disruption budget allows no eviction now. Nothing was changed; try later."""


class ServerFault(Transient):
    """5xx: the API server failed. A write may still have happened: look for its mark."""


class Unreachable(Transient):
    """No connection was made, so nothing was sent. Check the server's address, the network and the API server."""


class AnswerLost(Transient):
    """The request was sent and no answer came. Harmless for a read; a write turns it into OutcomeUnknown."""


class NoCredentials(Transient):
    """The program or the identity provider that gives the credentials failed or did not answer, so nothing was sent. Try later."""


class Expired(Transient):
    """410: the place to go on in a long list is no longer kept. Begin the list again."""


class TooMany(Refused):
    """A list is longer than is ever read here: give the selector or the namespace fewer objects."""


class Forbidden(Refused):
    """401 or 403: the identity in use may not do this. Give it the permission, or another identity."""


class NotFound(TargetMissing):
    """404: there is no such object, or no such kind of object, on this API server."""
