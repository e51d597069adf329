"""The judgement of metrics: before against after, and against what is usual. A pure function with a reason for each of them.

There are two sorts. Some have an ideal (no restarts, up): away from it is bad at any time. The others are what a target uses
(memory, processor, load): a crashed one uses nothing, so that more than before may well be health. For these the usual band
decides; without one, only a target that was healthy before can be compared with itself.

| after the action                                  | means      | share | health      |
|---------------------------------------------------|------------|-------|-------------|
| not measured, or from before the action           | unknown    | none  | unknown     |
| worse than before, away from the ideal            | worse      | 0     | unhealthy   |
| outside the band on the bad side, inside before   | worse      | 0     | unhealthy   |
| worse than before, no band, it was healthy before | worse      | 0     | unhealthy   |
| better, and at the ideal or in the band           | improved   | 1     | healthy     |
| better, and neither is known                      | improved   | 1     | healthy     |
| better, but still bad                             | improved   | 0.5   | progressing |
| as before, at the ideal or in the band            | unchanged  | 1     | healthy     |
| as before, still bad                              | unchanged  | 0     | unhealthy   |
| well, but it is what a target uses that is down   | unknown    | none  | unknown     |
| anything else                                     | unknown    | none  | unknown     |

The share is what a metric adds to the score; those without one do not count. Only what is worse is a regression.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.evidence import MetricView, Snapshot, amount
from schemas.judgement import Judgement
from schemas.text import clean
from schemas.words import Health, Worse

_RELATIVE_NOISE = 0.1  # share of the larger value, without a band to tell what is noise


class Change(StrEnum):
    """What became of a metric."""

    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    UNKNOWN = "unknown"


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """One metric judged. `share` is what it adds to the score, 0 to 1, or None where it does not count."""

    name: str
    change: Change
    share: float | None
    judgement: Judgement


class MetricsAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics judged, in the order of their names."""

    results: tuple[MetricResult, ...] = ()

    @property
    def share(self) -> float | None:
        """The part of the self-healing score, 0 to 1: the mean of the shares; None when nothing counts."""
        counted = list(self.parts.values())
        return sum(counted) / len(counted) if counted else None

    @property
    def parts(self) -> dict[str, float]:
        """The share of each metric that counts, by name."""
        return {result.name: result.share for result in self.results if result.share is not None}

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        return tuple(result.judgement for result in self.results)

    @property
    def regressions(self) -> tuple[str, ...]:
        """A sentence for each metric that got worse."""
        return tuple(f"{result.name} {result.judgement.reason}" for result in self.results if result.change is Change.WORSE)

    @property
    def measured(self) -> bool:
        """Whether any metric says something."""
        return any(result.change is not Change.UNKNOWN for result in self.results)


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What else is known of the target.

    healthy_before  whether it was healthy before the action, so that what it used then was normal
    healthy_after   whether it is healthy now, so that using little is no sign of being down
    elapsed         seconds from the end of the action to the look, or None; samples that are older say nothing of the action
    """

    healthy_before: bool
    healthy_after: bool
    elapsed: float | None = None


def judge_metrics(before: Snapshot | None, after: Snapshot, circumstances: Circumstances) -> MetricsAssessment:
    """Each metric of `after` against `before`, which may be None or late: then only what is usual, or ideal, counts."""
    earlier = {} if before is None or before.late else {view.name: view for view in before.metrics}
    later = {view.name: view for view in after.metrics}
    names = sorted(earlier.keys() | later.keys())
    return MetricsAssessment(results=tuple(_judged(name, earlier.get(name), later.get(name), circumstances) for name in names))


_Finding = tuple[Change, float | None, Health, str]


def _judged(name: str, before: MetricView | None, after: MetricView | None, known: Circumstances) -> MetricResult:
    change, share, health, reason = _finding(before, after, known)
    then, now = _shown(before), _shown(after)
    note = f" ({after.note})" if after is not None and after.note else ""
    reason = clean(f"{reason}{_figures(then, now, after)}{note}", 500)
    judgement = Judgement(about=f"metric {name}", health=health, reason=reason, before=then, after=now)
    return MetricResult(name=name, change=change, share=share, judgement=judgement)


def _finding(before: MetricView | None, after: MetricView | None, known: Circumstances) -> _Finding:
    if after is None or after.value is None:
        vanished = " any more" if before is not None and before.value is not None else ""
        return _unknown(f"could not be measured{vanished}")
    if known.elapsed is not None and after.age is not None and after.age > known.elapsed:
        return _unknown("has no sample from after the action yet")
    found = _compared(before, after, known)
    if after.use and not known.healthy_after and found[1]:
        return _unknown("is what a target uses, and this one is not well")
    return found


def _unknown(reason: str) -> _Finding:
    return Change.UNKNOWN, None, Health.UNKNOWN, reason


def _compared(before: MetricView | None, after: MetricView, known: Circumstances) -> _Finding:
    """The table above, for a metric that was measured after the action."""
    assert after.value is not None
    worse_by = None if before is None or before.value is None else _worse_by(before.value, after)
    bad = _bad(after.value, after)
    if worse_by is None:
        return _alone(bad)
    assert before is not None
    assert before.value is not None
    if worse_by > 0:
        was_bad = _bad(before.value, after)
        return _when_worse(after, bad, was_bad, known)
    if worse_by < 0:
        if bad:
            return Change.IMPROVED, 0.5, Health.PROGRESSING, "is better than before, but not well"
        return Change.IMPROVED, 1.0, Health.HEALTHY, "is better than before"
    return _when_unchanged(before, after, bad)


def _alone(bad: bool | None) -> _Finding:
    """Without a value from before."""
    if bad is None:
        return _unknown("has nothing to be compared with")
    if bad:
        return Change.UNCHANGED, 0.0, Health.UNHEALTHY, "is not well, and was not measured before"
    return Change.UNCHANGED, 1.0, Health.HEALTHY, "is well, and was not measured before"


def _when_worse(after: MetricView, bad: bool | None, was_bad: bool | None, known: Circumstances) -> _Finding:
    if after.ideal is not None:
        return Change.WORSE, 0.0, Health.UNHEALTHY, "is worse than before"
    if bad is None:
        if known.healthy_before:
            return Change.WORSE, 0.0, Health.UNHEALTHY, "is worse than before"
        return _unknown("is worse than before, when the target was not well and may have used nothing")
    if not bad:
        return Change.UNCHANGED, 1.0, Health.HEALTHY, "is within what is usual"
    if was_bad:
        return Change.WORSE, 0.0, Health.UNHEALTHY, "is still outside of what is usual, and worse than before"
    return Change.WORSE, 0.0, Health.UNHEALTHY, "has left what is usual"


def _when_unchanged(before: MetricView, after: MetricView, bad: bool | None) -> _Finding:
    if bad is None:
        return Change.UNCHANGED, None, Health.UNKNOWN, "is as before, and what is usual is not known"
    if not bad:
        return Change.UNCHANGED, 1.0, Health.HEALTHY, "is as before, and well"
    assert before.value is not None
    if _bad(before.value, after) is False:
        return Change.WORSE, 0.0, Health.UNHEALTHY, "has left what is usual"
    return Change.UNCHANGED, 0.0, Health.UNHEALTHY, "is as bad as before"


def _worse_by(before: float, after: MetricView) -> float:
    """By how much it got worse beyond noise, in its unit: 0 within noise, negative where it got better."""
    assert after.value is not None
    difference = after.value - before if after.worse is Worse.UP else before - after.value
    relative = 0.0 if after.ideal is not None else _RELATIVE_NOISE * max(abs(after.value), abs(before))
    return difference if abs(difference) > max(after.noise, relative) else 0.0


def _bad(value: float, view: MetricView) -> bool | None:
    """Whether a value is away from the ideal, or outside of the band on the side that is bad; None where neither is known."""
    if view.ideal is not None:
        away = value - view.ideal if view.worse is Worse.UP else view.ideal - value
        return away > view.noise
    if view.baseline is None:
        return None
    over = value - view.baseline.upper if view.worse is Worse.UP else view.baseline.lower - value
    return over > view.noise


def _shown(view: MetricView | None) -> str:
    return "" if view is None or view.value is None else amount(view.value, view.unit)


def _figures(before: str, after: str, view: MetricView | None) -> str:
    """The numbers behind a reason: `: 93 %, 41 % before, usually 30 % to 55 % (weekly)`."""
    parts = [after] if after else []
    parts += [f"{before} before"] if before else []
    if view is not None and view.baseline is not None:
        band = view.baseline
        parts.append(f"usually {amount(band.lower, view.unit)} to {amount(band.upper, view.unit)} ({band.season})")
    return f": {', '.join(parts)}" if parts else ""
