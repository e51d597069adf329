"""Asks one Prometheus over its HTTP API (v1). Answers are bounded in time and size, and nothing is ever written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.bounded import body_of
from adapters.credentials import authorization
from adapters.errors import NoAnswer, Refused, Transient
from adapters.prometheus.answers import Alert, Rule, Sample, alerts_in, check, rules_in, samples_in, value_in
from adapters.prometheus.options import PrometheusOptions
from schemas.text import clean

if TYPE_CHECKING:
    import aiohttp


class PrometheusClient:
    """One Prometheus. Every method raises Transient when it cannot be asked and Refused when it will not answer."""

    def __init__(self, options: PrometheusOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def query(self, query: str, at: float) -> float | None:
        """The one value of `query` at `at` (Unix time in seconds), which may be NaN; None where there is no series."""
        return value_in(await self._get("query", query=query, time=f"{at:.3f}"))

    async def query_range(self, query: str, *, start: float, end: float, step: float) -> list[Sample]:
        """The finite samples of the one series of `query`, every `step` seconds from `start` to `end` (Unix times)."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return samples_in(await self._get("query_range", query=query, **times))

    async def alerts(self) -> list[Alert]:
        """Every alert that is pending or fires."""
        return alerts_in(await self._get("alerts"))

    async def rules(self, name: str) -> list[Rule]:
        """The alerting rules of that name."""
        found = rules_in(await self._get("rules", **{"type": "alert", "rule_name[]": name}))
        return [rule for rule in found if rule.name == name]  # an older Prometheus does not filter by name

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _get(self, what: str, **parameters: str) -> bytes:
        import aiohttp

        url = f"{self._options.url.reveal().rstrip('/')}/api/v1/{what}"
        if parameters:
            parameters["timeout"] = f"{self._options.timeout:g}s"
        try:
            async with self._opened().get(url, params=parameters, allow_redirects=False) as answer:
                body = await self._read(answer)
        except TimeoutError:
            raise NoAnswer(f"Prometheus did not answer within {self._options.timeout:g} s") from None
        except ValueError:
            # An invalid URL, or one with a user name besides the credential of the settings.
            raise Refused("the URL of Prometheus cannot be used: `http://HOST:PORT`, with no user name where there is a token") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of most of these errors has the URL in it, and that may carry a password.
            raise Transient(f"Prometheus cannot be asked ({type(error).__name__})") from None
        check(answer.status, body)
        return body

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        limit = self._options.answer_limit
        body = await body_of(answer, limit)
        if body is None:
            raise Refused(f"Prometheus answers with more than {limit} bytes")
        return body

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            options = self._options
            headers = authorization(options.token, options.username, options.password)
            self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=options.timeout))
        return self._session


def shown(error: Exception) -> str:
    """An error as a sensor keeps it."""
    return clean(str(error) or type(error).__name__, 300)
