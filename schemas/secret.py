"""A secret is a type: it prints as `***` wherever it goes, and gives its value only to who says `reveal`."""

from __future__ import annotations

import hmac
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_WEB = ("http", "https")


class Secret:
    """Text that must not be seen. Two are equal when their texts are; the comparison takes constant time."""

    __slots__ = ("_text",)
    shortest: ClassVar[int] = 0
    """How many characters the settings must give, if they give any."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def parts(self) -> tuple[str, ...]:
        """The texts that must never appear anywhere, for those who mask them."""
        return (self._text,) if self._text else ()

    def __repr__(self) -> str:
        return "***" if self._text else "(empty)"

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


class Token(Secret):
    """What alone lets somebody in here: too long to be guessed."""

    __slots__ = ()
    shortest = 16


class Password(Secret):
    """What lets somebody in here together with a user name."""

    __slots__ = ()
    shortest = 8


class SecretUrl(Secret):
    """A URL that may carry a user name and a password: it prints without either, and without its query.

    The path of a web address counts as a secret too, for many services put a token there.
    """

    def parts(self) -> tuple[str, ...]:
        try:
            split = urlsplit(self._text)
            given = [split.password or "", *(value for name, value in parse_qsl(split.query) if "password" in name.lower())]
            if split.scheme in _WEB:
                given += [self._text, split.path.strip("/"), *(value for _, value in parse_qsl(split.query))]
        except ValueError:
            return super().parts()
        return tuple({form for text in given if text for form in (text, unquote(text), quote(unquote(text), safe=""))})

    def __repr__(self) -> str:
        try:
            split = urlsplit(self._text)
            host = split.netloc.rpartition("@")[2]
            guard = "***@" if "@" in split.netloc else ""
            path = split.path if split.scheme not in _WEB or split.path in {"", "/"} else "/…"
        except ValueError:
            return "***"
        if not split.scheme:
            return super().__repr__()
        return f"{split.scheme}://{guard}{host}{path}{'?…' if split.query else ''}"

    __str__ = __repr__


def secret_from(kind: type, value: Any) -> Any:
    """The `dec_hook` of msgspec for secrets.

    Raises NotImplementedError for another type, TypeError for what is no text, ValueError for what is too short.
    """
    if not issubclass(kind, Secret):
        raise NotImplementedError(kind.__name__)
    if not isinstance(value, str):
        raise TypeError("expected text")
    if value and len(value) < kind.shortest:
        raise ValueError(f"expected {kind.shortest} characters or more: take the output of `openssl rand -hex 32`")
    return kind(value)


def secret_shown(value: Any) -> str:
    """The `enc_hook` of msgspec for secrets: what may be shown. Raises NotImplementedError for another type."""
    if not isinstance(value, Secret):
        raise NotImplementedError(type(value).__name__)
    return str(value)
