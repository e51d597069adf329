"""What a tool does that leaves no start behind by which it could be recognised: reloading, renewing, emptying, deleting what is unused.

Each of these may be repeated without harm, and still is not repeated unseen. What is known afterwards is what the marks on
the host say: an attempt writes down that it begins, and how it ended. Without a word of the end nobody can say.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from adapters.errors import Failed, OutcomeUnknown, Refused, TargetMissing, Transient
from adapters.ports import Applied, Preflight
from adapters.ssh import checks
from adapters.ssh.completed import Completed
from adapters.ssh.marks import End, Marks, fence
from adapters.ssh.remote import Remote
from schemas.action import Action
from schemas.preflight import BlastRadius, Check
from schemas.text import clean
from schemas.words import CheckResult, Tier

OUTPUT_LIMIT = 2000


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the host says of a chore that might be done now.

    uid      changes when it would be done to something else than what was looked at
    command  its arguments, without sudo; empty where a check that failed leaves nothing to run
    checks   those of the tool itself
    diff     what would be gone or different, as far as it can be told
    """

    uid: str
    command: tuple[str, ...]
    checks: tuple[Check, ...]
    blast: BlastRadius
    diff: str = ""

    @property
    def objections(self) -> str:
        failed = [f"{check.name}: {check.detail}" for check in self.checks if check.result is CheckResult.FAILED]
        if self.blast.tier is Tier.BLOCKED:
            failed.append("its blast radius is in the blocked tier")
        return "; ".join(failed)


class Tool(Protocol):
    """One chore. `partial` says that a failure may leave a part of it done."""

    what: str
    tool: str
    partial: bool

    async def ready(self, remote: Remote) -> Ready:
        """Looks and changes nothing. Raises TargetMissing, Refused, Transient."""
        ...


class Chore:
    """One chore on one host."""

    def __init__(self, tool: Tool, remote: Remote) -> None:
        self._tool = tool
        self._remote = remote

    async def preflight(self, action: Action) -> Preflight:
        """The tool's own checks, permission for its very command, blast radius. Raises Refused, Transient when the host cannot be asked."""
        remote = self._remote
        try:
            ready = await self._tool.ready(remote)
        except TargetMissing as error:
            missing = checks.failed("target exists", str(error))
            return checks.unlooked(action, *checks.asked(remote, (), self._tool.tool), missing)
        permission = (
            await checks.permission(ready.command, remote)
            if ready.command
            else checks.not_checked("permission", "a check before it failed, there is no command to ask for")
        )
        return Preflight(
            target=action.target,
            uid=ready.uid,
            checks=(*checks.asked(remote, ready.command, self._tool.tool), *ready.checks, permission),
            blast=ready.blast,
            diff=clean(ready.diff, OUTPUT_LIMIT),
        )

    async def apply(self, *, operation: str, token: int, uid: str) -> Applied:
        """As `World.apply`."""
        marks = Marks(self._remote, operation)
        seen = await marks.read()
        fence(seen, token, self._remote.name)
        if any(mark.end is End.DONE for mark in seen):
            return Applied(output=f"{self._tool.what}: done by this operation before", repeated=True)
        if any(mark.end is None for mark in seen):
            raise OutcomeUnknown(f"{self._tool.what}: another attempt at this operation began it and has not told how it ended")
        ready = await self._tool.ready(self._remote)
        if ready.objections:
            raise Refused(f"{self._tool.what}: {ready.objections}")
        if ready.uid != uid:
            raise Refused(f"{self._tool.what}: what it would touch has changed since this was approved: look and propose again")
        number = await marks.leave(token, seen)
        try:
            result = await self._remote.write(self._remote.privileged(*ready.command))
        except (Refused, Transient):
            await marks.end(number, End.NOT_DONE)
            raise
        end = _end_of(result, partial=self._tool.partial)
        if end is None:  # nothing is noted either: without a word of the end nobody can say
            raise OutcomeUnknown(
                f"{self._tool.what}: it was cut off, and how much of it was done cannot be told: {result.complaint(self._tool.tool)}"
            )
        noted = await marks.end(number, end)
        self._complain(result, end)
        said = " ".join(part for part in (f"{self._tool.what}: done.", ready.diff, result.out.strip() or result.err.strip(), noted) if part)
        return Applied(output=clean(said, OUTPUT_LIMIT))

    def _complain(self, result: Completed, end: End) -> None:
        """Raises Refused when nothing happened, Failed when a part of it may have."""
        if end is End.NOT_DONE:
            raise Refused(f"{self._tool.what}: nothing was done: {result.complaint(self._tool.tool)}")
        if end is End.PARTLY:
            raise Failed(f"{self._tool.what}: it ran and did not succeed: {result.complaint(self._tool.tool)}")

    async def find(self, *, operation: str, uid: str) -> bool | None:  # noqa: ARG002 - what it was done to says nothing of whether
        """Whether this operation did it, by its own word: True when it noted that it was done, False when no attempt began or
        every one noted that nothing was done. None when one began and did not tell, or did a part of it. Raises Transient.
        """
        try:
            ends = {mark.end for mark in await Marks(self._remote, operation).read()}
        except Refused:
            return None
        if End.DONE in ends:
            return True
        return None if ends - {End.NOT_DONE} else False


def _end_of(result: Completed, *, partial: bool) -> End | None:
    """How it ended; None for what was cut off and cannot be done in part: then it was done, or it was not."""
    if result.succeeded:
        return End.DONE
    if result.denied or result.missing:
        return End.NOT_DONE
    if partial:
        return End.PARTLY
    return None if result.cut_off else End.NOT_DONE
