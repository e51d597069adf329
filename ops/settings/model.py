"""Every setting: frozen structs, one for each section of `mend.toml`.

A field's docstring is its line in `mend.example.toml` and in `docs/configuration.md`; the options of a stage are the
stage's own and are embedded as they are.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from adapters.credentials import require_username
from adapters.model.options import ModelOptions
from adapters.prometheus.options import PrometheusOptions
from adapters.ssh.options import HostOptions
from bus.options import DEAD_AGE, LoopOptions, SweeperOptions
from schemas.numbers import LONGEST, Seconds, Several
from schemas.secret import Password, Secret, SecretUrl, Token
from stages.execute.options import ExecuteOptions
from stages.failure_watch.options import FailureWatchOptions
from stages.gate.options import GateOptions
from stages.ingest.options import IngestOptions
from stages.notify.options import NotifyOptions
from stages.propose.options import ProposeOptions
from stages.verify.options import VerifyOptions

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Rate = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


Role = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="names of roles: lower case letters, digits, dashes and underscores, 64 characters at most",
    ),
]


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A table of `mend.toml`."""


class RedisSettings(Section, frozen=True, kw_only=True):
    """Where events flow. Redis 6.2 or later, or Valkey, with `maxmemory-policy noeviction`."""

    url: SecretUrl = SecretUrl("")
    """`redis://host:6379/0`, `rediss://…` or `unix:///path`. Empty: `mend up` starts a Redis of its own."""

    partitions: Several = 1
    """How many partitions events are spread over. It never changes while events are under way."""

    cluster: bool = False
    """Whether `url` is one node of a Redis Cluster."""


class PostgresSettings(Section, frozen=True, kw_only=True):
    """Where state is kept. Postgres 14 or later."""

    url: SecretUrl = SecretUrl("")
    """`postgresql://user:password@host:5432/database`. Empty: `mend up` starts a Postgres of its own."""

    pool: Several = 4
    """The largest number of connections of one process."""


class DataSettings(Section, frozen=True, kw_only=True):
    """The folder for what this machine keeps: embedded stores, the run file and the generated votes key."""

    folder: str = ""
    """Empty: `$XDG_DATA_HOME/mendstream`, else `~/.local/share/mendstream`. Made with mode 0700; as root it becomes 0711 with
    the embedded Postgres, which runs as the user `pgserver` and passes through, and can list nothing."""

    @property
    def path(self) -> Path:
        if self.folder:
            return Path(self.folder).expanduser()
        home = os.environ.get("XDG_DATA_HOME", "")
        return (Path(home) if home else Path.home() / ".local" / "share") / "mendstream"


class HttpSettings(Section, frozen=True, kw_only=True):
    """Where alerts come in: `POST /v1/alertmanager`. Without credentials it listens on loopback only."""

    host: str = "127.0.0.1"
    """The address to listen on; one that others can reach needs `token`, or `username` and `password`."""

    port: Port = 9095
    """The port to listen on."""

    token: Token = Token("")
    """The bearer token that Alertmanager sends, 16 characters or more."""

    username: str = ""
    """The user name of basic authentication, in place of or besides the token."""

    password: Password = Password("")
    """The password of basic authentication, 8 characters or more; it needs `username`."""

    def __post_init__(self) -> None:
        if bool(self.username) is not bool(self.password):
            given, lacking = ("username", "password") if self.username else ("password", "username")
            raise ValueError(f"{given} without {lacking} guards nothing: set http.{lacking} (MEND_HTTP_{lacking.upper()}) too, or neither")


class ApiSettings(Section, frozen=True, kw_only=True):
    """Where people and programs ask: incidents, approvals and votes, events. Everybody needs a token, of `mend people add`
    or of [people.NAME]. Where others than this machine reach it, put what speaks TLS before it.
    """

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: Port = 9096
    """The port to listen on; 0 takes a free one."""

    rate: Rate = 600
    """How many requests a minute one token may make; that many may come at once."""

    address_rate: Rate = 1200
    """How many requests a minute may come from one address without a valid token; each route that needs none counts by itself."""


class MetricsSettings(Section, frozen=True, kw_only=True):
    """Prometheus metrics, `/livez` and `/readyz` of each process."""

    host: str = "127.0.0.1"
    """The address to listen on."""

    port: Port = 0
    """The port of this process; each process on one machine needs its own, as in the Procfile. 0: off."""


class VotesSettings(Section, frozen=True, kw_only=True):
    """How the process that authenticated a person proves a vote to the gate."""

    key: Secret = Secret("")
    """The HMAC key that all processes share. Empty: made once and kept in the data folder."""


