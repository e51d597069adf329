"""The wiring of a process: settings in, stages with everything they need out. The only place that knows all the parts.

Nothing here imports a driver of the world before a stage that needs one is made, so that the plain stages stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ops.clock import now
from ops.clusters import cluster_names, default_cluster
from ops.errors import SettingsWrong
from ops.policy import policy_of, valves_of
from ops.settings import Settings
from schemas.events import TOPICS
from schemas.secret import Secret
from stages.reads import READS

if TYPE_CHECKING:
    from adapters.alertmanager.client import AlertmanagerClient
    from adapters.model.client import ModelClient
    from adapters.notify import SlackChannel, TelegramChannel
    from adapters.ports import Channel, Forecast, World
    from adapters.prometheus.metrics import PrometheusMetrics
    from adapters.worlds import Worlds
    from bus.handler import Stage
    from ops.owners import LateOwners
    from sql.database import Database
    from stages.failure_watch.analysis import Analyst
    from stages.gate.votes import VoteKeys
    from stages.propose.case import SuggestionSource

ARCHIVE = "archive"
STAGES = ("ingest", "propose", "gate", "execute", "verify", "learn", "failure_watch", "notify", ARCHIVE)
"""The consumer groups, in the order in which an alert meets them."""

API = "api"
PROCESSES = (*STAGES, API)
"""All that can be a process of its own: the consumer groups, and the API for people, which reads events and is no group."""

NEEDS_WORLD = frozenset({"ingest", "propose", "execute", "verify"})
NEEDS_METRICS = frozenset({"propose", "verify"})


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the stages of one process share. `worlds` is None in a process without a stage that needs one, `metrics` where
    no Prometheus and no Alertmanager is in the settings, `model` where no language model is. `owners` stands in for the worlds
    where only ingest would use them."""

    settings: Settings
    database: Database
    votes_key: Secret
    worlds: Worlds | None
    owners: LateOwners | None = None
    metrics: PrometheusMetrics | None = None
    model: ModelClient | None = None
    channels: tuple[Channel, ...] = ()
    clock: Callable[[], datetime] = now

    @property
    def world(self) -> World:
        assert self.worlds is not None
        return self.worlds


def stages_named(names: Sequence[str]) -> tuple[str, ...]:
    """The stages to run, in their order: those named, or all. Raises SettingsWrong for a name that is none."""
    from ops.cli.words import unknown_word

    wrong = [name for name in names if name not in PROCESSES]
    if wrong:
        raise SettingsWrong([f"there is no such stage: {unknown_word(wrong[0], list(PROCESSES))}"])
    return tuple(name for name in PROCESSES if name in names) if names else PROCESSES


def make_stage(name: str, parts: Parts) -> Stage:
    """The stage of this name. `archive` is no stage with a handler and is made elsewhere."""
    return _MAKERS[name](parts)


def _ingest(parts: Parts) -> Stage:
    from stages.ingest.stage import Ingest

    return Ingest(parts.database, parts.worlds or parts.owners, parts.settings.ingest, default_cluster=default_cluster(parts.settings))


def _propose(parts: Parts) -> Stage:
    from stages.propose.playbooks.source import PlaybookSource
    from stages.propose.stage import ProposeStage

    metrics = parts.metrics.sparing() if parts.metrics is not None else None
    playbooks = PlaybookSource(parts.database, parts.settings.propose)
    sources = (playbooks, *_models(parts))
    return ProposeStage(parts.database, parts.world, parts.settings.propose, sources=sources, neighbours=playbooks, metrics=metrics)


def _models(parts: Parts) -> tuple[SuggestionSource, ...]:
    """The language model, where there is one: it is asked after the playbooks and before the templates."""
    if parts.model is None:
        return ()
    from stages.propose.model.source import ModelSource

    return (ModelSource(parts.database, parts.model, parts.settings.propose, clock=parts.clock),)


def votes_keys(parts: Parts) -> VoteKeys:
    """What proves and verifies votes. Raises SettingsWrong for a key that is too short."""
    from stages.gate.votes import VoteKeys

    try:
        return VoteKeys(parts.votes_key.reveal().encode())
    except ValueError as error:
        raise SettingsWrong([f"votes.key: {error}"]) from None


def _gate(parts: Parts) -> Stage:
    from stages.gate.stage import Gate

    people = {name: person.roles for name, person in parts.settings.people.items()}
    keys, policy = votes_keys(parts), policy_of(parts.settings)
    return Gate(parts.database, parts.settings.gate, keys, policy=policy, people=people)


def _execute(parts: Parts) -> Stage:
    from stages.execute.stage import ExecuteStage

    return ExecuteStage(parts.database, parts.world, parts.settings.execute, mode_of=parts.settings.gate.mode_of)


def _verify(parts: Parts) -> Stage:
    from stages.verify.stage import VerifyStage

    return VerifyStage(parts.database, parts.world, parts.settings.verify, metrics=parts.metrics)


def _learn(parts: Parts) -> Stage:
    from stages.learn.stage import Learn

    return Learn(parts.database, votes_keys(parts))


