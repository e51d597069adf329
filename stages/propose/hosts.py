"""The templates for hosts: restart the unit or the container that the alert names, when it is seen to be down."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from schemas.action import Investigate, RestartContainer, RestartUnit, parts_of, unit_name
from schemas.diagnosis import unit_finding
from schemas.evidence import UnitView
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Health
from stages.propose.case import Case, Suggestion

_UNIT_LABELS = ("unit", "systemd_unit", "service", "name")
_CONTAINER_LABELS = ("container", "container_name")


def parts_named(target: Target, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The unit or container of a host that the labels name, so that a look leaves it out in no case."""
    named = _named(target, labels) if target.kind is Kind.HOST else None
    return parts_of(named[0]) if named is not None else ()


def suggest_for_host(case: Case) -> Suggestion:
    """A restart of the one unit or container that the labels name and that is down; else Investigate. Raises nothing."""
    named = _named(case.target, case.labels)
    if named is None:
        down = [unit.name for unit in case.snapshot.units if unit_finding(unit).health is Health.UNHEALTHY]
        seen = f"Down are: {', '.join(down[:5])}." if down else "Nothing on it was seen to be down."
        return _look(case, f"The alert names no unit and no container of the host. {seen}", f"What should be done about {case.target}?")
    action, name = named
    sensor = "units" if isinstance(action, RestartUnit) else "containers"
    if not case.snapshot.saw(sensor):
        return _look(case, f"The {sensor} of {case.target} could not be looked at.", f"How is {name} on {case.target}?")
    unit = _unit(case, action)
    if unit is None:
        near = get_close_matches(name, [one.name for one in case.snapshot.units], n=3)
        hint = f" The nearest names: {', '.join(near)}." if near else ""
        return _look(case, f"{name} was not seen on {case.target}.{hint}", f"Which unit or container of {case.target} is meant?")
    finding = unit_finding(unit)
    if finding.health is Health.PROGRESSING:
        return _look(case, f"{unit.name} is {finding.reason}: it is being started or stopped.", f"Does {unit.name} come up by itself?")
    if finding.health is Health.UNKNOWN:
        return _look(case, f"{unit.name} on {case.target} is {finding.reason}.", f"Is anything wrong with {unit.name}?")
    if finding.health is not Health.UNHEALTHY:
        return _look(case, f"{unit.name} is {finding.reason}: it has healed meanwhile, or something else is wrong.", "")
    if isinstance(action, RestartUnit):
        action = RestartUnit(target=case.target, unit=unit.name)
    return Suggestion(
        action=action, reasons=(f"{unit.name} on {case.target} is {finding.reason}.", "A restart brings it back."), confidence=0.6
    )


def named_unit(case: Case) -> UnitView | None:
    """The unit or container that the labels name, as it was seen; None where they name none, or it was not seen."""
    named = _named(case.target, case.labels)
    return _unit(case, named[0]) if named else None


def _named(target: Target, labels: Mapping[str, str]) -> tuple[RestartUnit | RestartContainer, str] | None:
    for label in _UNIT_LABELS:
        name = labels.get(label, "")
        if name and (name.endswith(".service") or label in ("unit", "systemd_unit")):
            return RestartUnit(target=target, unit=name), name
    for label in _CONTAINER_LABELS:
        if name := labels.get(label, ""):
            return RestartContainer(target=target, container=name), name
    return None


def _unit(case: Case, action: RestartUnit | RestartContainer) -> UnitView | None:
    """The unit or container of exactly that name: a container may be called as a unit is without its suffix."""
    name = unit_name(action.unit) if isinstance(action, RestartUnit) else action.container
    return next((unit for unit in case.snapshot.units if unit.name == name), None)


def _look(case: Case, reason: str, question: str) -> Suggestion:
    reason = clean(reason, 600)
    return Suggestion(
        action=Investigate(target=case.target, reason=reason), reasons=(reason,), confidence=0.5, question=clean(question, 600)
    )
