"""Stands in for sudo -n on the test's host: @STATE@/sudoers lists what is allowed, a command a line, `*` for any arguments.

A line that begins with `PASSWD: ` allows its command with a password only. As with sudo itself, the last line that matches
decides, and -l says yes also where a password is wanted, as long as any line wants none. It cannot resolve the name of its host:
before anything else it says so, and goes on.
"""

import os
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path

WANTED = "PASSWD: "


def full(command: str) -> str:
    name, _, arguments = command.partition(" ")
    return f"{shutil.which(name) or name} {arguments}".strip()


def entry(rule: str) -> str:
    options = "" if rule.startswith(WANTED) else "    Options: !authenticate\n"
    return f"\nSudoers entry:\n    RunAsUsers: root\n{options}    Commands:\n\t{full(rule.removeprefix(WANTED))}"


print("sudo: unable to resolve host web-1: Temporary failure in name resolution", file=sys.stderr, flush=True)
arguments = sys.argv[1:]
if arguments.pop(0) != "-n":
    sys.exit("the test's host has no terminal: sudo must be called with -n")
asked = arguments.pop(0) if arguments[0] in ("-l", "-ll") else ""
command = " ".join(arguments)
rules = [rule for rule in (Path("@STATE@") / "sudoers").read_text().splitlines() if rule]
matching = [rule for rule in rules if fnmatchcase(command, rule.removeprefix(WANTED))]
some_free = any(not rule.startswith(WANTED) for rule in rules)
allowed = some_free if asked == "-ll" else bool(matching) and (some_free if asked else not matching[-1].startswith(WANTED))
if not allowed:
    print("sudo: a password is required", file=sys.stderr)
    sys.exit(1)
if asked == "-ll":
    print("User test may run the following commands on host:\n" + "\n".join(entry(rule) for rule in rules))
elif asked:
    print(full(command))
else:
    (Path("@STATE@") / "sudone").touch()
    os.execvp(arguments[0], arguments)
