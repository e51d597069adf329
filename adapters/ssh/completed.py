"""What a command on a host said."""

from __future__ import annotations

import re

import msgspec

from adapters.errors import Refused
from schemas.text import clean

_HOMELESS = "Could not chdir to home directory "
_SUDO_SAYS = "sudo: "
_SUDO_ENDS = (
    r"a password is required",
    r"interactive authentication is required",
    r"a terminal is required to .+",
    r"(?:sorry, )?you must have a tty to run sudo",
    r"sorry, you are not allowed to .+",
    r"\S+: command not found",
    r"unable to execute \S+: .+",
    r"(?:\S+: )?account validation failure, .+",
    r"(?:Account|Account or password|Password) (?:is )?expired.*",
    r"PAM (?:account management|authentication) error: .+",
    r"no valid sudoers sources found, quitting",
    r"(?:unable to initialize|error initializing) (?:policy|audit) plugin.*",
    r'The "no new privileges" flag is set, .+',
    r"\S+ must be owned by uid 0 and have the setuid bit set",
    r"you do not exist in the \S+ database",
)
_SUDO_REFUSAL = re.compile(
    rf"{_SUDO_SAYS}(?:{'|'.join(_SUDO_ENDS)})"
    r"|Sorry, user \S+ (?:is not allowed to execute|may not run sudo) .+|\S+ is not (?:in the sudoers file|allowed to run sudo).*"
)
_SUDO_REPORTS = "This incident has been reported to the administrator."
_SUDO_MISSES = re.compile(r"sudo: \S+: command not found")
_FIRST_SIGNAL, _LAST_SIGNAL = 128 + 1, 128 + 64


class ToolMissing(Refused):
    """The host does not have the tool, or the account does not find it."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A command's end. `exit` is None when a signal ended it, or when it was ended for saying too much (`truncated`).

    `out` and `err` are as they came: hostile until cleaned.
    """

    exit: int | None
    out: str = ""
    err: str = ""
    signal: str = ""
    truncated: bool = False

    @property
    def succeeded(self) -> bool:
        return self.exit == 0

    @property
    def missing(self) -> bool:
        """Whether the tool itself is not there: by the exit of `env`, or by what sudo says."""
        return self.exit == 127 or (self.denied and any(_SUDO_MISSES.fullmatch(line) for line in self.err.splitlines()))

    @property
    def denied(self) -> bool:
        """Whether sudo did not run it, so that nothing happened: nobody but sudo said a word, and its last one is a refusal of its own.

        What else it says, such as that it cannot resolve the host's name, it says aside, and runs the tool.
        """
        said = [line for line in self.err.splitlines() if line.strip() and line != _SUDO_REPORTS]
        alone = all(line.startswith(_SUDO_SAYS) or _SUDO_REFUSAL.fullmatch(line) for line in said)
        return self.exit == 1 and not self.out.strip() and alone and bool(said) and _SUDO_REFUSAL.fullmatch(said[-1]) is not None

    @property
    def cut_off(self) -> bool:
        """Whether it did not end by itself: by a signal, of which a shell in between says 128 and its number."""
        return self.exit is None or _FIRST_SIGNAL <= self.exit <= _LAST_SIGNAL

    @property
    def killed(self) -> bool:
        """Whether `timeout` ended it, of which it says 124, or it was killed, by `timeout` or for want of memory."""
        return self.exit in (124, 128 + 9) or self.signal == "KILL"

    def refusal(self, what: str, tool: str) -> Refused:
        """The error for a command that had to succeed: `what` could not be done, and why."""
        kind = ToolMissing if self.missing else Refused
        return kind(f"{what}: {self.complaint(tool)}")

    def complaint(self, tool: str) -> str:
        """One line for people: why `tool` did not do it."""
        if self.missing:
            return f"{tool} is not installed on the host, or not on the account's PATH"
        if self.truncated and self.exit is None:
            return f"{tool} said more than may be read"
        ending = f"was ended by signal {self.signal}" if self.signal else f"exited with {self.exit}"
        words = " ".join(clean(self.err or self.out, 600).split())
        return f"{tool} {ending}: {words}" if words else f"{tool} {ending}"


def of_the_command(err: str) -> str:
    """What a command said on its standard error, without what sshd says there first where the account's home does not exist.

    That would read as if the command itself missed a file.
    """
    first, _, rest = err.partition("\n")
    return rest if first.startswith(_HOMELESS) else err
