"""Which series are about a target: label matchers from names that were checked, and from nothing else.

A value is written into PromQL only when it matches `[a-zA-Z0-9_.:-]{1,128}`. Any other is dropped, never quoted; where it
was what told one thing from another, nothing is asked at all, for a wider question would be about something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from adapters.errors import WrongSettings
from schemas.target import Kind, Target

_VALUE = re.compile(r"[a-zA-Z0-9_.:-]{1,128}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_METRICS_OF_OTHERS = re.compile(r"kube-state-metrics|kube_state_metrics|ksm")
_HASH = "[bcdfghjklmnpqrstvwxz2456789]"  # the alphabet of the names that Kubernetes makes up
_POD_NAMES = {
    Kind.DEPLOYMENT: f"-{_HASH}{{5,10}}-{_HASH}{{5}}",
    Kind.STATEFULSET: "-[0-9]+",
    Kind.DAEMONSET: f"-{_HASH}{{5}}",
    Kind.JOB: f"-{_HASH}{{5}}",
}


class Selection(msgspec.Struct, frozen=True):
    """The matchers of one target, as alternatives: `a="1",b="2"` each. Empty where it cannot be told from others."""

    alternatives: tuple[str, ...] = ()
    missing: str = ""

    def of(self, metric: str, *more: str) -> str:
        """The series of a metric that are about the target; `more` are matchers of our own."""
        wanted = [f"{metric}{{{','.join((alternative, *more))}}}" for alternative in self.alternatives]
        return wanted[0] if len(wanted) == 1 else f"({' or '.join(wanted)})"

    @property
    def first(self) -> Selection:
        """The first alternative alone, for metrics that the others have of other things as well."""
        return Selection(self.alternatives[:1], self.missing)

    def within(self, matcher: str) -> Selection:
        """The same with one more matcher, which has to be of checked values."""
        return Selection(tuple(f"{alternative},{matcher}" for alternative in self.alternatives), self.missing)


def accepted(value: str) -> str:
    """The value where it may be written into PromQL, else an empty text."""
    return value if _VALUE.fullmatch(value) else ""


def label_name(name: str) -> str:
    """The name of a label from the settings. Raises WrongSettings when it is none."""
    if _LABEL.fullmatch(name) is None:
        raise WrongSettings(f"cluster_label = {name[:64]!r} is no name of a label: letters, digits and underscores only")
    return name


def equals(label: str, value: str) -> str:
    """A matcher; `value` has to be an accepted one, and without one there is no matcher."""
    return f'{label}="{value}"' if accepted(value) else ""


def pods_of(target: Target) -> Selection:
    """The pods of a pod or workload, those of its past included as far as Kubernetes names them alike."""
    namespace, name = accepted(target.namespace), accepted(target.name)
    if not namespace or not name:
        return Selection(missing="its namespace or name has characters that are not written into PromQL")
    if target.kind is Kind.POD:
        return Selection((f'namespace="{namespace}",pod="{name}"',))
    form = _POD_NAMES.get(target.kind)
    if form is None:
        return Selection(missing=f"the pods of a {target.kind} are not known by their names")
    return Selection((f'namespace="{namespace}",pod=~"{_literal(name)}{form}"',))


def is_pod_of(target: Target, pod: str) -> bool:
    """Whether a pod of that name may be one of the workload's, by how Kubernetes names them."""
    form = _POD_NAMES.get(target.kind)
    return form is not None and re.fullmatch(f"{re.escape(target.name)}{form}", pod) is not None


def instance_of(target: Target, labels: Mapping[str, str]) -> Selection:
    """The exporters of a node or host: by the alert's own `instance` where that is the host's, else by its name."""
    name, instance = accepted(target.name), accepted(labels.get("instance", ""))
    if not name:
        return Selection(missing="its name has characters that are not written into PromQL")
    of_another = _METRICS_OF_OTHERS.search(labels.get("job", "")) is not None
    if instance and not of_another and (instance == name or instance.startswith(f"{name}:")):
        return Selection((f'instance="{instance}"',))
    by_name = f'instance=~"{_literal(name)}(:[0-9]+)?"'
    return Selection((by_name, f'node="{name}"') if target.kind is Kind.NODE else (by_name,))


def labelled(labels: Mapping[str, str], identity: tuple[str, ...], extra: tuple[str, ...]) -> Selection:
    """Series with the alert's own values of `identity`, each of which is needed where the alert has it, and of `extra` where accepted."""
    given = [(name, labels[name]) for name in identity if labels.get(name)]
    if not given:
        return Selection(missing=f"the alert has no label {' or '.join(identity)}")
    refused = [name for name, value in given if not accepted(value)]
    if refused:
        return Selection(missing=f"its label {refused[0]} has characters that are not written into PromQL")
    given += [(name, labels[name]) for name in extra if accepted(labels.get(name, ""))]
    return Selection((",".join(f'{name}="{value}"' for name, value in given),))


def _literal(name: str) -> str:
    """An accepted name as a regular expression that matches only itself: of its characters only the dot means more."""
    return name.replace(".", "[.]")
