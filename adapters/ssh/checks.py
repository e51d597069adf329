"""The checks before a host action: each one really run, or said not to have been."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from adapters.errors import Refused
from adapters.ports import Preflight
from adapters.ssh.completed import ToolMissing
from adapters.ssh.remote import Remote
from adapters.ssh.subject import State, Subject
from adapters.ssh.sudo import without_password
from schemas.action import Action
from schemas.preflight import BlastRadius, Check
from schemas.text import clean
from schemas.words import CheckResult, Tier

_SCORE = 10
_SCORE_OF_A_DEPENDENT = 10
_SCORE_OF_A_FOUNDATION = 70
_DUAL_FROM = 70
_HUMAN_FROM = 30
_DOWNTIME = 10.0


def passed(name: str, detail: str = "") -> Check:
    return Check(name=name, result=CheckResult.PASSED, detail=detail)


def failed(name: str, detail: str, missing: str = "") -> Check:
    return Check(name=name, result=CheckResult.FAILED, detail=detail, missing=missing)


def not_checked(name: str, detail: str) -> Check:
    return Check(name=name, result=CheckResult.NOT_CHECKED, detail=detail)


def existence(subject: Subject, state: State | None, names: tuple[str, ...]) -> Check:
    """Whether the host has it, with the nearest of `names` where it has not."""
    name = "target exists"
    if state is None:
        near = nearest(subject.name, names)
        return failed(
            name, f"the host has no {subject.what} {subject.name}" + (f"; nearest: {', '.join(near)}" if near else ""), subject.name
        )
    if state.unusable:
        return failed(name, f"{subject.name} is {state.unusable}, it cannot be restarted", subject.name)
    return passed(name, f"{state.view.name} is {state.view.active} {state.view.sub}".strip())


def asked(remote: Remote, command: Sequence[str], tool: str) -> tuple[Check, ...]:
    """The checks that were passed when the tool has answered; `command` is what would be run."""
    return (
        passed("syntax", " ".join(command)),
        passed("host can be asked", f"{remote.name} shows the key that known_hosts holds"),
        passed("tool exists", f"{tool} answers"),
    )


async def permission(arguments: Sequence[str], remote: Remote) -> Check:
    """Whether sudo, where it is configured, allows the very command, and by a rule that wants no password."""
    name, user = "permission", remote.options.user
    command = " ".join(arguments)
    if not remote.options.sudo:
        if user == "root":
            return passed(name, "the account is root")
        return not_checked(name, f"sudo is not configured for this host, so whether {user} may run `{command}` shows when it runs")
    allowed = await remote.read("sudo", "-n", "-l", *arguments)
    if not allowed.succeeded:
        return _password_wanted(arguments, user, allowed.complaint("sudo"))
    if user == "root":
        return passed(name, f"sudo asks root for no password and allows `{command}`")
    rules = await remote.read("sudo", "-n", "-ll")
    answer = without_password(allowed.out.strip(), rules.out) if rules.succeeded and not rules.truncated else None
    if answer is None:
        why = "it allows it, and which of its rules decides cannot be told" if rules.succeeded else rules.complaint("sudo")
        return not_checked(name, f"whether sudo wants a password for `{command}` shows when it runs: {why}")
    if not answer:
        return _password_wanted(arguments, user, "the rule that allows it wants one")
    return passed(name, f"sudo allows `{command}` without a password")


def _password_wanted(arguments: Sequence[str], user: str, why: str) -> Check:
    command = " ".join(arguments)
    rule = f"{user} ALL=(root) NOPASSWD: {command}"
    return failed(
        "permission",
        f"sudo does not allow `{command}` without a password ({why}); a rule in sudoers would be: {rule}",
        f"sudo {command}",
    )


def blast_radius(state: State) -> BlastRadius:
    """What a restart touches: 10 for itself, 10 for each unit that restarts with it, 70 at least for what the host stands on."""
    score = min(60, _SCORE + _SCORE_OF_A_DEPENDENT * len(state.dependents))
    if state.foundation:
        score = max(score, _SCORE_OF_A_FOUNDATION)
    tier = Tier.DUAL if score >= _DUAL_FROM else Tier.HUMAN if score >= _HUMAN_FROM else Tier.AUTO
    return BlastRadius(
        score=score,
        tier=tier,
        services=state.dependents[:5],
        data_impact="none",
        downtime=_DOWNTIME if state.view.active in ("active", "running") else 0.0,
        unmeasured=("downtime",),
    )


def unmeasured_blast() -> BlastRadius:
    """Nothing could be looked at: two people, since nobody knows what it would touch."""
    return BlastRadius(score=100, tier=Tier.DUAL, unmeasured=("services", "downtime"))


def unlooked(action: Action, *found: Check) -> Preflight:
    """What is known when the host could not be asked: the failed check, and that the others were not run."""
    named = {check.name for check in found}
    rest = tuple(not_checked(name, "the check before it failed") for name in ("target exists", "permission") if name not in named)
    return Preflight(target=action.target, uid="", checks=(*found, *rest), blast=unmeasured_blast())


def nearest(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Up to three of `names` that come closest, cleaned."""
    return tuple(clean(close, 128) for close in difflib.get_close_matches(name, names, n=3, cutoff=0.5))


def refusal(error: Refused) -> tuple[Check, ...]:
    """The failed check that a refusal of the host stands for."""
    if isinstance(error, ToolMissing):
        return (passed("host can be asked"), failed("tool exists", clean(str(error), 1000)))
    return (failed("host can be asked", clean(str(error), 1000)),)
