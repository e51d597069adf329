"""Who sits at the terminal: the user of the operating system, or somebody else who has proved it with a token."""

from __future__ import annotations

import hmac
import os
import pwd
import sys
from collections.abc import Sequence

from ops.errors import NotAllowed
from ops.settings import Settings


def user_of_system() -> str:
    """The name of the user who runs this process, by uid; the environment is not asked."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def authenticate(settings: Settings, name: str | None) -> str:
    """The person for whom a vote may be cast: the user of this machine, or `name` with that person's token.

    With people in the settings, only these may sign. Raises NotAllowed.
    """
    if name is not None and name != user_of_system():
        return _by_token(settings, name)
    person = user_of_system()
    if settings.people and person not in settings.people:
        raise NotAllowed(f"{person} is not listed under [people] and may not sign; use --as NAME with the token of a person who is")
    return person


def how_another_signs(settings: Settings, approval: str, *, signed: Sequence[str]) -> str:
    """What to do for one more signature, by somebody who has not `signed`: a command, or what the settings lack for it."""
    command = f"`mend approvals sign {approval} --as NAME`"
    others = sorted(set(settings.people) - set(signed))
    if others:
        return f"another person signs with {command} and the token of that person: {', '.join(others)}"
    first = "another person" if settings.people else f"everybody who may sign, {user_of_system()} too,"
    return f"list {first} as [people.NAME] with a token in mend.toml; then that person signs with {command}"


def _by_token(settings: Settings, name: str) -> str:
    known = settings.people.get(name)
    if known is None:
        too = "" if settings.people else f"; list {user_of_system()} too, for then only those listed may sign"
        raise NotAllowed(f"no person {name!r} is in the settings: list them as [people.{name}] with a token{too}")
    if not known.token:
        raise NotAllowed(f"[people.{name}] has no token, so only the user {name} of this machine can sign as that person")
    given = os.environ.get("MEND_PERSON_TOKEN") or _asked(name)
    if not hmac.compare_digest(given.encode(), known.token.reveal().encode()):
        raise NotAllowed(f"that is not the token of {name}")
    return name


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        raise NotAllowed(f"the token of {name} is needed: set MEND_PERSON_TOKEN, or run this in a terminal to be asked")
    import getpass

    return getpass.getpass(f"Token of {name}: ")
