"""Command lines from argument vectors: SSH carries one string, so every name is checked and every argument quoted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from adapters.errors import Refused
from schemas.text import clean

_NAME = re.compile(r"[A-Za-z0-9@_.:][A-Za-z0-9@_.:-]{0,127}")
_PATH = re.compile(r"(?:/[A-Za-z0-9@_.:-]{1,128}){1,32}")


def is_name(name: str) -> bool:
    """Whether `name` may be sent to a host."""
    return _NAME.fullmatch(name) is not None


def checked_name(what: str, name: str) -> str:
    """`name` as it is, when it is made of `[A-Za-z0-9@_.:-]`, 1 to 128 of them, and does not begin with a dash.

    Raises Refused otherwise; `what` says what it should have named.
    """
    if not is_name(name):
        raise Refused(
            f"{clean(name, 64)!r} is not a name of a {what} that may be sent to a host: only letters, digits and @ _ . : - are,"
            " 1 to 128 of them, not beginning with a dash"
        )
    return name


def checked_path(what: str, path: str) -> str:
    """`path` as it is, when it is absolute, of plain names, and goes nowhere but down. Raises Refused otherwise; `what` says what it is."""
    if _PATH.fullmatch(path) is None or {".", ".."} & set(path.split("/")):
        raise Refused(
            f"{clean(path, 200)!r} is not a path of {what} that may be sent to a host: it must be absolute, without `..`,"
            " of letters, digits and @ _ . : - only"
        )
    return path


def command_line(arguments: Sequence[str]) -> str:
    """The one string that SSH's exec carries, for a POSIX shell to split into exactly `arguments`, run in the C locale."""
    return shlex.join(("env", "LC_ALL=C", *arguments))
