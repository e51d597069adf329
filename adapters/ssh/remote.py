"""One host as the rest of this package sees it: commands that only look may be sent twice, commands that change something never."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.errors import OutcomeUnknown, Transient
from adapters.ssh.arguments import command_line
from adapters.ssh.completed import Completed
from adapters.ssh.connections import Connections
from adapters.ssh.options import HostOptions


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

        Raises Refused when no connection is allowed, Transient when there was no answer in time.
        """
        for _ in range(2):
            async with self._connections.lend(self.name) as (link, reused):
                try:
                    return await link.run(
                        command_line(arguments), seconds=self.options.command_timeout, limit=self.options.output_limit, stop=True
                    )
                except (OutcomeUnknown, Transient) as error:
                    if link.alive or not reused:
                        raise Transient(f"{arguments[0]}: {error}") from error
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
        return ("sudo", "-n", *arguments) if self.options.sudo else arguments
