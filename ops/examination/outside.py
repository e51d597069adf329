"""Prometheus, Alertmanager and the language model: whether each of the settings answers, lets us ask, and has anything to tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from adapters.errors import AdapterError
from ops.clock import now
from ops.errors import SettingsWrong
from ops.examination.finding import Finding, failed, fine, warning
from ops.settings import Settings
from ops.wiring import alertmanagers_of, open_metrics, open_model

if TYPE_CHECKING:
    from adapters.alertmanager.client import AlertmanagerClient
    from adapters.prometheus.options import PrometheusOptions

_NOBODY = {"alertname": "MendstreamDoctor"}  # labels of no alert: what is asked is whether there is an answer


async def of_outside(settings: Settings, *, sandbox: bool) -> AsyncIterator[Finding]:
    """Each Prometheus, each Alertmanager and the language model of the settings. Where there is none, there is nothing to find."""
    async for finding in _of_model(settings):
        yield finding
    if not settings.prometheus and not settings.alertmanager:
        return
    try:
        metrics = open_metrics(settings, sandbox=sandbox, baseline=False)
    except (SettingsWrong, AdapterError) as error:
        yield failed("prometheus", error, "correct [prometheus.NAME]: NAME is that of a cluster or host group")
        return
    if metrics is not None:
        await metrics.close()
    looks = [_of_prometheus(name, options) for name, options in settings.prometheus.items()]
    looks += [_of_alertmanager(name, client) for name, client in alertmanagers_of(settings).items()]
    for finding in await asyncio.gather(*looks):
        yield finding


async def _of_model(settings: Settings) -> AsyncIterator[Finding]:
    """The language model of the settings, where they name one. It is asked which models there are, which costs nothing."""
    client = open_model(settings)
    if client is None:
        return
    about, where = f"language model {client.meter.provider}", str(settings.model.url)
    try:
        names = await client.models()
    except AdapterError as error:
        yield failed(about, error, "check [model]: url, name and key; until it answers, the templates suggest alone")
        return
    finally:
        await client.close()
    if names is None:
        advice = "nothing, where suggestions come (`mend_model_questions_total`): whether the key is accepted shows only there"
        yield warning(about, f"{where} answers, and lists no models", advice)
    elif settings.model.name not in names:
        yield warning(about, f"{where} accepts the key, and does not list this model", "check model.name")
    else:
        critic = "with its critic" if settings.model.critic else "without a critic"
        yield fine(about, f"{where} accepts the key and has this model; it suggests {critic}, and decides nothing")


async def _of_prometheus(name: str, options: PrometheusOptions) -> Finding:
    from adapters.prometheus.client import PrometheusClient

    about, client = f"prometheus {name}", PrometheusClient(options)
    try:
        scraped = await client.query("count(up)", now().timestamp())
    except AdapterError as error:
        return failed(about, error, f"check prometheus.{name}: url, token or username and password; and that it runs and can be reached")
    finally:
        await client.close()
    if not scraped:
        return warning(about, "it answers, and scrapes nothing", "give it something to scrape: until then no metric counts")
    return fine(about, f"it answers, and scrapes {scraped:.0f} targets")


async def _of_alertmanager(name: str, client: AlertmanagerClient) -> Finding:
    about = f"alertmanager {name}"
    try:
        await client.is_firing(_NOBODY)
    except AdapterError as error:
        return failed(about, error, f"check alertmanager.{name}: url, token or username and password; and that it runs and can be reached")
    finally:
        await client.close()
    return fine(about, "it answers, and tells which alerts fire")
