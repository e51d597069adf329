"""The Lua scripts, one file each, loaded with the package: whatever must happen together in Redis happens in one of them."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script's text and the SHA-1 that Redis knows it by."""

    name: str
    text: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """The script in `name`.lua."""
    text = (files("bus") / f"{name}.lua").read_bytes()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode())
