"""What the settings say of one Prometheus."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.credentials import require_username
from schemas.numbers import LONGEST, Positive, Seconds
from schemas.secret import Secret, SecretUrl


class PrometheusOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One Prometheus, or what answers like one, by the name of the cluster or host group whose metrics it has.

    It is asked before an action is proposed and after it, for metrics by the kind of alert and whether the alert's rule holds.

    One with a `cluster_label` answers for every cluster that has no Prometheus of its own. With neither, nothing is
    measured: another cluster's Prometheus is never asked instead.
    """

    url: SecretUrl
    """URL of its HTTP API, without `/api/v1`, such as `http://prometheus:9090`."""

    token: Secret = Secret("")
    """Bearer token that it asks for."""

    username: str = ""
    """User name, where it asks for basic authentication instead."""

    password: Secret = Secret("")
    """Password that belongs to the user name."""

    timeout: Seconds = 8.0
    """Seconds for one query; a value is not waited for longer than 8 s, whatever this says."""

    cluster_label: str = ""
    """Label that names the cluster in its series, such as `cluster`, where it has the metrics of several. Empty: of one only."""

    history: Seconds = 15 * 86400.0
    """Seconds of the past that tell what is usual; a week's rhythm shows from 14 days, a day's from 2."""

    resolution: Annotated[float, msgspec.Meta(ge=1, le=LONGEST)] = 60.0
    """Shortest time between two samples that are read of the past, in seconds; not shorter than its scrape interval."""

    answer_limit: Positive = 16 * 1024 * 1024
    """Bytes of one answer; a larger one is refused."""

    def __post_init__(self) -> None:
        require_username(self.username, self.password)
