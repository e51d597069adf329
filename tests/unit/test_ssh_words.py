"""What goes to a host and what comes back from it, without a host: names, command lines, and the tools' output."""

from __future__ import annotations

import shlex
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Refused
from adapters.ssh.arguments import checked_name, checked_path, command_line
from adapters.ssh.checks import blast_radius, existence
from adapters.ssh.completed import Completed, ToolMissing, of_the_command
from adapters.ssh.compose import joined
from adapters.ssh.subject import (
    NOT_STARTED,
    UNIT_PROPERTIES,
    Container,
    State,
    Unit,
    container_state,
    no_container,
    unit_blocks,
    unit_state,
)
from schemas.evidence import UnitView
from schemas.target import Kind, Target
from schemas.words import CheckResult, Tier

ALLOWED = string.ascii_letters + string.digits + "@_.:-"
HOST = Target(cluster="hosts", kind=Kind.HOST, name="web-1")


@given(st.text(ALLOWED, min_size=1, max_size=128).filter(lambda name: not name.startswith("-")))
def test_a_plain_name_passes_as_it_is_and_needs_no_quotes(name: str) -> None:
    assert checked_name("systemd unit", name) == name
    assert shlex.quote(name) == name


@given(st.text(max_size=200))
def test_any_other_name_is_refused(name: str) -> None:
    plain = 1 <= len(name) <= 128 and set(name) <= set(ALLOWED) and not name.startswith("-")
    if plain:
        assert checked_name("container", name) == name
    else:
        with pytest.raises(Refused):
            checked_name("container", name)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40), min_size=1, max_size=5))
def test_a_shell_splits_a_command_line_into_exactly_its_arguments(arguments: list[str]) -> None:
    assert shlex.split(command_line(arguments)) == ["env", "LC_ALL=C", *arguments]


def test_a_real_shell_runs_no_part_of_an_argument() -> None:
    hostile = ["$(echo owned)", "`echo owned`", "; echo owned", "a b", "'", '"', "\\", "*", "{{json .State}}", "~"]
    line = command_line([sys.executable, "-c", "import sys; print('\\n'.join(sys.argv[1:]))", *hostile])
    said = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == hostile


def test_a_unit_is_named_in_full_as_systemctl_would() -> None:
    assert Unit("nginx").restart == Unit("nginx.service").restart == ("systemctl", "restart", "nginx.service")
    assert Unit("nginx.conf").name == "nginx.conf.service"
    assert Unit("backup.timer").name == "backup.timer"
    with pytest.raises(Refused, match=r"reboot\.target is never restarted"):
        Unit("reboot.target")
    assert Container("web").restart == ("docker", "restart", "web")


