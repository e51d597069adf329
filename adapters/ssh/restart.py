"""A restart of a unit, a container or a compose service, so that it happens once.

Two things together make that so. `uid` names the start that was approved (a unit's InvocationID, a container's id and
start time): a later start has another one, and is refused. A mark of the operation is left on the host before the restart:
of two attempts one makes it, `find` tells this operation's restart from someone else's, and an attempt whose token is
older than a mark is refused. Between the last look and the restart lie some milliseconds in which another restart, not
one of ours, is not noticed: systemd and Docker have no restart with a precondition.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.errors import AdapterError, OutcomeUnknown, Refused, TargetMissing, Transient
from adapters.ports import Applied, Preflight
from adapters.ssh import checks
from adapters.ssh.completed import Completed
from adapters.ssh.marks import End, Mark, Marks, fence
from adapters.ssh.remote import Remote
from adapters.ssh.subject import NOT_STARTED, State, Subject
from schemas.action import Action
from schemas.text import clean

OUTPUT_LIMIT = 2000


class Restart:
    """The restart of one subject on one host."""

    def __init__(self, subject: Subject, remote: Remote) -> None:
        self._subject = subject
        self._remote = remote
        self._name = f"{subject.what} {subject.name} on {remote.name}"

    async def preflight(self, action: Action) -> Preflight:
        """Existence, permission, blast radius. Raises Refused and Transient when the host cannot be asked."""
        subject, remote = self._subject, self._remote
        state = await subject.look(remote)
        names = await subject.names(remote) if state is None else ()
        permission = await checks.permission(subject.restart, remote)
        return Preflight(
            target=action.target,
            uid=state.uid if state is not None else "",
            checks=(
                *checks.asked(remote, subject.restart, subject.tool),
                checks.existence(subject, state, names),
                permission,
            ),
            blast=checks.blast_radius(state) if state is not None else checks.unmeasured_blast(),
        )

    async def apply(self, *, operation: str, token: int, uid: str) -> Applied:
        """As `World.apply`. A restart that happened and did not bring it up is applied: its output says so, and verification judges it."""
        before = await self._look()
        marks = Marks(self._remote, operation)
        seen = await marks.read()
        fence(seen, token, self._remote.name)
        if before.uid != uid:
            return self._done_before(before, seen)
        if self._under_way(seen):
            raise OutcomeUnknown(f"another attempt at this operation has begun the restart of {self._name} and has not told how it ended")
        if before.busy:
            raise Transient(f"{self._subject.what} {self._subject.name} is being started or stopped by somebody else right now")
        number = await marks.leave(token, seen)
        try:
            applied = await self._run(uid)
        except (Refused, TargetMissing, Transient):
            await marks.end(number, End.NOT_DONE)
            raise
        noted = await marks.end(number, End.DONE)
        return Applied(output=clean(f"{applied}. {noted}" if noted else applied, OUTPUT_LIMIT))

    async def find(self, *, operation: str, uid: str) -> bool | None:
        """Whether this operation's restart happened.

        False without a mark of an attempt that may have done it, or when every such mark is older than a restart may take
        and the start that was approved still runs. True when there is a mark and a later start: that start is this
        operation's, unless something else restarted it after the mark (systemd itself after a crash, a person), which
        leaves the same state. None while a mark is fresh or a job is under way, or when the host does not let itself be
        asked. Of a unit that runs to its end systemd may know no start, since it forgets one that nothing refers to: then only
        a mark of a restart that ended tells, else None. Raises Transient when the host did not answer.
        """
        try:
            seen = [mark for mark in await Marks(self._remote, operation).read() if mark.end is not End.NOT_DONE]
            if not seen:
                return False
            state = await self._subject.look(self._remote)
        except Refused:
            return None
        if state is None:
            return None
        if state.uid != uid:
            return True
        if state.uid == NOT_STARTED and state.view.ends:
            return True if any(mark.end is End.DONE for mark in seen) else None
        return None if state.busy or self._under_way(seen) else False

    def _under_way(self, seen: Sequence[Mark]) -> bool:
        """Whether an attempt may still be restarting it: begun not long ago, and no word of its end."""
        return any(mark.end is None and mark.age <= self._remote.options.restart_timeout for mark in seen)

    async def _look(self) -> State:
        """How it is now. Raises TargetMissing with the nearest names, Refused, Transient."""
        state = await self._subject.look(self._remote)
        if state is not None:
            return state
        near = checks.nearest(self._subject.name, await self._subject.names(self._remote))
        advice = f"; nearest: {', '.join(near)}" if near else ""
        raise TargetMissing(f"host {self._remote.name} has no {self._subject.what} {self._subject.name}{advice}", near)

    def _done_before(self, state: State, seen: Sequence[Mark]) -> Applied:
        """The answer when another start runs than the one that was approved. Raises Refused when it is not this operation's."""
        name = self._subject.name
        if any(mark.end is not End.NOT_DONE for mark in seen):
            return Applied(output=f"{name} was restarted by this operation before; it is {state.view.active}", repeated=True)
        raise Refused(
            f"{self._subject.what} {name} was restarted since this was approved, by itself or by somebody else: look and propose again"
        )

    async def _run(self, uid: str) -> str:
        """The restart, if the start that was approved still runs, in a sentence."""
        before = await self._look()
        if before.uid != uid:
            raise Refused(f"{self._name} was restarted in this moment by somebody else: look and propose again")
        return await self._judged(before, await self._remote.write(self._remote.privileged(*self._subject.restart)))

    async def _judged(self, before: State, result: Completed) -> str:
        """What a restart's exit and the state after it mean together."""
        try:
            after = await self._subject.look(self._remote)
        except AdapterError as error:
            after, unseen = None, f"its state afterwards is not known: {error}"
        else:
            unseen = "it is gone afterwards"
        name = self._name
        if result.succeeded:
            return f"restarted {name}; " + (f"it is {after.view.active} {after.view.sub}".rstrip() if after else unseen)
        complaint = result.complaint(self._subject.tool)
        if after is None:
            raise OutcomeUnknown(f"the restart of {name} failed ({complaint}), and {unseen}")
        if after.uid != before.uid:
            return f"restarted {name}, but it did not come up: it is {after.view.active}. {complaint}"
        if after.changed == before.changed and not after.busy and not result.cut_off:
            raise Refused(f"{name} was not restarted: {complaint}")
        raise OutcomeUnknown(f"the restart of {name} failed half way ({complaint}); it is {after.view.active}")
