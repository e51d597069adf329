"""The gate as a stage: which event is decided where, each once, in one transaction with its rows and outputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from bus.handler import Context
from schemas.event import Event, Output
from schemas.events import ActionProposed, ApprovalDue, ExecutionFinished, IncidentResolved, ProposalOutdated, VoteCast
from sql.database import Connection, Database
from sql.outbox import once
from stages.gate.ending import due_to_sign, finish, take_back, withdraw
from stages.gate.options import GateOptions
from stages.gate.people import People
from stages.gate.policy_file import default_policy
from stages.gate.proposals import decide_proposal
from stages.gate.rules import Policy
from stages.gate.signing import count_vote
from stages.gate.votes import VoteKeys
from stages.reads import READS


class Gate:
    """Decides proposals and counts votes. While the store is away nothing is decided: StoreUnavailable passes through."""

    name: ClassVar[str] = "gate"
    topics: ClassVar[tuple[str, ...]] = READS["gate"]

    def __init__(
        self,
        database: Database,
        options: GateOptions,
        keys: VoteKeys,
        *,
        policy: Policy | None = None,
        people: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`people` are those who may sign, with their roles; none: whoever proves to be somebody."""
        self.database = database
        self.options = options
        self.keys = keys
        self.policy = policy or default_policy()
        self.people = People(people)

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if isinstance(event, ExecutionFinished):  # the ledger bears out what it says, not that its id is its own: nothing is kept
            async with self.database.transaction() as connection:
                await finish(event, context, connection)
            return []
        decide = self._decision(event, context)
        if decide is None:
            return []
        return await once(self.database, self.name, event, decide)

    def _decision(self, event: Event, context: Context) -> Callable[[Connection], Awaitable[Sequence[Output]]] | None:
        """What to do about an event inside its transaction, or None for one that the gate does not care for."""
        match event:
            case ActionProposed():
                return lambda connection: decide_proposal(
                    event, context, connection, options=self.options, keys=self.keys, policy=self.policy
                )
            case VoteCast():
                return lambda connection: count_vote(event, context, connection, options=self.options, keys=self.keys, people=self.people)
            case ApprovalDue():
                return lambda connection: due_to_sign(event, context, connection, self.options, self.people)
            case ProposalOutdated():
                return lambda connection: take_back(event, context, connection)
            case IncidentResolved():
                return lambda connection: withdraw(event, context, connection)
            case _:
                return None