def unit(**changed: str) -> State:
    block = {"Id": "web.service", "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "InvocationID": "a" * 32}
    return unit_state(block | changed)


def test_units_are_read_block_by_block() -> None:
    text = "Id=a.service\nActiveState=active\nDescription=x=y\n\nId=b.service\nActiveState=failed\n"
    assert unit_blocks(text) == [
        {"Id": "a.service", "ActiveState": "active", "Description": "x=y"},
        {"Id": "b.service", "ActiveState": "failed"},
    ]
    assert unit_blocks("") == []


def test_a_unit_is_busy_while_it_changes_or_has_a_job() -> None:
    assert not unit().busy
    assert not unit(Job="0").busy
    assert unit(Job="1234").busy
    assert unit(ActiveState="deactivating").busy


def test_a_unit_that_never_started_has_a_uid_of_its_own() -> None:
    assert unit().uid == "a" * 32
    assert unit(InvocationID="").uid == NOT_STARTED


def test_how_the_last_run_of_a_service_ended_is_read() -> None:
    ended = {"ActiveState": "failed", "Type": "oneshot", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "3"}
    view = unit(**ended, TriggeredBy="web.path web.timer", RemainAfterExit="yes").view
    assert (view.type, view.result, view.status, view.timed, view.stays) == ("oneshot", "exit-code", 3, True, True)
    never = unit(Type="oneshot", Result="success", ExecMainCode="0", ExecMainStatus="0", TriggeredBy="web.socket").view
    assert (never.result, never.status, never.timed, never.stays, never.ends) == ("success", None, False, False, True)
    assert unit().view.status is None, "a systemd that does not tell"
    mount = unit(Id="data.mount", Type="ext4", Result="success").view
    assert (mount.type, mount.ends) == ("", False), "the type of a mount is that of its file system"


def test_a_container_that_was_restarted_has_another_uid() -> None:
    text = '{"id":"c1","name":"/web","status":"%s","started":"%s","restarts":3,"health":"unhealthy"}'
    before, after = container_state(text % ("running", "2024-01-01T00:00:00Z")), container_state(text % ("running", "2024-01-02T00:00:00Z"))
    assert before.uid != after.uid
    assert before.view == UnitView(name="web", active="running", sub="unhealthy", since="2024-01-01T00:00:00Z", restarts=3)
    assert container_state(text % ("created", "0001-01-01T00:00:00Z")).uid == NOT_STARTED
    with pytest.raises(Refused, match="in a form that is not known"):
        container_state("[]")


def test_the_blast_radius_grows_with_what_restarts_along() -> None:
    alone = blast_radius(unit())
    assert (alone.score, alone.tier, alone.services) == (10, Tier.AUTO, ())
    joined = blast_radius(unit(RequiredBy="a.service b.service multi-user.target", ConsistsOf="c.service a.service"))
    assert (joined.score, joined.tier, joined.services) == (40, Tier.HUMAN, ("a.service", "b.service", "c.service"))
    assert blast_radius(unit(RequiredBy=" ".join(f"{number}.service" for number in range(50)))).score == 60


STOOD_ON = ["ssh.service", "ssh.socket", "dbus.service", "systemd-logind.service", "systemd-networkd.service", "NetworkManager.service"]
STOOD_ON += ["network.service", "nftables.service", "getty@tty1.service", "docker.service", "containerd.service", "docker.socket"]


@pytest.mark.parametrize("name", STOOD_ON)
def test_what_the_host_stands_on_needs_two_people(name: str) -> None:
    assert blast_radius(unit(Id=name)).tier is Tier.DUAL


@pytest.mark.parametrize("setting", ["SuccessAction", "FailureAction", "StartLimitAction"])
def test_what_systemd_ends_the_host_for_needs_two_people(setting: str) -> None:
    assert setting in UNIT_PROPERTIES.split(",")
    assert blast_radius(unit(**{setting: "none"})).tier is Tier.AUTO
    assert blast_radius(unit(**{setting: "reboot-force"})).tier is Tier.DUAL


def test_another_name_of_what_is_never_restarted_is_not_restarted() -> None:
    alias = unit(Id="systemd-reboot.service")
    found = existence(Unit("maintenance.service"), alias, ())
    assert found.result is CheckResult.FAILED
    assert "is another name of systemd-reboot.service, which is never restarted" in found.detail


@pytest.mark.parametrize("path", ["/srv/shop", "/var/lib/docker/containers/a1/a1-json.log", "/data/app@2:x"])
def test_a_plain_path_passes_as_it_is(path: str) -> None:
    assert checked_path("a folder", path) == path


@pytest.mark.parametrize(
    "path", ["", "/", "srv/shop", "/srv/../etc", "/srv/..", "/./srv", "/srv//shop", "/srv/shop/", "/a b", "/a;b", "/$HOME", "/~", "/a\n"]
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="may be sent to a host"):
        checked_path("a folder", path)


def test_a_compose_service_is_as_bad_as_its_worst_container_and_starts_with_each() -> None:
    text = '{"id":"%s","name":"/shop-web-1","status":"%s","started":"%s","restarts":0,"health":"","project":"shop","service":"web"}'
    up, down = container_state(text % ("a", "running", "2024")), container_state(text % ("b", "exited", "2024"))
    again = container_state(text % ("b", "running", "2025"))
    assert up.view.service == "shop/web"
    assert joined("web", [up]).uid == up.uid
    assert joined("web", [up, down]).view.active == joined("web", [down, up]).view.active == "exited"
    assert joined("web", [up, down]).uid == joined("web", [down, up]).uid != joined("web", [up, again]).uid


def test_a_tool_that_sudo_does_not_find_is_missing_and_what_sudo_forbids_did_not_run() -> None:
    missing = Completed(exit=1, err="sudo: docker: command not found\n")
    assert missing.complaint("docker") == "docker is not installed on the host, or not on the account's PATH"
    assert isinstance(missing.refusal("it failed", "docker"), ToolMissing)
    forbidden = Completed(exit=1, err="sudo: a password is required\n")
    assert (forbidden.denied, forbidden.missing) == (True, False)
    assert not Completed(exit=1, err="certbot: renewal failed").denied


@pytest.mark.parametrize(
    ("err", "missing"),
    [
        ("Error: No such container: web", True),
        ("Error response from daemon: No such container: web", True),
        ("Error: No such object: web", True),
        ("failed to connect to the docker API at unix:///run/docker.sock: connect: no such file or directory", False),
        ("Error response from daemon: open /var/lib/docker/containers/a: no such file or directory", False),
    ],
)
def test_a_container_is_missing_where_docker_says_so_of_the_container(err: str, missing: bool) -> None:
    assert no_container(Completed(exit=1, err=err)) is missing
    assert not no_container(Completed(exit=0, err=err))


ASIDE = "sudo: unable to resolve host web-1: Name or service not known\n"


@pytest.mark.parametrize(
    ("err", "out", "denied"),
    [
        ("sudo: a password is required", "", True),
        (f"{ASIDE}sudo: a password is required\n", "", True),
        ("sudo: sorry, you must have a tty to run sudo\n", "", True),
        ("Sorry, user mend is not allowed to execute '/usr/bin/certbot renew' as root on web-1.\n", "", True),
        ("Sorry, user mend may not run sudo on web-1.\n", "", True),
        ("mend is not in the sudoers file.  This incident will be reported.\n", "", True),
        ("mend is not in the sudoers file.\nThis incident has been reported to the administrator.\n", "", True),
        (
            "sudo: unable to send audit message: Operation not permitted\nsudo: account validation failure, is your account locked?",
            "",
            True,
        ),
        ("sudo: unable to execute /usr/bin/certbot: Exec format error\n", "", True),
        (ASIDE, "", False),
        ("sudo: unable to open /var/log/sudo.log: No space left on device\n", "", False),
        ("sudo: setrlimit(RLIMIT_CORE): Operation not permitted\n", "", False),
        ("sudo: /etc/sudoers.d/mend is world writable\n", "", False),
        (f"sudo: a password is required\n{ASIDE}", "", False),
        (f"{ASIDE}Failed to renew certificate a.example\n", "", False),
        (f"{ASIDE}/bin/sh: 1: hook: command not found\n", "", False),
        ("sudo: a password is required\nHook 'deploy' reported error code 1\n", "", False),
        ("sudo: a password is required\n", "Deleted: a\n", False),
        ("", "", False),
    ],
)
def test_only_where_nobody_but_sudo_spoke_nothing_ran(err: str, out: str, denied: bool) -> None:
    said = Completed(exit=1, err=err, out=out)
    assert (said.denied, said.missing) == (denied, False)
    assert not Completed(exit=2, err=err, out=out).denied


def test_a_tool_is_missing_by_sudos_own_word_only() -> None:
    assert Completed(exit=1, err=f"{ASIDE}sudo: docker: command not found\n").missing
    assert not Completed(exit=1, err="sudo: docker: command not found\nno deploy\n").missing


def test_what_sshd_says_of_a_home_is_not_taken_for_the_commands_own_word() -> None:
    homeless = "Could not chdir to home directory /nonexistent: No such file or directory\n"
    assert of_the_command(f"{homeless}find: 'marks': Permission denied\n") == "find: 'marks': Permission denied\n"
    assert of_the_command(homeless) == ""
    assert of_the_command("find: 'marks': No such file or directory\n") == "find: 'marks': No such file or directory\n"


def test_a_complaint_is_one_clean_line() -> None:
    said = Completed(exit=1, err="\x1b[31mno\nway token=abcdef\n")
    assert said.complaint("systemctl") == "systemctl exited with 1: [31mno way token=***"
    assert Completed(exit=127).complaint("docker") == "docker is not installed on the host, or not on the account's PATH"
    assert Completed(exit=None, signal="KILL").complaint("df") == "df was ended by signal KILL"
    assert Completed(exit=None, truncated=True).complaint("ps") == "ps said more than may be read"


def test_asyncssh_is_imported_only_where_a_connection_is_opened() -> None:
    program = "import sys, adapters.worlds, adapters.ssh; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