def _failure_watch(parts: Parts) -> Stage:
    from stages.failure_watch.stage import FailureWatch

    return FailureWatch(parts.database, parts.settings.failure_watch, valves=valves_of(parts.settings), analyst=_analyst(parts))


def _analyst(parts: Parts) -> Analyst | None:
    """What asks the language model for root causes, where the settings want that."""
    if parts.model is None or not parts.settings.failure_watch.analysis:
        return None
    from stages.failure_watch.analysis import Analyst

    return Analyst(parts.database, parts.model, clock=parts.clock)


def _notify(parts: Parts) -> Stage:
    from stages.notify.stage import Notify

    return Notify(parts.database, parts.channels, parts.settings.notify)


def open_channels(settings: Settings, *, clock: Callable[[], datetime] = now) -> tuple[Channel, ...]:
    """The ways to reach people: the log, and what the settings name. Nothing is connected yet; whoever opens them closes them."""
    from adapters.notify import LogChannel, WebhookChannel

    options = settings.notify
    channels: list[Channel] = [LogChannel()]
    if options.webhook:
        channels.append(WebhookChannel(options.webhook, clock=clock, secret=options.webhook_secret or None))
    if options.slack.token:
        channels.append(open_slack(settings))
    if options.telegram.token:
        channels.append(open_telegram(settings))
    return tuple(channels)


def open_slack(settings: Settings) -> SlackChannel:
    """The channel of Slack that the settings name; its cards have buttons where presses can be proven."""
    from adapters.notify import SlackChannel

    slack = settings.notify.slack
    return SlackChannel(slack.token, slack.channel, language=slack.language, url=slack.url, buttons=bool(slack.signing_secret))


def open_telegram(settings: Settings) -> TelegramChannel:
    """The chat of Telegram that the settings name; its cards have buttons where presses can be proven."""
    from adapters.notify import TelegramChannel

    chat = settings.notify.telegram
    return TelegramChannel(chat.token, chat.chat, language=chat.language, url=chat.url, buttons=bool(chat.secret_token))


_MAKERS: Mapping[str, Callable[[Parts], Stage]] = {
    "ingest": _ingest,
    "propose": _propose,
    "gate": _gate,
    "execute": _execute,
    "verify": _verify,
    "learn": _learn,
    "failure_watch": _failure_watch,
    "notify": _notify,
}


def open_metrics(
    settings: Settings, *, sandbox: bool = False, clock: Callable[[], datetime] = now, baseline: bool = True
) -> PrometheusMetrics | None:
    """What the settings say is asked from outside, or None where they name nothing. No request is made yet.

    Without `baseline` it does not tell what is usual, which only verify asks for.
    Raises SettingsWrong, and adapters.errors.WrongSettings when two servers are said to have the metrics of every cluster.
    """
    if not settings.prometheus and not settings.alertmanager:
        return None
    from adapters.prometheus.metrics import PrometheusMetrics

    names = {*cluster_names(settings, sandbox=sandbox), *(host.group for host in settings.hosts.values())}
    wrong = [name for name, server in settings.prometheus.items() if name not in names and not server.cluster_label]
    if wrong:
        known = ", ".join(sorted(names)) or "none"
        raise SettingsWrong(
            [f"prometheus.{name}: there is no such cluster or host group ({known}), so nobody would ask it" for name in wrong]
        )
    alertmanagers = tuple(alertmanagers_of(settings).values())
    return PrometheusMetrics(settings.prometheus, clock=clock, alertmanagers=alertmanagers, forecast=_usual() if baseline else None)


def asks_model(settings: Settings, stages: Sequence[str]) -> bool:
    """Whether one of these stages asks a language model."""
    return "propose" in stages or ("failure_watch" in stages and settings.failure_watch.analysis)


def open_model(settings: Settings, *, clock: Callable[[], datetime] = now) -> ModelClient | None:
    """The language model of the settings, or None where they name none. No request is made yet."""
    if not settings.model.is_on:
        return None
    from adapters.model.client import ModelClient

    return ModelClient(settings.model, clock=clock)


def alertmanagers_of(settings: Settings) -> dict[str, AlertmanagerClient]:
    """A client for each Alertmanager of the settings, by name. No request is made yet."""
    from adapters.alertmanager.client import AlertmanagerClient

    return {
        name: AlertmanagerClient(
            one.url.reveal(), token=one.token or None, username=one.username, password=one.password or None, timeout=one.timeout
        )
        for name, one in settings.alertmanager.items()
    }


def _usual() -> Forecast:
    from stages.verify.baseline import usual

    return usual


def topology() -> dict[str, tuple[str, ...]]:
    """Which group reads which topics: nothing is trimmed that one of them has not finished."""
    return {**READS, ARCHIVE: TOPICS}


def groups_of_topics() -> dict[str, tuple[str, ...]]:
    """Which groups must have finished with an entry of each topic before it may be trimmed."""
    groups = topology()
    return {topic: tuple(group for group, topics in groups.items() if topic in topics) for topic in TOPICS}
