"""Every command of `mend` against a running `mend up --sandbox`, as a person or a script would use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.demo.payloads import webhook
from ops.sandbox import Kubectl
from schemas.events import EVENT_TYPES, TOPICS
from sql.database import Database
from tests.integration.mend_process import ANA, BEN, ROOT, SETTINGS, Mend, end, installation, until

pytestmark = pytest.mark.slow
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def alert(name: str, workload: str, severity: str, summary: str) -> str:
    """A webhook payload about a deployment in the namespace `shop`."""
    labels = {"alertname": name, "namespace": "shop", "deployment": workload, "severity": severity}
    return msgspec.json.encode(webhook(labels, summary, starts_at=datetime.now(UTC))).decode()


async def break_workload(server: str, name: str) -> None:
    """A deployment that worked and crashes since its last rollout."""
    kubectl = await Kubectl.at(server=server)
    try:
        await kubectl.namespace("shop")
        target = await kubectl.deploy("shop", name, "web:1.0")
        await kubectl.until(target, lambda workload, _: workload.get("status", {}).get("availableReplicas") == 1)
        await kubectl.set_image(target, "web:crash")
        crashed = lambda _, pods: any("waiting" in state for pod in pods for state in _states(pod))  # noqa: E731
        await kubectl.until(target, crashed)
    finally:
        await kubectl.close()


def _states(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [status.get("state", {}) for status in pod.get("status", {}).get("containerStatuses", [])]


UNTRIMMED = SETTINGS + "[archive]\ntrim_period = 3600.0\n"
"""A busy machine may take longer over these tests than the streams keep what is done with."""


@pytest.fixture(scope="module")
def mend() -> Iterator[Mend]:
    """One `mend up` for all tests here, with an alert that it has a proposal for."""
    with installation(UNTRIMMED) as mend:
        process = mend.up("--sandbox")
        asyncio.run(break_workload(mend.run.sandbox, "web"))
        mend("send-alert", "-", stdin=alert("KubePodCrashLooping", "web", "critical", f"web crashes {ESCAPE}"))
        until(lambda: mend.json("approvals", "ls"), mend.log)
        yield mend
        assert end(process) == 0


@pytest.fixture(scope="module")
def incident(mend: Mend) -> str:
    return str(mend.json("incidents", "ls")[0]["id"])


@pytest.fixture(scope="module")
def approval(mend: Mend) -> str:
    return str(mend.json("approvals", "ls", "--state", "all")[0]["id"])


def test_help_names_every_command(mend: Mend) -> None:
    text = mend.said("--help")
    for name in (
        "up",
        "demo",
        "streams",
        "event",
        "trace",
        "dead",
        "replay",
        "approvals",
        "incidents",
        "playbooks",
        "trust",
        "learn",
        "knowledge",
        "send-alert",
        "doctor",
    ):
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name
    assert "stage " not in text
    assert mend("streams", code=2).stdout.startswith("Usage: mend streams")


def test_help_loads_nothing_heavy() -> None:
    """How long it takes is measured by `make bench`."""
    heavy = {"msgspec", "asyncpg", "redis", "rich", "structlog", "litestar", "kubernetes_asyncio", "asyncssh", "asyncio", "schemas.masking"}
    code = "import sys; from ops.cli.application import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(re.findall(r"'([\w.]+)'", done.stderr)) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("aprovals",), "No such command 'aprovals'. Did you mean 'approvals'? See `mend --help`."),
        (("approvals", "sign"), "Missing argument 'approval'. See `mend approvals sign --help`."),
        (("streams", "ls", "--jsn"), "No such option"),
        (("streams", "tail", "incidents", "-n", "many"), "Invalid value for '--last'"),
    ],
)
def test_a_command_line_that_cannot_be_understood_says_why(mend: Mend, arguments: tuple[str, ...], said: str) -> None:
    assert said in mend.wrong(*arguments, code=2)


def test_incidents_are_listed_and_shown(mend: Mend, incident: str) -> None:
    text = mend.said("incidents", "ls")
    assert text.splitlines()[0].split() == ["ID", "STATE", "SEVERITY", "TARGET", "TITLE", "FIRING", "OPENED", "AT"]
    assert incident in text
    assert "deployment shop/web" in text
    assert mend.json("incidents", "ls", "--state", "closed") == []
    assert mend.said("incidents", "ls", "--state", "closed") == "No incident is closed.\n"
    shown = mend.json("incidents", "show", incident)
    assert shown["incident"]["severity"] == "P0"
    assert any("proposed: roll back deployment shop/web" in line["what"] for line in shown["timeline"])
    assert [one["state"] for one in shown["approvals"]] == ["waiting"]
    assert shown["evidence"][0]["snapshot"]["target"]["name"] == "web"
    text = mend.said("incidents", "show", incident)
    assert "asked for 2 signatures" in text
    assert f"{shown['approvals'][0]['id']}  waiting  critical  roll back deployment shop/web to revision 1" in text
    assert re.search(r"^seen .* sensors\n +.*deployment shop/web", text, re.MULTILINE)
    assert re.search(r"^opened_at +[-\d]+ [:\d]+Z$", text, re.MULTILINE)
    assert "there is no incident nothing" in mend.wrong("incidents", "show", "nothing")
    assert "'open' is none of INVESTIGATING" in mend.wrong("incidents", "ls", "--state", "open")
    assert mend.json("incidents", "ls", "--state", "ALL") == mend.json("incidents", "ls")


def test_streams_say_how_far_each_group_is(mend: Mend) -> None:
    until(lambda: all(row["lag"] == row["pending"] == 0 for row in mend.json("streams", "ls")))
    rows = mend.json("streams", "ls")
    assert {row["topic"] for row in rows} == set(TOPICS)
    assert {row["group"] for row in rows if row["topic"] == "decisions"} >= {"archive", "execute", "learn", "notify"}
    text = mend.said("streams", "ls")
    assert re.search(r"^0 +signals +1 +ingest +0 +0", text, re.MULTILINE)
    assert "events wait for their time, the first until" in text


def test_a_topic_is_tailed_by_type_and_by_incident(mend: Mend, incident: str) -> None:
    assert "IncidentOpened" in mend.said("streams", "tail", "incidents")
    lines = mend.said("streams", "tail", "incidents", "--incident", incident, "--json").splitlines()
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["IncidentOpened"]
    assert mend.said("streams", "tail", "incidents", "--type", "IncidentClosed") == ""
    assert mend.said("streams", "tail", "incidents", "-n", "0") == ""
    assert "'incident' is no topic: expected one of signals, incidents" in mend.wrong("streams", "tail", "incident")
    assert "did you mean IncidentOpened?" in mend.wrong("streams", "tail", "incidents", "--type", "IncidentOpen")


def test_a_tail_follows_what_comes_until_it_is_told_to_stop(mend: Mend) -> None:
    with (mend.folder / "followed").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.cli", "streams", "tail", "signals", "--follow", "-n", "0"],
            cwd=mend.folder,
            env=mend.environment(),
            stdout=out,
            stderr=subprocess.PIPE,
        )
    followed = mend.folder / "followed"
    deadline = time.monotonic() + 30
    while not followed.read_text():
        assert time.monotonic() < deadline
        mend("send-alert", "-", stdin=alert(f"Followed{time.monotonic_ns()}", "other", "info", "x"))
    assert "SignalReceived" in followed.read_text()
    process.terminate()
    assert process.wait(10) == 130
    assert process.stderr is not None
    with process.stderr as said:
        assert said.read() == b""


def test_pending_entries_of_a_group(mend: Mend) -> None:
    assert mend.said("streams", "pending", "votes", "gate") == "gate holds nothing of votes.\n"
    assert mend.json("streams", "pending", "votes", "gate") == []
    assert "'execute' is no group that reads votes: expected one of gate, archive" in mend.wrong("streams", "pending", "votes", "execute")


def test_one_event_is_found_by_its_id(mend: Mend, incident: str) -> None:
    row = msgspec.json.decode(mend.said("streams", "tail", "incidents", "--incident", incident, "--json").splitlines()[0])
    shown = mend.json("event", row["id"])
    assert shown["type"] == "IncidentOpened"
    assert shown["body"]["incident"] == incident
    assert '"type": "IncidentOpened"' in mend.said("event", row["id"])
    assert "is not an event id" in mend.wrong("event", "nothing")
    assert "there is no event" in mend.wrong("event", "01a1f8d5-8518-8792-8406-0b88bc9d6089")


def test_a_trace_is_the_tree_from_the_alert_to_what_waits(mend: Mend, incident: str) -> None:
    nodes = mend.json("trace", incident)
    assert [node["type"] for node in nodes[:4]] == ["SignalReceived", "IncidentOpened", "ActionProposed", "ApprovalRequested"]
    assert [node["depth"] for node in nodes[:4]] == [0, 1, 2, 3]
    assert nodes[0]["seconds"] is None
    assert all(node["seconds"] >= 0 for node in nodes[1:4])
    text = mend.said("trace", incident)
    assert re.search(r"^└─ IncidentOpened +\+\d+(\.\d)? m?s  ingest/", text, re.MULTILINE)
    assert "there is no event of an incident" in mend.wrong("trace", "nothing")


def test_an_approval_shows_what_it_rests_on(mend: Mend, approval: str, incident: str) -> None:
    text = mend.said("approvals", "show", approval)
    wanted = {
        "action": "roll back deployment shop/web to revision 1",
        "target": "deployment shop/web in cluster default",
        "state": "waiting, 0 of 2 signatures, asked ",
        "incident": incident,
        "problem": "P0: web crashes",
        "why": "No pod of revision 2",
        "root cause": "revision 2",
        "source": "template, proposed by mendstream, confidence 0.",
        "risk": "critical",
        "decided by": "rule risk, mode assist, trust 0",
        "because": "risk critical (severity P0)",
        "blast radius": " of 100, tier ",
        "evidence": " sensors\n",
        "checks": "passed: target: ",
        "change": "- spec.template.spec.containers[web].image: web:crash",
        "undone by": "roll back deployment shop/web to revision 2",
        "to undo": f"mend approvals undo {approval}   once it was done; ",
        "action hash": "",
        "target uid": "",
        "to decide": f"mend approvals sign {approval}   or   mend approvals reject {approval}\n",
    }
    for name, part in wanted.items():
        found = re.search(rf"^{name} {{2,}}(.*(?:\n {{4,}}.*)*)", text, re.MULTILINE)
        assert found, name
        assert part in found[1] + "\n", name
    assert "--as NAME, with the token of [people.NAME]" in text.split("to decide")[1]
    assert re.search(r"passed: permission: patch deployments", text)
    assert re.search(r"^ +pod web-\S+ .*CrashLoopBackOff", text, re.MULTILINE), "the evidence names what is broken"
    assert re.search(r"expires [-\d]+ [:\d]+Z, in \d+ min", text)
    shown = mend.json("approvals", "show", approval)
    assert shown["approval"]["needed"] == 2
    assert shown["incident"]["id"] == incident
    assert shown["evidence"]["target"]["name"] == "web"
    assert len(shown["evidence_in_short"]) > 3
    assert "there is no approval nothing" in mend.wrong("approvals", "show", "nothing")


def test_only_who_is_who_he_says_may_sign(mend: Mend, approval: str) -> None:
    sign = ("approvals", "sign", approval)
    assert "is not listed under [people] and may not sign" in mend.wrong(*sign)
    assert "is not listed" in mend.wrong(*sign, USER="ana", LOGNAME="ana")
    assert "no person 'eve' is in the settings" in mend.wrong(*sign, "--as", "eve", MEND_PERSON_TOKEN=ANA)
    assert "that is not the token of ana" in mend.wrong(*sign, "--as", "ana", MEND_PERSON_TOKEN=BEN)
    assert "the token of ana is needed" in mend.wrong(*sign, "--as", "ana")
    assert "there is no approval nothing" in mend.wrong("approvals", "sign", "nothing", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert mend.json("approvals", "ls")[0]["signers"] == []


def test_two_people_sign_and_what_they_signed_is_done(mend: Mend, approval: str, incident: str) -> None:
    sign = ("approvals", "sign", approval, "--as")
    said = mend.said(*sign, "ana", "--comment", f"looks right {ESCAPE}", MEND_PERSON_TOKEN=ANA)
    how = f"another person signs with `mend approvals sign {approval} --as NAME` and the token of that person: ben\n"
    assert said == f"signed as ana: 1 more signature is needed to roll back deployment shop/web to revision 1; {how}"
    again = mend(*sign, "ana", code=1, MEND_PERSON_TOKEN=ANA)
    assert again.stdout.endswith(f"another person must sign; {how}")
    answer = mend.json(*sign, "ben", MEND_PERSON_TOKEN=BEN)
    assert answer["approved"] is True
    until(lambda: mend.json("trust", "ls"), mend.log)
    late = mend("approvals", "reject", approval, "--as", "ana", code=1, MEND_PERSON_TOKEN=ANA)
    assert "it has ended already (succeeded), and nothing is left to stop" in late.stdout
    assert [(row["pattern"].split(":")[0], row["score"]) for row in mend.json("trust", "ls")] == [("rollback", 1)]
    assert "rollback:" in mend.said("trust", "ls")
    types = [node["type"] for node in mend.json("trace", incident)]
    assert types.count("VoteCast") == 4
    assert {"ActionApproved", "ExecutionFinished", "VerificationFinished", "TrustChanged"} <= set(types)
    assert mend.json("trace", incident)[0]["type"] == "SignalReceived"
    assert all(node["depth"] > 0 for node in mend.json("trace", incident)[1:])
    assert re.search(r"ana: sign: looks right .*\([-\d]+ [:\d]+Z from cli/", mend.said("approvals", "show", approval))
    shown = mend.said("incidents", "show", incident)
    assert re.search(r"^seen before .*CrashLoopBackOff.*^seen after ", shown, re.MULTILINE | re.DOTALL)
    assert re.search(r"TrustChanged .*rollback:\S+: 0 → 1", mend.said("trace", incident))


def test_a_person_rates_what_was_done_and_is_told_what_that_moved(mend: Mend, incident: str) -> None:
    rate = ("learn", "feedback", incident, "--rating")
    assert "is not listed under [people]" in mend.wrong(*rate, "5")
    assert "there is no incident nothing" in mend.wrong(
        "learn", "feedback", "nothing", "--rating", "5", "--as", "ana", MEND_PERSON_TOKEN=ANA
    )
    told = mend.json(*rate, "5", "--note", f"quick {ESCAPE}", "--override", "nothing", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert (told["kept"], told["counts"], told["person"]) == (True, True, "ana")
    assert any(re.fullmatch(r"trust of rollback:\S+ 1 → 2", effect) for effect in told["effects"]), told
    assert mend.json("trust", "ls")[0]["score"] == 2
    shown = mend.said("incidents", "show", incident)
    assert re.search(r"^feedback +ana: 5 of 5: quick .*; done instead: nothing$", shown, re.MULTILINE)
    assert re.search(r"^diagnoses +(borne out|not known).*\(template templates\)$", shown, re.MULTILINE)
    assert re.search(r"^declared +held: roll back deployment shop/web", shown, re.MULTILINE)
    assert re.search(r"FeedbackGiven .*ana: 5 of 5, quick", mend.said("trace", incident))
    (learned,) = [row for row in mend.json("playbooks", "ls") if row["name"].startswith("learned-")]
    assert learned["confidence"] == 0.6
    behind = mend.said("playbooks", "show", learned["name"])
    assert re.search(rf"^learned from +{incident} at .*: roll back deployment shop/web", behind, re.MULTILINE)


def test_an_alert_that_is_no_alert_is_refused_with_its_reason(mend: Mend) -> None:
    assert "the API answered 400" in mend.wrong("send-alert", "-", stdin='{"version": "4"}')
    assert "the API answered 401" in mend.wrong("send-alert", "-", stdin="{}", MEND_HTTP_TOKEN="another token altogether")
    assert "the settings at hand have no http.token" in mend.wrong("send-alert", "-", stdin="{}", MEND_HTTP_TOKEN="")
    assert "absent.json cannot be read" in mend.wrong("send-alert", "absent.json")
    assert "does not answer" in mend.wrong("send-alert", "-", "--url", "http://127.0.0.1:1", stdin="{}")
    assert "is no http URL" in mend.wrong("send-alert", "-", "--url", "file:///etc/passwd", stdin="{}")
    (mend.folder / "alert.json").write_text(alert("FromAFile", "web", "info", "y"))
    assert mend.said("send-alert", "alert.json") == "1 signal accepted\n"


def _append_bytes(mend: Mend, body: bytes) -> None:
    """What a producer that got it wrong writes to the stream."""
    from redis import Redis

    with Redis.from_url(mend.run.redis.reveal()) as client:
        client.xadd("mend:{0}:signals", {"e": body})


def test_a_dead_letter_is_looked_at_replayed_and_dropped(mend: Mend) -> None:
    _append_bytes(mend, f'{{"type": "Nonsense{ESCAPE}"'.encode())
    (row,) = until(lambda: mend.json("dead", "ls"), mend.log)
    assert (row["group"], row["topic"], row["reason"]) == ("ingest", "signals", "undecodable")
    assert mend.json("dead", "ls", "--reason", "crashed") == []
    assert "Nonsense" in mend.said("dead", "show", row["id"])
    assert mend.json("dead", "show", row["id"])["original"].startswith('{"type"')
    assert "say which dead letters to replay" in mend.wrong("dead", "replay")
    assert "'tired' is none of undecodable" in mend.wrong("dead", "ls", "--reason", "tired")
    assert "there is no dead letter nothing" in mend.wrong("dead", "show", "nothing")
    until(lambda: all(one["lag"] == 0 and one["pending"] == 0 for one in mend.json("streams", "ls")))
    assert [one["outcome"] for one in mend.json("dead", "replay", row["id"])] == ["done"]
    assert "Nothing to replay" in mend.said("dead", "replay", row["id"])
    assert mend.json("dead", "drop", row["id"]) == []
    assert "there is no dead letter nothing that fits: `mend dead ls` lists them" in mend.wrong("dead", "replay", row["id"], "nothing")
    (second,) = until(lambda: mend.json("dead", "ls"), mend.log)
    assert second["id"] != row["id"]
    until(lambda: all(one["lag"] == 0 and one["pending"] == 0 for one in mend.json("streams", "ls")))
    assert second["id"] in mend.said("dead", "drop", "--all")
    assert mend.said("dead", "ls") == "Nothing has died.\n"
    assert _audited(mend) == [("drop dead letter", "success"), ("replay dead letter", "success")]


def _audited(mend: Mend) -> list[tuple[str, str]]:
    import asyncpg

    async def rows() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(mend.run.postgres.reveal())
        try:
            found = await connection.fetch("SELECT what, state FROM audit_log WHERE what LIKE '%dead letter' ORDER BY what")
        finally:
            await connection.close()
        return [(row["what"], row["state"]) for row in found]

    return asyncio.run(rows())


def test_a_playbook_of_the_catalogue_proposes_once_it_is_approved(mend: Mend) -> None:
    mend("playbooks", "import", "--builtin", "--approve", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    asyncio.run(break_workload(mend.run.sandbox, "pay"))
    mend("send-alert", "-", stdin=alert("KubePodCrashLooping", "pay", "warning", "pay crashes"))
    (row,) = until(lambda: [one for one in mend.json("approvals", "ls") if "shop/pay" in one["action"]], mend.log)
    text = mend.said("approvals", "show", row["id"])
    assert "playbook kube-pod-crash-looping version 1" in text
    assert "alerts: 1 of 1, weight 0.35: alert KubePodCrashLooping" in text


def test_projections_are_compared_and_rebuilt(mend: Mend) -> None:
    assert mend.said("migrate") == "nothing to apply: the database is up to date\n"
    before = mend.json("trust", "ls")
    assert mend.json("projections", "rebuild", "trust")["name"] == "trust"
    assert mend.json("trust", "ls") == before
    said = mend.said("projections", "rebuild", "lessons")
    assert re.fullmatch(
        r"lessons is rebuilt: \d+ rows? from \d+ events?; rows changed: 0; who writes to it waited for \d+\.\d\d s at most\n", said
    )
    assert "'trusts' is no projection: expected one of" in mend.wrong("projections", "rebuild", "trusts")
    assert "trust_ledger=" in mend.said("projections", "ls")
    (trust,) = (one for one in mend.json("projections", "status") if one["name"] == "trust")
    assert (trust["rebuilt_at"] is None, trust["verified_at"]) == (False, None)
    assert "rows are what the event log says" in mend.said("projections", "verify", "trust", "recurrence")
    asyncio.run(_spoil(mend, "INSERT INTO repairs VALUES ('spoiled', 'restart', 9, 9, 0)"))
    said = mend("projections", "verify", "repairs", code=1).stdout
    assert "1 row differs" in said
    assert "anomaly=spoiled" in said
    assert "no such row" in said
    mend("projections", "rebuild", "repairs")
    assert mend.json("projections", "verify", "repairs")[0]["differing"] == 0


async def _spoil(mend: Mend, query: str) -> None:
    database = await Database(mend.run.postgres.reveal(), size=1).open()
    await database.fetch(query)
    audited = await database.fetch("SELECT about, state FROM audit_log WHERE what = 'projection rebuilt' ORDER BY at")
    await database.close()
    assert [tuple(row) for row in audited] == [("projection trust", "success"), ("projection lessons", "success")]


def test_every_event_has_a_schema(mend: Mend) -> None:
    assert mend.said("schemas", "export", "out") == f"{len(EVENT_TYPES)} schemas written to out\n"
    index = msgspec.json.decode((mend.folder / "out" / "index.json").read_bytes())
    assert {row["type"] for row in index} == set(EVENT_TYPES)
    for row in index:
        schema = msgspec.json.decode((mend.folder / "out" / row["schema"]).read_bytes())
        assert schema["title"] == row["type"]
        assert schema["$ref"].removeprefix("#/$defs/") in schema["$defs"]
    assert "cannot be written" in mend.wrong("schemas", "export", "mend.toml/x")


def test_the_settings_in_force(mend: Mend) -> None:
    text = mend.said("config", "show", MEND_GATE_EXPIRY="60")
    assert re.search(r"^gate\.expiry +60 +environment +MEND_GATE_EXPIRY$", text, re.MULTILINE)
    assert re.search(r"^http\.token +\*\*\* +file +MEND_HTTP_TOKEN$", text, re.MULTILINE)
    assert mend.json("config", "show")["settings"]["people"]["ana"]["token"] == "***"
    assert mend.said("version").startswith("mend ")


def test_the_doctor_finds_nothing_wrong(mend: Mend) -> None:
    findings = mend.json("doctor")
    looked_at = {"settings", "mend up", "api", "redis", "groups", "postgres", "migrations", "clusters"}
    assert {finding["about"] for finding in findings} >= looked_at
    assert [finding for finding in findings if finding["level"] == "wrong"] == []
    (api,) = (finding["said"] for finding in findings if finding["about"] == "api")
    assert api == f"{mend.run.api.removeprefix('http://')}, guarded by a token", "a port of 0 is nobody's address"
    assert "nothing wrong" in mend.said("doctor")


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(mend: Mend) -> None:
    (mend.folder / "mend.toml").chmod(0o644)
    try:
        findings = mend.json("doctor", code=1, MEND_HTTP_HOST="0.0.0.0", MEND_HTTP_TOKEN="", MEND_VOTES_KEY="short")
    finally:
        (mend.folder / "mend.toml").chmod(0o600)
    said = {(finding["about"], finding["level"]): finding["mend"] for finding in findings}
    assert "http.token" in said["api", "wrong"]
    assert "votes.key" in said["votes key", "wrong"]
    assert "chmod 600" in said["settings", "warning"]


def on_a_terminal(mend: Mend, columns: int, *arguments: str) -> str:
    """What a command prints on a terminal of this width."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ops.cli", *arguments],
        cwd=mend.folder,
        env=mend.environment(COLUMNS=str(columns), TERM="xterm"),
        stdin=follower,
        stdout=follower,
    )
    os.close(follower)
    said = b""
    with contextlib.suppress(OSError):  # a terminal that nobody writes to any more
        while part := os.read(leader, 65536):
            said += part
    os.close(leader)
    assert process.wait(60) == 0
    return said.decode()


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_on_a_terminal_a_listing_is_a_table_and_still_safe(mend: Mend, incident: str, columns: int) -> None:
    text = on_a_terminal(mend, columns, "incidents", "ls")
    assert any(incident in line and "P0" in line for line in text.splitlines())
    assert ("─" in text) == (columns > 80)
    assert "\x1b]0;" not in text
    assert "\x07" not in text


