"""Asks Alertmanager's API (v2) whether an alert still fires, whether it is silenced, and since when it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from adapters.alertmanager.fingerprint import fingerprint_of
from adapters.bounded import body_of
from adapters.credentials import authorization
from adapters.errors import NoAnswer, Refused, Transient
from schemas.secret import Secret
from schemas.text import clean

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
_LARGEST = 16 * 1024 * 1024  # bytes of an answer
_PLAIN = re.compile(r"[a-zA-Z0-9_.:-]{1,128}")


_SILENCES = 5  # of one alert, that are asked about
_SHOWN = 200  # characters


class Heard(msgspec.Struct, frozen=True):
    """What Alertmanager has of an alert: whether it fires, silenced or not, and each silence that it is under, in words."""

    fires: bool
    silences: tuple[str, ...] = ()


class _AlertStatus(msgspec.Struct, frozen=True, rename="camel"):
    silenced_by: list[str] = []


class _Listed(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    fingerprint: str
    status: _AlertStatus = _AlertStatus()


class _Silence(msgspec.Struct, frozen=True, rename="camel"):
    created_by: str = ""
    comment: str = ""
    ends_at: str = ""


class _Status(msgspec.Struct, frozen=True):
    uptime: str


_listed = msgspec.json.Decoder(list[_Listed]).decode
_status = msgspec.json.Decoder(_Status).decode
_silence = msgspec.json.Decoder(_Silence).decode


class AlertmanagerClient:
    """One Alertmanager at `url`. `timeout` is in seconds; the credential is a bearer token, or a user name and password."""

    def __init__(
        self, url: str, *, token: Secret | None = None, username: str = "", password: Secret | None = None, timeout: float = 8.0
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._username = username
        self._password = password
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def is_firing(self, labels: Mapping[str, str], like: Callable[[Mapping[str, str]], bool] | None = None) -> bool:
        """Whether an alert with exactly these labels, or one of the same name whose labels are `like` them, fires now, silenced or not.

        Raises Transient when Alertmanager cannot be asked, Refused when it does not let us.
        """
        return bool(await self._alike(labels, like))

    async def heard(self, labels: Mapping[str, str], like: Callable[[Mapping[str, str]], bool] | None = None) -> Heard:
        """The same, with its silences: of the very alert where it is there, else of those like it where all of them are under one.

        Raises as `is_firing` does.
        """
        found = await self._alike(labels, like)
        wanted = fingerprint_of(labels)
        chosen = [alert for alert in found if alert.fingerprint == wanted] or found
        if not chosen or not all(alert.status.silenced_by for alert in chosen):
            return Heard(bool(found))
        names = dict.fromkeys(name for alert in chosen for name in alert.status.silenced_by)
        return Heard(True, tuple([await self._in_words(name) for name in list(names)[:_SILENCES]]))

    async def _in_words(self, silence: str) -> str:
        """Who made a silence, until when and why; only its id where that cannot be found out."""
        if not _PLAIN.fullmatch(silence):
            return clean(silence, _SHOWN)
        try:
            found = _decoded(_silence, await self._get(f"silence/{silence}", []))
        except (Transient, Refused):
            return silence
        until = f" until {clean(found.ends_at, 40)}" if found.ends_at else ""
        return clean(f"by {clean(found.created_by, 60) or 'somebody'}{until}: {clean(found.comment, 100) or 'no comment'}", _SHOWN)

    async def _alike(self, labels: Mapping[str, str], like: Callable[[Mapping[str, str]], bool] | None) -> list[_Listed]:
        """The very alert, and those like it."""
        wanted = fingerprint_of(labels)
        name = labels.get("alertname", "")
        matchers = [f'alertname="{name}"'] if _PLAIN.fullmatch(name) else []
        found = await self._list(matchers)
        return [alert for alert in found if alert.fingerprint == wanted or (like is not None and like(alert.labels))]

    async def run(self) -> str:
        """Which run of Alertmanager this is: the time of its start, as it tells it. It keeps alerts in memory, so another knows none.

        Raises as `is_firing` does.
        """
        return clean(_decoded(_status, await self._get("status", [])).uptime, 64)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _list(self, matchers: list[str]) -> list[_Listed]:
        parameters = [("active", "true"), ("silenced", "true"), ("inhibited", "true"), ("unprocessed", "true")]
        parameters += [("filter", matcher) for matcher in matchers]
        return _decoded(_listed, await self._get("alerts", parameters))

    async def _get(self, what: str, parameters: list[tuple[str, str]]) -> bytes:
        import aiohttp

        try:
            async with self._opened().get(f"{self._url}/api/v2/{what}", params=parameters, allow_redirects=False) as answer:
                body = await body_of(answer, _LARGEST)
        except TimeoutError:
            raise NoAnswer(f"Alertmanager did not answer within {self._timeout:g} s") from None
        except ValueError:
            # An invalid URL, or one with a user name besides the credential of the settings.
            raise Refused("the URL of Alertmanager cannot be used: `http://HOST:PORT`, with no user name where there is a token") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of most of these errors has the URL in it, and that may carry a password.
            raise Transient(f"Alertmanager cannot be asked ({type(error).__name__})") from None
        return _checked(answer.status, body)

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            headers = authorization(self._token, self._username, self._password)
            self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=self._timeout))
        return self._session


def _checked(status: int, body: bytes | None) -> bytes:
    """The body of a good answer; None stands for one that is too large."""
    if status in (401, 403):
        raise Refused(f"Alertmanager does not let us ask (status {status}): check its credential")
    if status >= 500 or status == 429:
        raise Transient(f"Alertmanager answers with status {status}")
    if status != 200 or body is None:
        size = f"{len(body)} bytes" if body is not None else f"more than {_LARGEST} bytes"
        raise Refused(f"Alertmanager's API answers with status {status} and {size}: check its URL")
    return body


def _decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"this is no answer of Alertmanager's API v2: {clean(str(error), 200)}; check its URL") from error
