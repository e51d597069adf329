"""What an operator may choose about proposing."""

from __future__ import annotations

import msgspec


class ProposeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How evidence is taken and which template fits. Numbers are those of the rule book."""

    observe_limit: float = 30.0
    """The longest time to look at a target before deciding, in seconds."""

    patience: float = 60.0
    """How long after the news of an incident an unreachable cluster is tried again before people are asked, in seconds."""

    retry_after: float = 5.0
    """The time between two tries to reach a cluster, in seconds."""

    rollout_window: float = 1800.0
    """A crash counts as begun with a new revision when that revision is at most this much older than the incident, in seconds."""

    scale_step: int = 1
    """How many replicas are added against latency."""

    scale_limit: int = 10
    """The most replicas that are ever proposed."""

    resource_replicas: int = 3
    """The number of replicas that is proposed against a lack of cpu or memory."""

    autoscaler_step: int = 2
    """How many replicas an autoscaler that is at its maximum is given more."""

    autoscaler_limit: int = 20
    """The highest maximum of an autoscaler that is ever proposed."""

    memory_limit: int = 4096
    """The highest memory limit of a container that is ever proposed, in MiB."""
