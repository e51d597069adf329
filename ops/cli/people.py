"""Who sits at the terminal: the user of the operating system, or somebody else who has proved it with a token."""

from __future__ import annotations

import hmac
import os
import pwd
import sys

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


def _by_token(settings: Settings, name: str) -> str:
    known = settings.people.get(name)
    if known is None:
        raise NotAllowed(f"no person {name!r} is in the settings: list them as [people.{name}] with a token")
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
