"""From text to a typed action: the accepted spellings of the rule book, and nothing else. No text is ever run.

A table of patterns, each of which must match the whole text. What a pattern takes from the text is a name, checked by the
pattern itself; so no text can reach a shell, and none can smuggle a second command in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from schemas.action import (
    Action,
    DeletePod,
    DiagnoseHost,
    Investigate,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    unit_name,
    why_not_restarted,
)
from schemas.evidence import Snapshot
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Probe
from stages.propose.rollout import last_good

_LONGEST = 400  # characters; a longer text is no command
_NAME = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_HOST_NAME = r"[A-Za-z0-9_.:][A-Za-z0-9@_.:-]{0,127}"
_KINDS = {
    **dict.fromkeys(("deployment", "deployments", "deploy", "deployment.apps"), Kind.DEPLOYMENT),
    **dict.fromkeys(("statefulset", "statefulsets", "sts", "statefulset.apps"), Kind.STATEFULSET),
    **dict.fromkeys(("daemonset", "daemonsets", "ds", "daemonset.apps"), Kind.DAEMONSET),
}
_KIND = "(?P<kind>" + "|".join(sorted(map(re.escape, _KINDS), key=len, reverse=True)) + ")"
_WORKLOAD = rf"{_KIND}(?:/|\s+)(?P<name>{_NAME})"
_NAMESPACE = re.compile(rf" (?:-n|--namespace)(?: |=)({_NAME})(?= |$)", re.ASCII)
_PLACE = rf"(?:(?P<place>{_NAME})/)?(?P<name>{_NAME})"


class ParseFailure(ValueError):
    """The text is none of the accepted spellings; `text` is what it said, cleaned. Nothing of it is run."""

    def __init__(self, text: str, why: str = "is none of the accepted spellings of an action") -> None:
        self.text = clean(text, 300)
        super().__init__(f"{self.text!r} {why}")


class Parsed(msgspec.Struct, frozen=True):
    """A typed action. `elsewhere` says that the text named another target than the incident's own: a person must agree to it."""

    action: Action
    elsewhere: bool


class _Situation(msgspec.Struct, frozen=True):
    """The text, the namespace that it names (or ""), and what it is about."""

    text: str
    namespace: str
    target: Target
    snapshot: Snapshot | None


Make = Callable[[re.Match[str], _Situation], Parsed]


def parse(text: str, target: Target, snapshot: Snapshot | None = None) -> Parsed:
    """The action that `text` spells for an incident about `target`; `snapshot` is what was seen of that target.

    The snapshot gives the UIDs of pods and the revision to go back to where the text names none. Raises ParseFailure.
    """
    words = " ".join(text.split()) if len(text) <= _LONGEST else ""
    if not words and text.strip():
        raise ParseFailure(text, f"is longer than {_LONGEST} characters")
    if len(text.strip().splitlines()) > 1:
        raise ParseFailure(text, "is more than one line")
    namespaces = _NAMESPACE.findall(words) if words.startswith("kubectl ") else []
    if len(namespaces) > 1:
        raise ParseFailure(text, "names more than one namespace")
    situation = _Situation(words, "".join(namespaces), target, snapshot)
    bare = _NAMESPACE.sub("", words) if namespaces else words
    for pattern, make in _TABLE:
        if match := pattern.fullmatch(bare):
            return make(match, situation)
    raise ParseFailure(text)


def _workload(match: re.Match[str], situation: _Situation) -> Target:
    """The workload that was named; a namespace that was not named is the incident's."""
    place = match.groupdict().get("place") or ""
    namespace = situation.namespace or place.lower() or situation.target.namespace
    kind = _KINDS[match["kind"].lower()]
    return Target(cluster=situation.target.cluster, kind=kind, name=match["name"].lower(), namespace=namespace)


def _parsed(action: Action, situation: _Situation) -> Parsed:
    return Parsed(action, action.target != situation.target)


def _restart(match: re.Match[str], situation: _Situation) -> Parsed:
    return _parsed(RestartWorkload(target=_workload(match, situation)), situation)


def _roll_back(match: re.Match[str], situation: _Situation) -> Parsed:
    target = _workload(match, situation)
    if match["revision"]:
        return _parsed(RollBackWorkload(target=target, to_revision=int(match["revision"])), situation)
    good = last_good(situation.snapshot) if situation.snapshot is not None and target == situation.target else None
    if good is None:
        raise ParseFailure(situation.text, "names no revision, and none is known to go back to")
    return _parsed(RollBackWorkload(target=target, to_revision=good.revision), situation)


def _scale(match: re.Match[str], situation: _Situation) -> Parsed:
    return _parsed(ScaleWorkload(target=_workload(match, situation), replicas=int(match["replicas"])), situation)


def _scale_up(match: re.Match[str], situation: _Situation) -> Parsed:
    target = _workload(match, situation)
    workload = situation.snapshot.workload if situation.snapshot is not None and target == situation.target else None
    if workload is None:
        raise ParseFailure(situation.text, "names no number of replicas, and the present one is not known")
    return _parsed(ScaleWorkload(target=target, replicas=workload.desired + 1), situation)


