"""What an operator may choose about proposing."""

from __future__ import annotations

import msgspec

from schemas.numbers import Likeness, Positive, Seconds, Wait


class ProposeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How evidence is taken and which template fits. Numbers are those of the rule book."""

    observe_limit: Seconds = 30.0
    """The longest time to look at a target before deciding, in seconds."""

    patience: Wait = 60.0
    """How long after the news of an incident an unreachable cluster is tried again before people are asked, in seconds."""

    retry_after: Seconds = 5.0
    """The time between two tries to reach a cluster, in seconds."""

    look_again: Wait = 60.0
    """The least time between two looks at a target that was only looked at, while signals of its incident still come in, in seconds."""

    similarity: Likeness = 0.85
    """How similar an incident must be to the symptoms of a playbook for it to propose, 0.5 to 1."""

    rollout_window: Wait = 1800.0
    """A crash counts as begun with a new revision when that revision is at most this much older than the incident, in seconds."""

    scale_step: Positive = 1
    """How many replicas are added against latency."""

    scale_limit: Positive = 10
    """The most replicas that are ever proposed."""

    resource_replicas: Positive = 3
    """The number of replicas that is proposed against a lack of cpu or memory."""

    autoscaler_step: Positive = 2
    """How many replicas an autoscaler that is at its maximum is given more."""

    autoscaler_limit: Positive = 20
    """The highest maximum of an autoscaler that is ever proposed."""

    memory_limit: Positive = 4096
    """The highest memory limit of a container that is ever proposed, in MiB."""
