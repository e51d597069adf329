"""What an operator may choose about verifying."""

from __future__ import annotations

import msgspec

from schemas.diagnosis import ENOUGH_ROOM
from schemas.numbers import Seconds, Share, Wait, Weight


class Weights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each part counts in the self-healing score. Only their proportions matter; one that is not known does not count."""

    state: Weight = 0.5
    """The state of the target: healthy 1, not converged 0.4, else 0."""

    change: Weight = 0.2
    """What became better: healthy 1, else the share of the faulty pods of before that are gone."""

    steadiness: Weight = 0.2
    """Whether it runs steadily: 1 without restarts since the action, falling to 0 at three."""

    alert: Weight = 0.1
    """The alert itself: gone 1, not known 0.5, firing 0."""

    metrics: Weight = 0.2
    """The mean of the metrics that say something; counts only where there is one."""

    regression: Weight = 0.1
    """What each thing that got worse takes away from the score."""

    def __post_init__(self) -> None:
        weights = (self.state, self.change, self.steadiness, self.alert, self.metrics)
        if min(*weights, self.regression) < 0:
            raise ValueError("no weight may be negative")
        if self.state + self.change + self.steadiness + self.alert <= 0:
            raise ValueError("state, change, steadiness and alert may not all be 0")


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the world is looked at again. Numbers are those of the rule book."""

    settle: Wait = 10.0
    """The time between the end of an execution and the first look, in seconds."""

    interval: Seconds = 5.0
    """The time between two looks while the target still progresses, in seconds."""

    limit: Wait = 120.0
    """The longest warm-up: what has not converged so long after the execution is judged as it is, in seconds. Also the longest time
    after the hold-down for what does not look well then to become so. New pods of a Deployment that are only being started are
    given its progressDeadlineSeconds in addition, half an hour at most."""

    hold_down: Wait = 120.0
    """How long a success is held before it is told, in seconds: a second look then catches the fault that comes back. 0: not at all."""

    hold_downs: dict[str, Wait] = {}
    """The same for the actions of single playbooks, by name, in place of `hold_down` and of what the playbook itself says."""

    alert_limit: Wait = 600.0
    """What is well while the alert's own rule still holds is looked at again for so long after the execution, in seconds, if that is
    longer than `limit`: many rules look back some minutes. After that it is not called a success."""

    observe_limit: Seconds = 30.0
    """The longest time for all sensors of one look together, in seconds."""

    room: Share = ENOUGH_ROOM
    """The share of the file system that Docker keeps its data on, 0 to 1, that must be free after an action which makes room."""

    weights: Weights = Weights()

    def __post_init__(self) -> None:
        if min((self.hold_down, *self.hold_downs.values())) < 0:
            raise ValueError("no hold-down may be negative: 0 holds nothing back")

    def hold_down_of(self, playbook: str, own: float | None = None) -> float:
        """The hold-down of an action of this playbook, which says `own` of it, or of none where its name is empty, in seconds."""
        usual = self.hold_down if own is None else own
        return self.hold_downs.get(playbook, usual) if playbook else self.hold_down