def _delete_pod(match: re.Match[str], situation: _Situation) -> Parsed:
    target = situation.target
    pods = situation.snapshot.pods if situation.snapshot is not None else ()
    namespace = situation.namespace or target.namespace
    uid = next((pod.uid for pod in pods if pod.name == match["name"]), "") if namespace == target.namespace else ""
    if not uid:
        raise ParseFailure(situation.text, f"names a pod that was not seen among those of {target}")
    pod = Target(cluster=target.cluster, kind=Kind.POD, name=match["name"], namespace=namespace)
    return Parsed(DeletePod(target=pod, uid=uid), elsewhere=False)


def _look(_: re.Match[str], situation: _Situation) -> Parsed:
    return Parsed(Investigate(target=situation.target, reason=clean(situation.text, 200)), elsewhere=False)


def _unit(match: re.Match[str], situation: _Situation) -> Parsed:
    name = unit_name(match["name"])
    if why := why_not_restarted(name):
        raise ParseFailure(situation.text, f"names a unit that it may not: {why}")
    return _on_host(RestartUnit(target=situation.target, unit=name), situation)


def _container(match: re.Match[str], situation: _Situation) -> Parsed:
    return _on_host(RestartContainer(target=situation.target, container=match["name"]), situation)


def _on_host(action: Action, situation: _Situation) -> Parsed:
    if situation.target.kind is not Kind.HOST:
        raise ParseFailure(situation.text, f"is for a host, and the incident is about {situation.target}")
    return Parsed(action, elsewhere=False)


def _service(match: re.Match[str], situation: _Situation) -> Parsed:
    return _on_host(RestartComposeService(target=situation.target, service=match["name"]), situation)


def _host_form(kind: Callable[..., Action]) -> Make:
    """A form that names nothing but what it does."""

    def make(_: re.Match[str], situation: _Situation) -> Parsed:
        return _on_host(kind(target=situation.target), situation)

    return make


def _probe(match: re.Match[str], situation: _Situation) -> Parsed:
    """A probe is run on a host, without the options that the text gives; about anything else it means to look."""
    if situation.target.kind is not Kind.HOST:
        return _look(match, situation)
    return Parsed(DiagnoseHost(target=situation.target, probes=(Probe(match["probe"]),)), elsewhere=False)


def _row(pattern: str, make: Make, flags: int = re.ASCII) -> tuple[re.Pattern[str], Make]:
    return re.compile(pattern, flags), make


_READ_ONLY = r"kubectl (?:get|describe|logs|top)(?: [A-Za-z0-9@%_.,:/=-]+)*"
_FORCE = r"(?: (?:-f|--force))?"  # asks nobody; what is deleted stays the same
_PROBES = r"(?P<probe>ps|df|free|top|uptime)(?: [A-Za-z0-9_.,=/-]+)*"
_LOOSE = re.ASCII | re.IGNORECASE
_TABLE: tuple[tuple[re.Pattern[str], Make], ...] = (
    _row(r"", _look),
    _row(r"(?:NO[_ ]ACTION|OBSERVE|INVESTIGATE)(?:[^A-Za-z].*)?", _look, re.IGNORECASE),
    _row(rf"kubectl rollout restart {_WORKLOAD}", _restart),
    _row(rf"kubectl rollout undo {_WORKLOAD}(?: --to-revision(?:=| )(?P<revision>[1-9]\d{{0,8}}))?", _roll_back),
    _row(rf"kubectl scale {_WORKLOAD} --replicas(?:=| )(?P<replicas>\d{{1,4}})", _scale),
    _row(rf"kubectl scale --replicas(?:=| )(?P<replicas>\d{{1,4}}) {_WORKLOAD}", _scale),
    _row(rf"kubectl delete (?:pods?|po)(?:/| )(?P<name>{_NAME})", _delete_pod),
    _row(_READ_ONLY, _look),
    _row(rf"Restart {_KIND}:? {_PLACE}", _restart, _LOOSE),
    _row(rf"Roll ?back {_KIND}:? {_PLACE}(?: to revision (?P<revision>[1-9]\d{{0,8}}))?", _roll_back, _LOOSE),
    _row(rf"Scale {_KIND}:? {_PLACE} to (?P<replicas>\d{{1,4}})(?: replicas?)?", _scale, _LOOSE),
    _row(rf"Scale up {_KIND}:? {_PLACE}", _scale_up, _LOOSE),
    _row(rf"(?:sudo )?systemctl restart (?P<name>{_HOST_NAME})", _unit),
    _row(rf"(?:sudo )?docker restart (?P<name>{_HOST_NAME})", _container),
    _row(rf"(?:sudo )?docker[ -]compose restart (?P<name>{_HOST_NAME})", _service),
    _row(rf"(?:sudo )?docker image prune{_FORCE}", _host_form(PruneImages)),
    _row(rf"(?:sudo )?docker volume prune{_FORCE}", _host_form(PruneVolumes)),
    _row(rf"(?:sudo )?docker system prune{_FORCE}", _host_form(PruneSystem)),
    _row(r"(?:sudo )?(?:nginx reload|nginx -s reload|systemctl reload nginx(?:\.service)?)", _host_form(ReloadNginx)),
    _row(r"(?:sudo )?certbot renew", _host_form(RenewCertificates)),
    _row(_PROBES, _probe),
)
