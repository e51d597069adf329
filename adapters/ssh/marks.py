"""Marks of operations on a host: what was begun there, by whom, and how it ended, so that nothing is done twice unseen.

A mark is a symbolic link that points nowhere: `OPERATION.N` is the N-th attempt at an operation and its text the attempt's
fencing token; `OPERATION.N.ended` says how that attempt ended. Making a link is atomic and fails when it is there, so of
two attempts that begin in the same moment one makes its mark, and the other one stops. Marks older than a week are
removed when a new one is made: by then the ledger has long closed their operations.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from adapters.errors import AdapterError, OutcomeUnknown, Refused, Transient
from adapters.ssh.completed import Completed
from adapters.ssh.remote import Remote

KEPT_DAYS = 7
_OPERATION = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_FOLDER = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_ANY_MARK = r".*/[0-9A-Za-z-]{1,64}\.[0-9]{1,6}(\.ended)?"


class End(StrEnum):
    """How an attempt ended; without a word of it, nobody can say."""

    DONE = "done"
    PARTLY = "partly"
    NOT_DONE = "not-done"


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: its number, its fencing token, its age in seconds by the host's clock, and its end where that is known."""

    number: int
    token: int
    age: float
    end: End | None = None


class Marks:
    """The marks of one operation on one host."""

    def __init__(self, remote: Remote, operation: str) -> None:
        if _OPERATION.fullmatch(operation) is None:
            raise Refused("the operation's id cannot be part of a mark on a host: only letters, digits and dashes, 1 to 64 of them")
        folder = remote.options.marks
        if _FOLDER.fullmatch(folder) is None or folder.startswith("-") or ".." in folder:
            raise Refused(f"`marks` of host {remote.name} is not a folder of plain letters: choose one such as .mendstream")
        self._remote = remote
        self._operation = operation
        self._folder = folder

    async def read(self) -> tuple[Mark, ...]:
        """The marks that are there, in the order of the attempts. Raises Refused or Transient when that cannot be told."""
        listing, clock = await asyncio.gather(
            self._remote.read("find", self._folder, "-maxdepth", "1", "-name", f"{self._operation}.*", "-printf", "%f %l %T@\\n"),
            self._remote.read("date", "+%s.%N"),
        )
        if not listing.succeeded:
            if listing.exit == 1 and "no such file" in listing.err.lower():
                return ()
            raise listing.refusal(f"the marks of operations on host {self._remote.name} cannot be read", "find")
        try:
            return self._understood([line.split() for line in listing.out.splitlines()], float(clock.out))
        except ValueError as error:
            raise Refused(f"the marks of operations on host {self._remote.name} cannot be understood") from error

    def _understood(self, lines: Sequence[Sequence[str]], now: float) -> tuple[Mark, ...]:
        texts = {name.removeprefix(f"{self._operation}."): (text, float(at)) for name, text, at in lines}
        return tuple(
            Mark(
                number=number,
                token=int(texts[str(number)][0]),
                age=now - texts[str(number)][1],
                end=End(texts[f"{number}.ended"][0]) if f"{number}.ended" in texts else None,
            )
            for number in sorted(int(name) for name in texts if not name.endswith(".ended"))
        )

    async def leave(self, token: int, before: Sequence[Mark]) -> int:
        """Makes the mark of a new attempt, the one after those that were read `before`, and gives its number.

        Raises OutcomeUnknown when another attempt has made it, Refused when the host does not allow it, Transient when it
        did not answer.
        """
        number = max((mark.number for mark in before), default=0) + 1
        made = await self._remote.read("mkdir", "-p", "-m", "700", self._folder)
        if not made.succeeded:
            raise self._refused(made.complaint("mkdir"))
        await self._prune()
        try:
            made = await self._link(str(token), f"{number}")
        except OutcomeUnknown as error:
            raise Transient(f"the operation's mark may not have been made, nothing else was done: {error}") from error
        if made.succeeded:
            return number
        if made.exit == 1 and "exists" in made.err.lower():
            raise OutcomeUnknown(
                f"another process began this operation on host {self._remote.name} in this moment: look there before anything else"
            )
        raise self._refused(made.complaint("ln"))

    async def end(self, number: int, end: End) -> str:
        """Says how an attempt ended. What went wrong with that is returned as a sentence, for the attempt itself has ended."""
        try:
            made = await self._link(end.value, f"{number}.ended")
        except AdapterError as error:
            return f"its end could not be noted on the host: {error}"
        return "" if made.succeeded else f"its end could not be noted on the host: {made.complaint('ln')}"

    async def _link(self, text: str, name: str) -> Completed:
        return await self._remote.write(("ln", "-s", "-T", text, f"{self._folder}/{self._operation}.{name}"))

    async def _prune(self) -> None:
        """Removes old marks; where it fails they stay until the next time, and harm nothing."""
        await self._remote.read(
            "find",
            self._folder,
            *("-maxdepth", "1", "-type", "l", "-regextype", "posix-extended", "-regex", _ANY_MARK),
            *("-mtime", f"+{KEPT_DAYS}", "-delete"),
        )

    def _refused(self, complaint: str) -> Refused:
        return Refused(
            f"host {self._remote.name} does not let the operation leave its mark in {self._folder}, so nothing was done ({complaint}):"
            f" let {self._remote.options.user} write there, or set `marks` to a folder where it may"
        )


def fence(marks: Sequence[Mark], token: int, host: str) -> None:
    """Raises Refused when an attempt with a newer fencing token has been there."""
    newest = max((mark.token for mark in marks), default=token)
    if newest > token:
        raise Refused(f"a newer attempt at this operation (token {newest}) has been on host {host}: this one, {token}, must stop")
