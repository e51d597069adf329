"""The language model as a source of suggestions: ask, read, have it argued against. Where any of it fails, the next source speaks."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from datetime import datetime

import msgspec

from adapters.model.client import ModelClient
from schemas.action import is_observation
from schemas.words import Debate
from sql.database import Database
from stages.propose.case import Case, Suggestion
from stages.propose.model.answer import Unusable, objection_in, suggestion_in
from stages.propose.model.consult import Consultant, Consultation
from stages.propose.model.facts import facts_of, told, what_matters
from stages.propose.model.prompt import objection_asked, suggestion_asked
from stages.propose.model.reach import spellings
from stages.propose.options import ProposeOptions

_log = logging.getLogger(__name__)


def _mark() -> str:
    return secrets.token_hex(16)


class ModelSource:
    """Suggests what a language model names, within `reach`. It is not asked where nothing but looking is left."""

    def __init__(
        self,
        database: Database,
        client: ModelClient,
        options: ProposeOptions | None = None,
        *,
        clock: Callable[[], datetime],
        mark: Callable[[], str] = _mark,
    ) -> None:
        self._client = client
        self._options = options or ProposeOptions()
        self._consultant = Consultant(database, client, clock=clock)
        self._mark = mark

    async def suggest(self, case: Case) -> Suggestion | None:
        """The model's suggestion, or None where it has none that can be used; then the log and the metrics say why."""
        named = spellings(case, self._options)
        if not named:
            return None
        until = asyncio.get_running_loop().time() + self._client.options.time_budget
        facts = facts_of(case, self._client.options.prompt_limit)
        try:
            question = suggestion_asked(told(facts), named, self._mark())
            suggestion, cached = await self._consultant.consult(
                Consultation(purpose="suggestion", incident=case.incident, question=question, matters=what_matters(facts), until=until),
                lambda text: suggestion_in(text, case, self._options, self._client.meter.provider),
            )
        except Unusable as error:
            _log.warning("the language model suggests nothing for %s, and the next source is asked: %s", case.target, error)
            return None
        suggestion = msgspec.structs.replace(suggestion, cached=cached)
        if not self._client.options.critic or is_observation(suggestion.action):
            return suggestion
        debate, objection = await self._debate(case, suggestion, facts, until)
        return msgspec.structs.replace(suggestion, debate=debate, objection=objection)

    async def _debate(self, case: Case, suggestion: Suggestion, facts: dict[str, object], until: float) -> tuple[Debate, str]:
        """How the critic answers, and what speaks against it; a critic that could not be heard has not agreed."""
        try:
            question = objection_asked(told(facts), suggestion, self._mark())
            objection, _ = await self._consultant.consult(
                Consultation(purpose="objection", incident=case.incident, question=question, matters=what_matters(facts), until=until),
                objection_in,
            )
        except Unusable as error:
            _log.warning("the critic of the language model was not heard about %s, so a person signs: %s", case.target, error)
            return Debate.UNHEARD, f"the critic could not be heard: {error}"
        return (Debate.OBJECTED if objection else Debate.AGREED), objection
