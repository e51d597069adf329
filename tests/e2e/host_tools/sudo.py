"""Stands in for sudo -n on the test's host: what @STATE@/sudoers lists, a command a line, is allowed without a password."""

import os
import sys
from pathlib import Path

arguments = sys.argv[1:]
if arguments.pop(0) != "-n":
    sys.exit("the test's host has no terminal: sudo must be called with -n")
ask = arguments[0] == "-l"
command = arguments[1:] if ask else arguments
rules = (Path("@STATE@") / "sudoers").read_text().splitlines()
if not any(" ".join(command).startswith(rule) for rule in rules if rule):
    print("sudo: a password is required", file=sys.stderr)
    sys.exit(1)
if ask:
    print(" ".join(command))
else:
    (Path("@STATE@") / "sudone").touch()
    os.execvp(command[0], command)
