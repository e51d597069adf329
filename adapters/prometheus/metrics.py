"""Metrics of a target and the state of an alert, from the Prometheus of its cluster and from Alertmanager."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError, NoAnswer, WrongSettings
from adapters.patience import Patience
from adapters.ports import AlertState, Forecast, Measurement, Usual
from adapters.prometheus.client import PrometheusClient, shown
from adapters.prometheus.history import read_history
from adapters.prometheus.options import PrometheusOptions
from adapters.prometheus.probes import Question, questions
from adapters.prometheus.selection import label_name
from adapters.prometheus.state import Answer, alertmanager_says, prometheus_says
from adapters.prometheus.together import fires, kept, one_of
from schemas.evidence import ALERT_SENSOR, METRIC_SENSOR, AlertView, MetricView, Sensor
from schemas.target import Target
from schemas.text import clean

T = TypeVar("T")
_Client = PrometheusClient | AlertmanagerClient
SENSOR_SECONDS = 8.0


class PrometheusMetrics:
    """`adapters.ports.Metrics` over the Prometheus servers and Alertmanagers of the settings.

    servers        by the name of the cluster or host group whose metrics they have
    alertmanagers  asked, all of them, whether an alert fires
    forecast       tells what is usual from samples, in a thread of its own; without it, nothing is said of that
    seconds        bounds each sensor, however many queries it needs; what is usual is bounded by its queries alone

    Raises WrongSettings when two servers are said to have the metrics of every cluster.
    """

    def __init__(
        self,
        servers: Mapping[str, PrometheusOptions],
        *,
        clock: Callable[[], datetime],
        alertmanagers: Sequence[AlertmanagerClient] = (),
        forecast: Forecast | None = None,
        seconds: float = SENSOR_SECONDS,
    ) -> None:
        self._servers = {name: _Server(name, options) for name, options in servers.items()}
        shared = [server for server in self._servers.values() if server.label]
        if len(shared) > 1:
            names = ", ".join(sorted(server.name for server in shared))
            raise WrongSettings(f"only one Prometheus may have a cluster_label, for it answers for all other clusters: {names} do")
        self._shared = shared[0] if shared else None
        self._alertmanagers = tuple(alertmanagers)
        self._clock = clock
        self._forecast = forecast
        self._seconds = seconds
        self._patience: Mapping[_Client, Patience] = {}

    def sparing(self) -> PrometheusMetrics:
        """The same for who would rather do without than wait: a server that hangs is not asked for a while, as `Patience` has it.

        What is known of that is its own; the connections are those of the original, and `close` of either closes them.
        """
        twin = copy.copy(self)
        twin._patience = {  # noqa: SLF001 - of its own kind
            **{server.client: Patience("Prometheus", self._clock) for server in self._servers.values()},
            **{client: Patience("Alertmanager", self._clock) for client in self._alertmanagers},
        }
        return twin

    async def measure(
        self, target: Target, alerts: Sequence[str], labels: Mapping[str, str], at: datetime, *, usual_until: datetime | None = None
    ) -> Measurement:
        """See `adapters.ports.Metrics`. Nothing is asked, and there is no sensor, where no Prometheus is in the settings."""
        if not self._servers:
            return Measurement()
        server = self._server_of(target.cluster)
        if server is None:
            error = f"no Prometheus in the settings has the metrics of {clean(target.cluster, 128)!r}: add it under [prometheus]"
            return Measurement(sensors=(Sensor(name=f"{METRIC_SENSOR}prometheus", seconds=0.0, error=error),))
        asked = questions(target, alerts, labels, cluster_label=server.label)
        until = usual_until if self._forecast is not None else None
        parts = await asyncio.gather(*(self._answer(server, question, at, until) for question in asked))
        return Measurement(metrics=tuple(view for view, _ in parts), sensors=tuple(sensor for _, sensors in parts for sensor in sensors))

    async def alert(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> AlertState:
        """What the alert's rule in Prometheus says, and what Alertmanager still hears; see `adapters.ports.Metrics`.

        One that says yes is enough. No is only said when nobody who should know was away: Alertmanager forgets an alert
        whose Prometheus is silent, and all of them when it is started again.
        """
        name = labels.get("alertname", "")
        if not name:
            return AlertState()
        now = self._clock().timestamp()
        own = self._server_of(cluster)
        servers = ([own] if own else []) if cluster else list(self._servers.values())
        rules, heard = await asyncio.gather(
            self._asked("prometheus", {one.client: partial(prometheus_says, one.client, kept(labels), now, target) for one in servers}),
            self._asked("alertmanager", {client: partial(_heard, client, labels, target, heard_by) for client in self._alertmanagers}),
        )
        sensors = tuple(sensor for _, sensor in (*rules, *heard))
        if not sensors:
            return AlertState()
        by_rule, by_ear = [answer for answer, _ in rules], [answer for answer, _ in heard]
        view = AlertView(
            name=clean(name, 256),
            rule=one_of(by_rule),
            heard=one_of(by_ear),
            fires=fires(by_rule, by_ear),
            heard_by=tuple(answer.run for answer in by_ear if answer.fires and answer.run),
            silences=tuple(dict.fromkeys(silence for answer in by_ear for silence in answer.silences)),
            note=next((answer.note for answer in by_ear if answer.note), "") if one_of(by_ear) is None else "",
        )
        return AlertState(alerts=(view,), sensors=sensors)

    async def firing(
        self, labels: Mapping[str, str], *, cluster: str = "", target: Target | None = None, heard_by: Sequence[str] = ()
    ) -> bool | None:
        """The same in one word. None when nobody could be asked, or nobody who was knows of such an alert."""
        state = await self.alert(labels, cluster=cluster, target=target, heard_by=heard_by)
        return next((view.fires for view in state.alerts), None)

    async def holds(self, query: str, *, cluster: str, at: datetime) -> bool | None:
        """Whether this PromQL gives any series; see `adapters.ports.Metrics`."""
        server = self._server_of(cluster)
        if server is None:
            return None
        try:
            return bool(await server.client.query(f"count({query})", at.timestamp()))
        except AdapterError:
            return None

    async def close(self) -> None:
        await asyncio.gather(
            *(server.client.close() for server in self._servers.values()), *(client.close() for client in self._alertmanagers)
        )

    def _server_of(self, cluster: str) -> _Server | None:
        return self._servers.get(cluster, self._shared)

    async def _asked(self, whom: str, questions: Mapping[_Client, Callable[[], Awaitable[Answer]]]) -> list[tuple[Answer, Sensor]]:
        """The answer of each that was asked, with its sensor. Those of one kind are numbered where there are several."""
        names = [f"{ALERT_SENSOR}{whom}{f' {place}' if len(questions) > 1 else ''}" for place in range(1, len(questions) + 1)]
        found = await asyncio.gather(*(self._sense(name, *one) for name, one in zip(names, questions.items(), strict=True)))
        return [
            (Answer(fires=None, away=True), sensor) if said is None else (said, msgspec.structs.replace(sensor, error=said.error))
            for said, sensor in found
        ]

    async def _sense(self, name: str, client: _Client, look: Callable[[], Awaitable[T]]) -> tuple[T | None, Sensor]:
        """What a look at one server found in time, and its sensor. Where patience with that server is at its end, it is not asked."""
        patience = self._patience.get(client)
        if patience is None:
            found, sensor, _ = await _timed(name, look(), self._seconds)
            return found, sensor
        if refusal := patience.refusal():
            return None, Sensor(name=name, seconds=0.0, error=refusal)
        found, sensor, late = await _timed(name, look(), self._seconds)
        patience.told(late=late or (isinstance(found, Answer) and found.late))
        return found, sensor

    async def _answer(self, server: _Server, question: Question, at: datetime, until: datetime | None) -> _Measured:
        """One metric, and the sensors that it took."""
        name, view = f"{METRIC_SENSOR}{question.probe.name}", _blank(question)
        if not question.query:
            return view, (Sensor(name=name, seconds=0.0, error=f"not asked: {question.refusal}"),)
        if until is None:
            value, sensor = await self._sense(name, server.client, partial(_read, server.client, question, at))
            return _with_value(view, value, sensor), (sensor,)
        (value, sensor), (usual, past, _) = await asyncio.gather(
            self._sense(name, server.client, partial(_read, server.client, question, at)),
            _timed(f"{name} usual", self._usual(server, question.query, at, until), None),
        )
        return _with_usual(_with_value(view, value, sensor), usual, past), (sensor, past)

    async def _usual(self, server: _Server, query: str, at: datetime, until: datetime) -> Usual:
        assert self._forecast is not None
        samples, step = await read_history(server.client, server.options, query, until=until.timestamp())
        return await asyncio.to_thread(self._forecast, samples, at.timestamp(), step)


class _Server:
    """One Prometheus of the settings. Raises WrongSettings when its label is none."""

    def __init__(self, name: str, options: PrometheusOptions) -> None:
        self.name = name
        self.options = options
        self.client = PrometheusClient(options)
        self.label = label_name(options.cluster_label) if options.cluster_label else ""


class _Value(msgspec.Struct, frozen=True):
    """A value, NaN included, and its age in seconds; None for what is not there."""

    number: float | None
    age: float | None


_Measured = tuple[MetricView, tuple[Sensor, ...]]


async def _read(client: PrometheusClient, question: Question, at: datetime) -> _Value:
    number, sampled = await asyncio.gather(
        client.query(question.query, at.timestamp()), client.query(question.sampled, at.timestamp()), return_exceptions=True
    )
    if isinstance(number, BaseException):
        raise number
    return _Value(number, at.timestamp() - sampled if isinstance(sampled, float) and math.isfinite(sampled) else None)


async def _heard(client: AlertmanagerClient, labels: Mapping[str, str], target: Target | None, heard_by: Sequence[str]) -> Answer:
    """What Alertmanager says, which knows an alert by all its labels: one of which a label was masked cannot be found again."""
    if len(kept(labels)) < len(labels):
        error = "one of the alert's labels looked like a secret and was not kept, so Alertmanager cannot be asked about it"
        return Answer(fires=None, away=True, error=error)
    return await alertmanager_says(client, labels, target, heard_by)


async def _timed(name: str, look: Awaitable[T], seconds: float | None) -> tuple[T | None, Sensor, bool]:
    """What a look found within `seconds`, its record, and whether it was too late; an error is only recorded."""
    start, found, error, late = time.perf_counter(), None, "", False
    try:
        async with asyncio.timeout(seconds):
            found = await look
    except AdapterError as failure:
        error, late = shown(failure), isinstance(failure, NoAnswer)
    except TimeoutError:
        error, late = f"no answer within {seconds:g} s" if seconds is not None else "no answer in time", True
    return found, Sensor(name=name, seconds=round(time.perf_counter() - start, 4), error=error), late


def _blank(question: Question) -> MetricView:
    probe = question.probe
    return MetricView(
        name=probe.name,
        query=question.query,
        value=None,
        unit=probe.unit,
        worse=probe.worse,
        ideal=probe.ideal,
        use=probe.use,
        noise=probe.noise,
        note=question.refusal,
    )


def _with_value(view: MetricView, value: _Value | None, sensor: Sensor) -> MetricView:
    if value is None:
        return msgspec.structs.replace(view, note=sensor.error)
    if value.number is None:
        return msgspec.structs.replace(view, note="Prometheus has no such series now")
    if not math.isfinite(value.number):
        return msgspec.structs.replace(view, note=f"Prometheus says {value.number}", age=value.age)
    return msgspec.structs.replace(view, value=value.number, age=value.age)


def _with_usual(view: MetricView, usual: Usual | None, sensor: Sensor) -> MetricView:
    said = f"what is usual is not known: {sensor.error}" if usual is None else usual.note
    note = "; ".join(text for text in (view.note, said) if text)
    if usual is None:
        return msgspec.structs.replace(view, note=note)
    return msgspec.structs.replace(view, note=note, baseline=usual.band, history_seconds=usual.history)
