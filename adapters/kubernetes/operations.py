"""Doing an action once, and finding out whether it was done."""

from __future__ import annotations

import asyncio

import msgspec

from adapters.errors import AdapterError, OutcomeUnknown, Refused, TargetMissing, Transient
from adapters.kubernetes.changes import change_of, check_kind, subject_path
from adapters.kubernetes.client import Client, parse
from adapters.kubernetes.errors import Conflict, NotFound, ServerFault
from adapters.kubernetes.marks import carries, token_of
from adapters.kubernetes.objects import Anything, Metadata, Workload
from adapters.kubernetes.resources import JOBS, path_of
from adapters.kubernetes.traces import Trace, trace
from adapters.kubernetes.trees import Tree
from adapters.ports import Applied
from schemas.action import Action, DeletePod, EvictPod, Investigate, RerunJob, describe, rerun_name
from schemas.target import Kind

_TRIES = 8
_FIRST_PAUSE = 0.02  # seconds after the first conflict, twice as long after each further one: 2.5 s in all


async def apply(client: Client, action: Action, *, operation: str, token: int, uid: str) -> Applied:
    """Does it, once. The object is read, judged, rehearsed and changed; what changed in between makes it begin again.

    Controllers write to objects all the time, in bursts while a rollout moves, so a conflict is no reason to give up: eight
    tries, each with all checks.
    """
    check_kind(action)
    for number in range(_TRIES):
        if number:
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (number - 1))
        live = await _live(client, action)
        done = _judge(action, live, uid) or await _marked(client, action, live, operation, token)
        if done is not None:
            return done
        change = await change_of(client, action, live, operation=operation, token=token)
        try:
            await change.rehearse(client)
        except Conflict as conflict:
            if isinstance(action, RerunJob):
                return await _rerun_there(client, action, operation, conflict)
            continue
        try:
            await change.send(client)
        except Conflict:
            continue
        except ServerFault as fault:
            return await _after_fault(client, action, fault, operation=operation, uid=uid, token=token)
        except NotFound as gone:
            raise _vanished(action, gone) from gone
        return Applied(output=f"{describe(action)}: done")
    raise Transient(f"temporary: {action.target} was changed by others at the same time, {_TRIES} times in a row; nothing was done")


async def _live(client: Client, action: Action) -> Tree:
    data = await client.request("GET", subject_path(action))
    return parse(data, dict)


def _judge(action: Action, live: Tree, uid: str) -> Applied | None:
    """Whether it is done already; None when it is to be done, as far as the object says. Raises Refused when it must not be."""
    metadata = msgspec.convert(live["metadata"], Metadata)
    if not uid or metadata.uid != uid:
        raise Refused(f"blocked: {action.target} was replaced since it was approved (UID {metadata.uid}, approved was {uid or 'none'})")
    if isinstance(action, DeletePod | EvictPod):
        if action.uid != uid:
            raise Refused(f"blocked: the action names UID {action.uid}, the approval UID {uid}")
        gone = metadata.deletion_timestamp is not None
        return Applied(output=f"{action.target} is being deleted already", repeated=True) if gone else None
    if metadata.deletion_timestamp is not None:
        raise Refused(f"blocked: {action.target} is being deleted")
    return None


async def _marked(client: Client, action: Action, live: Tree, operation: str, token: int) -> Applied | None:
    """Whether the object's marks say that it is done already. Raises Refused when a later operation came first."""
    if isinstance(action, DeletePod | EvictPod | RerunJob):
        return None
    annotations = msgspec.convert(live["metadata"], Metadata).annotations or {}
    found = Trace(carries(annotations, operation), token_of(annotations))
    if not found.done and action.target.kind is Kind.DEPLOYMENT and subject_path(action) == path_of(action.target):
        found = await trace(client, msgspec.convert(live, Workload), operation)
    if found.done:
        return Applied(output=f"{describe(action)}: was done already", repeated=True)
    if found.token > token:
        raise Refused(f"blocked: fenced: {action.target} carries token {found.token}, this operation has {token}: another one came later")
    return None


async def _rerun_there(client: Client, action: RerunJob, operation: str, conflict: Conflict) -> Applied:
    """A Job of that name exists: ours, or by an accident somebody else's."""
    ours = await find(client, action, operation=operation, uid="", token=0)
    if ours:
        return Applied(output=f"{describe(action)}: was done already", repeated=True)
    if ours is None:
        raise OutcomeUnknown(f"a Job of that name was there and is gone: whether it was this operation's cannot be told ({conflict})")
    raise Refused(f"exists: {conflict}") from conflict


async def _after_fault(client: Client, action: Action, fault: ServerFault, *, operation: str, uid: str, token: int) -> Applied:
    """The server said 5xx to a write, which does not say that it was not done: the mark does.

    A write that still lands later, after the mark was not seen, changes the object's version: the next try sees it.
    """
    try:
        there = await find(client, action, operation=operation, uid=uid, token=token)
    except AdapterError as error:
        raise OutcomeUnknown(f"{fault}; and it could not be looked for: {error}") from fault
    if there:
        return Applied(output=f"{describe(action)}: done, though the API server answered with an error")
    if there is None:
        raise OutcomeUnknown(f"{fault}; whether it was done cannot be told") from fault
    raise fault


def _vanished(action: Action, gone: NotFound) -> AdapterError:
    """It was there a moment ago. A pod may be gone because of our own request, whose first answer was lost below HTTP."""
    if isinstance(action, DeletePod | EvictPod):
        return OutcomeUnknown(f"{action.target} is gone, and whether by this request cannot be told")
    return TargetMissing(f"{action.target} was deleted at the same time: {gone}")


async def find(client: Client, action: Action, *, operation: str, uid: str, token: int) -> bool | None:
    """Whether the operation's side effect is there; `token` is the fencing token of its first attempt, 0 where that is not known.

    Changed objects carry its mark, a Deployment's past too: see `traces`. They keep nine marks: where there are nine, and another
    operation came after the first attempt, its own may be forgotten. True says that it happened, also when somebody has
    undone it since. Deletes and evictions leave no mark: a pod with the UID that is there and stays says no; one that is gone
    or going may have been deleted by anyone, so that says None. So does a Job that is not there: it may have been made, and
    have been removed since, by the time to live of its template or by somebody. An observation leaves nothing to find: False.
    """
    if isinstance(action, Investigate):
        return False
    job = isinstance(action, RerunJob)
    target = action.target
    path = JOBS.path(target.namespace, rerun_name(target.name, operation)) if job else subject_path(action)
    deployment = target.kind is Kind.DEPLOYMENT and path == path_of(target)
    try:
        found: Anything | Workload = await client.read(path, Workload if deployment else Anything)
    except NotFound:
        return None
    metadata = found.metadata
    if job:
        return carries(metadata.annotations or {}, operation)
    if metadata.uid != uid:
        return None
    if isinstance(action, DeletePod | EvictPod):
        return None if metadata.deletion_timestamp is not None else False
    if isinstance(found, Workload):
        return (await trace(client, found, operation, token)).done
    return carries(metadata.annotations or {}, operation, token)
