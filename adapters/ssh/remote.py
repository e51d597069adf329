"""One host as the rest of this package sees it: commands that only look may be sent twice, commands that change something never."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.errors import OutcomeUnknown, Transient
from adapters.ssh.arguments import command_line
from adapters.ssh.completed import Completed
from adapters.ssh.connections import Connections
from adapters.ssh.options import HostOptions

_SUDO = ("sudo", "-n")
_TO_END = 2.0  # seconds beyond its own for a command that the host ends: one until it is killed, one for the way


class Remote:
    """Runs commands on one host. `arguments` are fixed words of this package and names that `checked_name` let through."""

    def __init__(self, name: str, options: HostOptions, connections: Connections) -> None:
        self.name = name
        self.options = options
        self._connections = connections

    async def connect(self) -> None:
        """Makes sure that there is a connection. Raises Refused, Transient."""
        async with self._connections.lend(self.name):
            pass

    async def read(self, *arguments: str) -> Completed:
        """Runs a command that changes nothing; where a kept connection turned out dead, once more on a new one.

        The host itself ends it after `command_timeout`, and kills it a second later. What sudo runs as root the account cannot end.

        Raises Refused when no connection is allowed, Transient when there was no answer in time.
        """
        seconds = self.options.command_timeout
        unended = arguments[len(_SUDO)] if arguments[: len(_SUDO)] == _SUDO else ""
        command = command_line(arguments if unended else ("timeout", "-k", "1", f"{seconds:g}", *arguments))
        for _ in range(2):
            async with self._connections.lend(self.name) as (link, reused):
                try:
                    result = await link.run(
                        command,
                        seconds=seconds if unended else seconds + _TO_END,
                        limit=self.options.output_limit,
                        stop=True,
                        unended=unended,
                    )
                except (OutcomeUnknown, Transient) as error:
                    if link.alive or not reused:
                        raise Transient(f"{arguments[0]}: {error}") from error
                    continue
            if result.killed:
                raise Transient(f"{arguments[0]}: host {self.name} did not answer within {seconds:g} s")
            return result
        raise Transient(f"host {self.name} ended two connections in a row")

    async def write(self, arguments: Sequence[str]) -> Completed:
        """Runs a command that changes something, once. What it says beyond the limit is dropped, its end is waited for.

        Raises Refused or Transient when it was not sent, OutcomeUnknown when it was and its end was not seen.
        """
        async with self._connections.lend(self.name) as (link, _):
            return await link.run(
                command_line(arguments), seconds=self.options.restart_timeout, limit=self.options.output_limit, stop=False
            )

    def privileged(self, *arguments: str) -> tuple[str, ...]:
        """`arguments` as they must be run to have the rights that the settings speak of."""
        return (*_SUDO, *arguments) if self.options.sudo else arguments
