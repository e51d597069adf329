"""Whether a fault began with a new revision, and which revision was the last good one: read from evidence only."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from schemas.diagnosis import Fault, fault_of, live_pods
from schemas.evidence import PodView, RevisionView, Snapshot

_PROVEN = timedelta(minutes=10)  # a revision that was replaced sooner may never have worked
_SHOWS_IN_REVISION = frozenset({Fault.CRASH, Fault.MEMORY, Fault.PULL, Fault.CONFIG})


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A change of images: from `good`, the revision to go back to, to `bad`, the current one. `why` says what connects it to the fault."""

    good: RevisionView
    bad: RevisionView
    why: str


def began_with_revision(snapshot: Snapshot, opened_at: datetime, window: timedelta) -> Rollout | None:
    """The change of images that the fault began with, or None.

    All of this must hold: no pod of the current revision works, at least one shows a fault that its template can cause,
    there is a revision with other images, and either the rollout never got through (an older revision still serves, or the
    rollout is stuck) or the images are at most `window` older than the incident.
    """
    current = current_revision(snapshot)
    if current is None:
        return None
    good = last_good(snapshot)
    pods = pods_of(snapshot, current)
    if good is None or not any(fault_of(pod) in _SHOWS_IN_REVISION for pod in pods) or any(_works(pod) for pod in pods):
        return None
    why = _connection(snapshot, current, good, opened_at, window)
    return Rollout(good=good, bad=current, why=why) if why else None


def _connection(snapshot: Snapshot, current: RevisionView, good: RevisionView, opened_at: datetime, window: timedelta) -> str:
    serving = max(good.available, sum(pod.ready for pod in pods_of(snapshot, good)))
    if serving:
        return f"revision {good.revision} still serves with {serving} pods while no pod of revision {current.revision} works"
    if snapshot.workload is not None and snapshot.workload.progress_failed:
        return f"the rollout of revision {current.revision} never got through"
    since = images_since(snapshot, current)
    if since is not None and since >= opened_at - window:
        ago = max((opened_at - since).total_seconds(), 0.0)
        return f"its images came {_ago(ago)} before the alert"
    return ""


def changed_recently(snapshot: Snapshot, opened_at: datetime, window: timedelta) -> bool:
    """Whether the current images came at most `window` before the incident."""
    current = current_revision(snapshot)
    since = images_since(snapshot, current) if current else None
    return since is not None and since >= opened_at - window


def current_revision(snapshot: Snapshot) -> RevisionView | None:
    return next((revision for revision in snapshot.revisions if revision.current), None)


def pods_of(snapshot: Snapshot, revision: RevisionView) -> list[PodView]:
    """The pods of a revision: those that its ReplicaSet owns, else those that run its images."""
    live = live_pods(snapshot)
    owned = [pod for pod in live if pod.owner == revision.name]
    return owned or [pod for pod in live if any(_runs(container.image, revision) for container in pod.containers)]


def _runs(image: str, revision: RevisionView) -> bool:
    """Whether a running image is one of the revision's: a node may report it with the registry's name before it."""
    return any(image == wanted or image.endswith(f"/{wanted}") for wanted in revision.images)


def images_since(snapshot: Snapshot, current: RevisionView) -> datetime | None:
    """When the images of the current revision came: a restart makes a new revision, but brings no new images."""
    since = current.created_at
    for revision in sorted(snapshot.revisions, key=lambda one: one.revision, reverse=True):
        if revision.revision >= current.revision:
            continue
        if revision.images != current.images or revision.created_at is None:
            break
        since = min(since, revision.created_at) if since else revision.created_at
    return since


def last_good(snapshot: Snapshot) -> RevisionView | None:
    """The revision to go back to, of those with other images and without the fault, or None.

    First one that still serves, then one that is known to have been fully available, then one that lasted, then the newest. A
    revision whose rollout is known to have failed, or that an earlier action rolled back from, is none.
    """
    current = current_revision(snapshot)
    if current is None:
        return None
    candidates = [
        revision
        for revision in snapshot.revisions
        if not revision.current and revision.was_available is not False and revision.images and revision.images != current.images
    ]
    working = [one for one in candidates if not any(fault_of(pod) in _SHOWS_IN_REVISION for pod in pods_of(snapshot, one))]
    return max(working, key=lambda one: (one.available > 0, one.was_available is True, _lasted(one, snapshot), one.revision), default=None)


def _lasted(revision: RevisionView, snapshot: Snapshot) -> bool:
    later = [one.created_at for one in snapshot.revisions if one.revision > revision.revision and one.created_at is not None]
    return revision.created_at is not None and bool(later) and min(later) - revision.created_at >= _PROVEN


def _works(pod: PodView) -> bool:
    return pod.ready and not any(container.restarts for container in pod.containers)


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