@pytest.mark.parametrize(("listing", "option"), [("approvals", "--state"), ("incidents", "--state"), ("playbooks", "--status")])
def test_a_state_that_is_none_is_told_all_that_may_be_asked_for(mend: Mend, listing: str, option: str) -> None:
    assert re.search(r"'foo' is none of \w+, .*, all$", mend.wrong(listing, "ls", option, "foo"))


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize(
    ("words", "copied"),
    [
        ("approvals ls --state all", ("id", "incident")),
        ("dead ls", ("id", "type")),
        ("playbooks ls", ("name", "status")),
    ],
)
def test_on_a_terminal_what_people_copy_stands_whole_in_a_line(mend: Mend, columns: int, words: str, copied: tuple[str, ...]) -> None:
    if words == "dead ls":
        _append_bytes(mend, b"no event")
    if words == "playbooks ls":
        mend("playbooks", "import", "--builtin", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    rows = until(lambda: mend.json(*words.split()), mend.log)
    lines = on_a_terminal(mend, columns, *words.split()).splitlines()
    for row in rows:
        assert any(all(row[name] in line for name in copied) for line in lines), row


@pytest.mark.parametrize("words", ["streams tail signals -n 100", "config show", "--help"])
def test_a_pipe_that_closes_early_is_no_error(mend: Mend, words: str) -> None:
    command = f"{sys.executable} -m ops.cli {words} | true"
    done = subprocess.run(command, shell=True, cwd=mend.folder, env=mend.environment(), capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_where_an_error_comes_from_is_shown_only_when_it_is_asked_for(mend: Mend, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "ops.cli", "incidents", "show", "nothing"]
    done = subprocess.run(arguments, cwd=mend.folder, env=mend.environment(MEND_TRACEBACK="1"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mend: there is no incident nothing")