class ClusterSettings(Section, frozen=True, kw_only=True):
    """A Kubernetes cluster that alerts may name in their label `cluster`."""

    kubeconfig: str = ""
    """Path of a kubeconfig file. Empty: KUBECONFIG, `~/.kube/config`, or the service account of the pod."""

    context: str = ""
    """The context of the kubeconfig. Empty: its current one."""

    server: str = ""
    """The URL of an API server that asks for no credentials, in place of a kubeconfig."""


class AlertmanagerSettings(Section, frozen=True, kw_only=True):
    """An Alertmanager that is asked, before and after an action, whether the alert still fires. All that are listed are asked.
    That one does not have an alert ends it only where it had it at the proposal and was not started again since: it keeps none.
    """

    url: SecretUrl
    """URL of its HTTP API, without `/api/v2`, such as `http://alertmanager:9093`."""

    token: Secret = Secret("")
    """Bearer token that it asks for."""

    username: str = ""
    """User name, where it asks for basic authentication instead."""

    password: Secret = Secret("")
    """Password that belongs to the user name."""

    timeout: Seconds = 8.0
    """Seconds for one question."""

    def __post_init__(self) -> None:
        require_username(self.username, self.password)


class ArchiveSettings(Section, frozen=True, kw_only=True):
    """Storing every event in Postgres, and bringing back from there what Redis lost."""

    trim_period: Seconds = 30.0
    """Seconds between two times that the streams are trimmed of what every group has finished and Postgres has."""

    outputs_kept: Annotated[float, msgspec.Meta(gt=DEAD_AGE.total_seconds(), le=LONGEST)] = 60 * 86400.0
    """Seconds for which the decision about an event is remembered. Longer than a dead letter may lie, which is 30 days."""

    sweeper: SweeperOptions = SweeperOptions()


class PersonSettings(Section, frozen=True, kw_only=True):
    """A person who may sign. With no person listed, every user of this machine may sign as himself."""

    token: Token = Token("")
    """What proves `--as NAME`, 16 characters or more. Empty: only the user of the operating system with this name
    can sign as this person."""

    roles: tuple[Role, ...] = ()
    """What this person is. viewer, operator (signs and rejects too) and admin count at the API; a policy may want any other, such as `dba`,
    among those who sign. Who is only a `viewer` neither signs nor rejects."""

    slack: str = ""
    """The person's member id in Slack, such as `U0123456789`: who presses a button there is this person."""

    telegram: str = ""
    """The person's user id in Telegram, a number: who presses a button there is this person."""


class LogFormat(StrEnum):
    """console is for eyes, json for machines; auto is console on a terminal and json elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(Section, frozen=True, kw_only=True):
    """What a process says of itself, on stderr."""

    level: LogLevel = LogLevel.INFO
    """The least important level that is written: debug, info, warning or error."""

    format: LogFormat = LogFormat.AUTO
    """auto, console or json."""


class Settings(Section, frozen=True, kw_only=True):
    """All settings of Mendstream."""

    default_cluster: str = ""
    """The cluster of an alert without a label `cluster`. Empty: the only one of [clusters]; with none listed, the cluster of
    KUBECONFIG, under the name `default`. An unknown cluster is never guessed."""

    redis: RedisSettings = RedisSettings()
    postgres: PostgresSettings = PostgresSettings()
    data: DataSettings = DataSettings()
    http: HttpSettings = HttpSettings()
    api: ApiSettings = ApiSettings()
    metrics: MetricsSettings = MetricsSettings()
    ingest: IngestOptions = IngestOptions()
    propose: ProposeOptions = ProposeOptions()
    model: ModelOptions = ModelOptions()
    gate: GateOptions = GateOptions()
    execute: ExecuteOptions = ExecuteOptions()
    verify: VerifyOptions = VerifyOptions()
    votes: VotesSettings = VotesSettings()
    log: LogSettings = LogSettings()
    failure_watch: FailureWatchOptions = FailureWatchOptions()
    notify: NotifyOptions = NotifyOptions()
    archive: ArchiveSettings = ArchiveSettings()
    bus: LoopOptions = LoopOptions()
    clusters: dict[str, ClusterSettings] = {}
    hosts: dict[str, HostOptions] = {}
    prometheus: dict[str, PrometheusOptions] = {}
    alertmanager: dict[str, AlertmanagerSettings] = {}
    people: dict[str, PersonSettings] = {}
