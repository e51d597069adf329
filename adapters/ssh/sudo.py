"""Whether sudo runs a command without asking for a password, read from its own list of rules.

`sudo -n -l COMMAND` says only that the account may run it: it says so as well where the rule wants a password, as long as
some other rule of the account wants none. So the rule that decides is looked for in `sudo -n -ll`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import msgspec

_OPTIONS, _RUN_AS, _COMMANDS, _DEFAULTS = "Options:", "RunAsUsers:", "Commands:", "Matching Defaults entries"
_PLAIN_NAMES = re.compile(r"[A-Za-z_][\w.-]*(?:, [A-Za-z_][\w.-]*)*")
_WILD = re.compile(r"[*?\[]")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One command of one entry in sudoers: `free` when it wants no password, `sure` when it is certainly for root."""

    command: str
    free: bool
    sure: bool = True


def without_password(command: str, listing: str) -> bool | None:
    """Whether the rule that decides about `command`, with its path and as root, wants no password. None when that cannot be told.

    `listing` is what `sudo -ll` prints for an account that sudo allows the command. Of the rules that match, the last one
    decides; what may match (a wildcard in a path, another path to the same file) speaks along with the last one that surely does.
    """
    deciding: set[bool] = set()
    for rule in rules_of(listing):
        match = _matches(command, rule.command)
        if match is False:
            continue
        if match and rule.sure:
            deciding.clear()
        deciding.add(rule.free)
    return deciding.pop() if len(deciding) == 1 else None


def rules_of(listing: str) -> Iterator[Rule]:
    """The rules in the order in which sudo reads them; those for other users than root left out, and those that forbid."""
    free_by_default = free = False
    for_root: bool | None = True
    part = ""
    for line in listing.splitlines():
        words = line.strip()
        if not line[:1].isspace():
            part = _DEFAULTS if line.startswith(_DEFAULTS) else ""
            free, for_root = free_by_default, True
        elif part == _DEFAULTS:
            free_by_default = _free(words, free_by_default)
        elif words.startswith(_RUN_AS):
            for_root = _includes_root(words.removeprefix(_RUN_AS).strip())
        elif words.startswith(_OPTIONS):
            free = _free(words.removeprefix(_OPTIONS).strip(), free_by_default)
        elif words == _COMMANDS:
            part = _COMMANDS
        elif part == _COMMANDS and line.startswith("\t") and for_root is not False and not words.startswith("!"):
            yield Rule(command=words, free=free, sure=bool(for_root))


def _free(options: str, usual: bool) -> bool:
    found = [option for option in options.split(", ") if option in ("authenticate", "!authenticate")]
    return found[-1] == "!authenticate" if found else usual


def _includes_root(users: str) -> bool | None:
    """Whether a rule may be used to become root; None for groups, ids and aliases that are not looked into."""
    if {"root", "ALL"} & set(users.split(", ")):
        return True
    return False if _PLAIN_NAMES.fullmatch(users) else None


def _matches(command: str, rule: str) -> bool | None:
    """Whether a rule is about this command; None where it may be."""
    if rule == "ALL":
        return True
    if not rule.startswith("/"):
        return None  # a digest before the path, a regular expression, an alias of LDAP
    path, _, arguments = command.partition(" ")
    rule_path, _, rule_arguments = rule.partition(" ")
    return _both(_path_matches(path, _unescaped(rule_path)), _arguments_match(arguments, rule_arguments))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _path_matches(path: str, rule: str) -> bool | None:
    if path == rule:
        return True
    folder, _, name = path.rpartition("/")
    if rule.endswith("/"):
        return True if rule == f"{folder}/" else None
    if _WILD.search(rule):
        return None
    return None if rule.rpartition("/")[2] == name else False  # sudo follows links: /bin/x may be /usr/bin/x


def _arguments_match(arguments: str, rule: str) -> bool | None:
    if not rule or arguments == _unescaped(rule):
        return True
    if rule == '""':
        return not arguments
    if rule.startswith("^"):
        return None
    if not _WILD.search(rule):
        return False
    plain = not set(rule) & set("[\\")  # `*` and `?` mean the same here and there
    return (True if plain else None) if fnmatchcase(arguments, _unescaped(rule)) else False


def _both(*answers: bool | None) -> bool | None:
    return False if False in answers else None if None in answers else True
