"""Which rule of sudo decides about a command, from lists as sudo 1.9.13 printed them for such a sudoers file."""

from __future__ import annotations

import pytest

from adapters.ssh.sudo import without_password

LISTING = """\
User mend may run the following commands on localhost:

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/id
\t/usr/bin/systemctl reload nginx.service

Sudoers entry:
    RunAsUsers: root
    Commands:
\t/usr/bin/env
\t/usr/bin/systemctl restart nginx.service

Sudoers entry:
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/bin/docker ps *
"""
BY_DEFAULT = """\
Matching Defaults entries for mend on localhost:
    !authenticate, env_reset

User mend may run the following commands on localhost:

Sudoers entry:
    RunAsUsers: ALL
    RunAsGroups: ALL
    Commands:
\tALL

Sudoers entry:
    RunAsUsers: www, root
    Options: authenticate
    Commands:
\t/usr/bin/systemctl restart nginx.service
\t!/usr/bin/env

Sudoers entry:
    RunAsUsers: root
    Options: setenv, !authenticate
    Commands:
\t/usr/bin/docker compose --project-directory /srv/a\\:b *
\t/usr/bin/id ""

Sudoers entry:
    RunAsUsers: root
    Commands:
\tsha224:0GomF8mNN3wlDt1HD9XldjJ3SNgpFdbjO1+NsQ== /bin/sh
"""


def entry(*commands: str, users: str = "root", options: str = "") -> str:
    said = f"    Options: {options}\n" if options else ""
    return f"Sudoers entry:\n    RunAsUsers: {users}\n{said}    Commands:\n" + "".join(f"\t{command}\n" for command in commands)


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("/usr/bin/systemctl reload nginx.service", True),
        ("/usr/bin/systemctl restart nginx.service", False),
        ("/usr/bin/docker ps --all", True),
        ("/usr/bin/id -u", True),
        ("/usr/bin/systemctl restart other.service", None),
    ],
)
def test_the_rule_for_the_very_command_decides(command: str, answer: bool | None) -> None:
    assert without_password(command, LISTING) is answer


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("/usr/bin/systemctl restart nginx.service", None),  # a digest may stand for any path, and that rule wants none
        ("/usr/bin/docker compose --project-directory /srv/a:b ps", True),
        ("/usr/bin/env", True),
    ],
)
def test_defaults_hold_where_a_rule_says_nothing(command: str, answer: bool | None) -> None:
    assert without_password(command, BY_DEFAULT) is answer


def test_the_last_rule_decides() -> None:
    everything, one = entry("ALL"), entry("/usr/bin/x a", options="!authenticate")
    assert without_password("/usr/bin/x a", everything + one) is True
    assert without_password("/usr/bin/x a", one + everything) is False
    assert without_password("/usr/bin/x b", everything + one) is False


@pytest.mark.parametrize("maybe", ["/usr/bin/x [a]", "/usr/bin/x \\a*", "/usr/bin/*", "/bin/x", "^/usr/bin/x .*$", "/usr/bin/x ^a$"])
def test_what_may_match_is_believed_only_where_it_makes_no_difference(maybe: str) -> None:
    wants, free = entry("/usr/bin/x a"), entry(maybe, options="!authenticate")
    assert without_password("/usr/bin/x a", wants + free) is None
    assert without_password("/usr/bin/x a", free + wants) is False
    assert without_password("/usr/bin/x a", free) is True


@pytest.mark.parametrize("rule", ["/usr/bin/x *", "/usr/bin/x ?", "/usr/bin/x", "/usr/bin/", "ALL"])
def test_a_plain_wildcard_of_arguments_decides_as_it_does_for_sudo(rule: str) -> None:
    assert without_password("/usr/bin/x a", entry("/usr/bin/x a") + entry(rule, options="!authenticate")) is True
    assert without_password("/usr/bin/x a", entry("/usr/bin/x a", options="!authenticate") + entry(rule)) is False


@pytest.mark.parametrize("other", ["/usr/bin/y", "/usr/bin/x b", '/usr/bin/x ""', "/usr/bin/x b*"])
def test_what_is_about_another_command_says_nothing(other: str) -> None:
    assert without_password("/usr/bin/x a", entry(other, options="!authenticate")) is None
    assert without_password("/usr/bin/x a", entry("/usr/bin/x") + entry(other, options="!authenticate")) is False


def test_only_rules_for_root_count() -> None:
    wants = entry("/usr/bin/x")
    assert without_password("/usr/bin/x", wants + entry("/usr/bin/x", users="www", options="!authenticate")) is False
    assert without_password("/usr/bin/x", wants + entry("/usr/bin/x", users="%admins", options="!authenticate")) is None
    assert without_password("/usr/bin/x", wants + entry("/usr/bin/x", users="ALL", options="!authenticate")) is True


@pytest.mark.parametrize("listing", ["", "/usr/bin/x", "Sudoers entry:\n", "\t/usr/bin/x\n", "sudo: a password is required"])
def test_a_list_that_says_nothing_is_no_answer(listing: str) -> None:
    assert without_password("/usr/bin/x", listing) is None
