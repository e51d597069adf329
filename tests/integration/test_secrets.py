"""No secret of the settings ever comes out: not of repr, logs, errors, tracebacks, dead letters, metrics or any command.

The secrets are found by reflection over the settings, so that one that is added is covered here by itself.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from ops.demo.payloads import webhook
from ops.embedded import EmbeddedRedis
from ops.errors import SettingsWrong
from ops.settings import Settings, load, secrets_in
from ops.settings.shape import ANY_NAME, Leaf, leaves, secret_in
from schemas.secret import Secret, SecretUrl
from sql.database import Database
from tests.integration.mend_process import ROOT, Mend, end, installation, until
from tests.integration.test_cli import alert, break_workload
from tests.ports import free_port

pytestmark = pytest.mark.slow
MARK = "s3nt1nel"
SECRETS = [leaf for leaf in leaves(Settings) if secret_in(leaf.field.type)]


def sentinel_of(leaf: Leaf) -> str:
    """A secret that is found wherever it comes out, in the form that the setting wants."""
    text = f"{MARK}-of-{'-'.join(leaf.path)}"
    kind = secret_in(leaf.field.type)
    return f"http://127.0.0.1:9/{text}" if kind is SecretUrl else text


def settings_text(folder: Path, urls: dict[tuple[str, ...], str]) -> str:
    """A `mend.toml` with a sentinel in every secret; `urls` are those of stores that must work."""
    lines = [f'data.folder = "{folder}/data"', "http.port = 0", "api.port = 0", 'log.level = "debug"']
    lines += ['prometheus.ann.cluster_label = "cluster"', 'model.name = "small-1"']
    lines.append("archive.trim_period = 3600.0")  # what was in a stream stays there to be looked at
    lines += ['notify.slack.channel = "C1"', 'notify.slack.url = "http://127.0.0.1:9"']  # nobody is there, which is told in errors
    lines += ['notify.telegram.chat = "1"', 'notify.telegram.url = "http://127.0.0.1:9"']
    for leaf in SECRETS:
        path = ".".join("ann" if part == ANY_NAME else part for part in leaf.path)
        if leaf.path[-1] == "password":
            lines.append(f'{path.removesuffix("password")}username = "ann"')
        lines.append(f'{path} = "{urls.get(leaf.path, sentinel_of(leaf))}"')
    return "\n".join(lines).replace("{", "{{").replace("}", "}}")


def test_there_are_secrets_to_look_for() -> None:
    assert {("http", "token"), ("votes", "key"), ("redis", "url"), ("people", ANY_NAME, "token")} <= {leaf.path for leaf in SECRETS}


def test_settings_that_are_printed_show_none(tmp_path: Path) -> None:
    file = tmp_path / "mend.toml"
    file.write_text(settings_text(tmp_path, {}))
    loaded = load(file, {})
    assert len([secret for secret in secrets_in(loaded.settings) if secret]) == len(SECRETS)
    for text in (repr(loaded), str(loaded.settings), f"{loaded.settings}"):
        assert MARK not in text
    with pytest.raises(TypeError):
        msgspec.json.encode(loaded.settings)


@pytest.mark.parametrize("wrong", ["[log]\nlevel = 3", "nonsense = 1", "[log\n"])
def test_a_mistake_in_the_same_file_shows_none(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "mend.toml"
    file.write_text(settings_text(tmp_path, {}) + "\n" + wrong)
    with pytest.raises(SettingsWrong) as caught:
        load(file, {})
    assert MARK not in str(caught.value)


def test_a_secret_of_the_wrong_type_is_not_repeated(tmp_path: Path) -> None:
    for leaf in SECRETS:
        path = ".".join("ann" if part == ANY_NAME else part for part in leaf.path)
        file = tmp_path / "mend.toml"
        file.write_text(f'{path} = ["{MARK}"]')
        with pytest.raises(SettingsWrong) as caught:
            load(file, {})
        assert MARK not in str(caught.value)
        assert path in str(caught.value)


LOGGING = f"""
import logging, sys, threading, warnings
import structlog
from ops.logging import configure_logging, hide_secrets
from ops.settings.model import LogFormat, LogLevel, LogSettings
from schemas.secret import Secret, SecretUrl

secret = "{MARK} with 'quotes' and \\\\ and \\n a line"
hide_secrets([Secret(secret), SecretUrl("redis://u:{MARK}%40x@h/0")])
configure_logging(LogSettings(level=LogLevel.DEBUG, format=LogFormat(sys.argv[1])))
log = structlog.get_logger("test")
log.info(secret, value=secret, nested={{"deep": [secret, (secret,)], secret: 1}}, object=Secret(secret), error=ValueError(secret))
log.info("escape \\x1b[31m and \\x07 bell", text="\\x1b]0;title\\x07")
logging.getLogger("library").warning("said %s", secret, extra={{"more": secret}})
warnings.warn(secret)
def fails():
    local = secret
    raise ValueError(f"cannot connect to redis://u:{MARK}%40x@h/0 or with {{secret}}")
try:
    fails()
except ValueError:
    log.exception("caught", at=secret)
    logging.getLogger("library").exception("caught too")
thread = threading.Thread(target=fails)
thread.start()
thread.join()
fails()
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_logs_and_tracebacks_show_none_and_no_control_character(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING, form], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert MARK not in done.stderr
    assert not {"\x1b", "\x07"} & set(done.stderr)
    assert done.stderr.count("Traceback") == 4, done.stderr
    assert "***" in done.stderr
    if form == "json":
        lines = [msgspec.json.decode(line) for line in done.stderr.splitlines()]
        assert all({"event", "level", "timestamp"} <= set(line) for line in lines)


ODD = """
from ops.logging import configure_logging
from ops.settings.model import LogFormat, LogSettings
configure_logging(LogSettings(format=LogFormat.JSON))
import structlog
structlog.get_logger().warning("odd", big=1 << 70, half="\\udcff", nested={1: {2, 3}}, plain=1.5)
"""


def test_a_log_line_is_json_whatever_is_logged() -> None:
    done = subprocess.run([sys.executable, "-c", ODD], cwd=ROOT, capture_output=True, text=True, check=True)
    line = json.loads(done.stderr)
    assert (line["event"], line["big"], line["plain"], line["nested"]) == ("odd", 1 << 70, 1.5, {"1": [2, 3]})


@pytest_asyncio.fixture(scope="module")
async def redis_with_password() -> AsyncIterator[tuple[Path, str]]:
    """The socket and the password of a Redis."""
    password = f"{MARK}-of-redis"
    with installation("") as place:
        server = await EmbeddedRedis(place.folder / "redis", durable=False).start()
        async with Redis.from_url(server.url) as client:
            await client.config_set("requirepass", password)
        yield server.socket, password
        await server.stop()


@pytest_asyncio.fixture(scope="module")
async def mend(redis_with_password: tuple[Path, str]) -> AsyncIterator[Mend]:
    """A `mend up` with a sentinel in every secret; the embedded Postgres needs none of its own."""
    path, password = redis_with_password
    port = free_port()
    with installation("") as mend:
        urls: dict[tuple[str, ...], str] = {("redis", "url"): f"unix://:{password}@{path}", ("postgres", "url"): ""}
        (mend.folder / "mend.toml").write_text(settings_text(mend.folder, urls).replace("{{", "{").replace("}}", "}"))
        with (mend.folder / "mend.toml").open("a") as file:
            file.write(f"\nmetrics.port = {port}\n")
        process = mend.up("--sandbox")
        yield mend
        assert end(process) == 0
        assert MARK not in mend.log.read_text()


def test_no_command_shows_one(mend: Mend) -> None:
    labels = {"alertname": f"Loud{MARK}-of-http-token", "namespace": "shop", "deployment": "web", "severity": "critical"}
    payload = webhook(labels, f"the password is {MARK}-of-http-token", starts_at=datetime.now(UTC))
    mend("send-alert", "-", stdin=msgspec.json.encode(payload).decode())
    (incident,) = until(lambda: mend.json("incidents", "ls"), mend.log)
    until(lambda: "PeopleAsked" in mend.said("streams", "tail", "failures"), mend.log)
    assert "Loud***" in mend.said("streams", "tail", "signals", "--json"), "what is masked was there"
    for arguments in (
        ("config", "show"),
        ("streams", "ls"),
        ("streams", "tail", "signals"),
        ("streams", "tail", "failures"),
        ("incidents", "ls"),
        ("incidents", "show", incident["id"]),
        ("trace", incident["id"]),
        ("approvals", "ls"),
        ("trust", "ls"),
    ):
        assert MARK not in mend.said(*arguments), arguments
        assert MARK not in mend.said(*arguments, "--json"), arguments
    for form in ((), ("--json",)):
        told = mend("doctor", *form, code=1)  # nobody answers at the addresses of the settings
        assert "prometheus ann" in told.stdout
        assert MARK not in told.stdout + told.stderr


def test_no_error_of_a_command_shows_one(mend: Mend) -> None:
    assert MARK not in mend.wrong("send-alert", "-", "--url", f"http://x:{MARK}-of-http-token@127.0.0.1:1", stdin="{}")
    assert MARK not in mend.wrong("incidents", "ls", MEND_POSTGRES_URL=f"postgresql://u:{MARK}-of-env@127.0.0.1:1/x")
    assert MARK not in mend.wrong("streams", "ls", MEND_REDIS_URL=f"redis://u:{MARK}-of-env@127.0.0.1:1/0")
    assert MARK not in mend.wrong("streams", "ls", MEND_REDIS_URL=f"ftp://u:{MARK}-of-env@127.0.0.1:1/0")
    assert MARK not in mend.wrong("approvals", "sign", "x", "--as", "ann", MEND_PERSON_TOKEN=f"{MARK}-of-another")
    doctor = mend("doctor", "--json", code=1, MEND_POSTGRES_URL=f"postgresql://u:{MARK}-of-env@127.0.0.1:1/x")
    assert MARK not in doctor.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "ops.cli", "incidents", "ls"],
        cwd=mend.folder,
        env=mend.environment(MEND_TRACEBACK="1", MEND_POSTGRES_URL=f"postgresql://u:{MARK}-of-env@127.0.0.1:1/x"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" in shown.stderr
    assert MARK not in shown.stderr


FORGED = b'{"type": "' + f"{MARK}-of-http-token".encode() + b'", "id": 1}'


async def test_no_dead_letter_tells_one(mend: Mend, redis_with_password: tuple[Path, str]) -> None:
    path, password = redis_with_password
    async with Redis(unix_socket_path=str(path), password=password) as client:
        await client.xadd("mend:{0}:signals", {"e": FORGED})
        (letter,) = until(lambda: mend.json("dead", "ls"), mend.log)
        assert MARK not in mend.said("dead", "ls")
        assert MARK not in mend.said("dead", "show", letter["id"])
        entries: list[tuple[bytes, dict[bytes, bytes]]] = await client.xrange("mend:{0}:dead")  # type: ignore[assignment]
    ((_, fields),) = entries
    told = msgspec.json.decode(fields[b"e"])
    assert told.pop("original"), "the bytes are kept as they were"
    assert MARK not in msgspec.json.encode(told).decode()


async def kept_in_redis(client: Redis) -> AsyncIterator[tuple[str, bytes]]:
    """Every key and all that it holds, of whatever type; of a stream each entry, and the consumers of its groups."""
    readers: dict[object, tuple[object, ...]] = {
        b"stream": ("XRANGE", "-", "+"),
        b"hash": ("HGETALL",),
        b"zset": ("ZRANGE", 0, -1),
        b"set": ("SMEMBERS",),
        b"list": ("LRANGE", 0, -1),
        b"string": ("GET",),
    }
    async for key in client.scan_iter(count=1000):
        command, *more = readers[await client.type(key)]
        yield "a key", key
        for item in flat(await client.execute_command(str(command), key, *more)):  # type: ignore[no-untyped-call]
            yield f"the key {key.decode()}", item


def flat(answer: object) -> Iterator[bytes]:
    """All texts of an answer of Redis, however nested."""
    if isinstance(answer, dict):
        answer = [*answer.items()]
    if isinstance(answer, list | tuple | set):
        for part in answer:
            yield from flat(part)
    elif isinstance(answer, bytes):
        yield answer


async def kept_in_postgres(database: Database) -> list[tuple[str, bytes]]:
    """Every value of every row of every table, by its column."""
    found: list[tuple[str, bytes]] = []
    for (table,) in await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        for row in await database.fetch(f'SELECT * FROM "{table}"'):
            found += [
                (f"{table}.{name}", value if isinstance(value, bytes) else str(value).encode())
                for name, value in row.items()
                if value is not None
            ]
    return found


def test_metrics_show_none(mend: Mend) -> None:
    port = load(mend.folder / "mend.toml", {}).settings.metrics.port
    for path in ("/metrics", "/livez", "/readyz", "/nothing"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                body = answer.read().decode()
        except urllib.error.HTTPError as error:
            body = error.read().decode()
        assert body
        assert MARK not in body


async def test_no_stream_and_no_table_holds_one(mend: Mend, redis_with_password: tuple[Path, str]) -> None:
    """All that is kept, byte for byte: of alerts, dead letters, and a vote by somebody with a token.

    As they came stay the labels of a signal, which are its identity, and the bytes of what was no event.
    """
    await break_workload(mend.run.sandbox, "api")
    mend("send-alert", "-", stdin=alert("KubePodCrashLooping", "api", "critical", f"api crashes with {MARK}-of-votes-key"))
    (approval,) = until(lambda: mend.json("approvals", "ls"), mend.log)
    (token,) = (sentinel_of(leaf) for leaf in SECRETS if leaf.path == ("people", ANY_NAME, "token"))
    sign = ("approvals", "sign", approval["id"], "--as", "ann", "--comment", f"go, {MARK}-of-votes-key")
    mend(*sign, MEND_PERSON_TOKEN=token)
    until(lambda: "ApprovalSigned" in mend.said("trace", approval["incident"]), mend.log)
    path, password = redis_with_password
    async with Redis(unix_socket_path=str(path), password=password) as client:
        kept = [part async for part in kept_in_redis(client)]
    database = await Database(mend.run.postgres.reveal()).open()
    tables = await kept_in_postgres(database)
    await database.close()
    assert {"the key mend:{0}:votes", "the key mend:{0}:dead"} <= {place for place, _ in kept}
    assert {"event_log.body", "outbox.outputs", "approvals.inputs", "unreadable.body"} <= {place for place, _ in tables}
    assert "ApprovalSigned" in {text.decode() for place, text in tables if place == "event_log.type"}
    assert [(place, text) for place, text in [*kept, *tables] if tells(without_what_stays(text))] == []


def without_what_stays(text: bytes) -> bytes:
    """`text` without a signal's labels and the bytes in a dead letter; nothing of the forged entry."""
    if text == FORGED:
        return b""
    try:
        event = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text
    stays = {"SignalReceived": "labels", "DeadLettered": "original"}
    if isinstance(event, dict) and event.get("type") in stays:
        assert event.pop(stays[event["type"]])
        return msgspec.json.encode(event)
    return text


def tells(text: bytes) -> bool:
    """Whether the mark is in `text`, or in one of its encodings: base64 at any offset, hex, or percent signs."""
    mark = MARK.encode()
    encoded = {base64.b64encode(bytes(offset) + mark)[-(-offset * 4 // 3) :].rstrip(b"=")[:-1] for offset in range(3)}
    forms = {mark, mark.hex().encode(), "".join(f"%{byte:02x}" for byte in mark).encode(), *(form.lower() for form in encoded)}
    return any(form in text.lower() for form in forms)


@pytest.mark.parametrize("before", [b"", b"a", b"ab"])
def test_a_mark_is_found_however_it_is_encoded(before: bytes) -> None:
    text = before + MARK.encode() + b"-of-x"
    for told in (text, base64.b64encode(text), text.hex().upper().encode(), b"x%73%33%6E%74%31%6E%65%6c"):
        assert tells(told), told
    assert not tells(b"nothing of the kind")


def test_only_the_owner_can_read_what_is_kept_of_them(mend: Mend) -> None:
    for path in mend.data.glob("*"):
        if path.is_file() and MARK in path.read_text(errors="replace"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_equal_secrets_are_equal_and_others_are_not() -> None:
    assert Secret("one") == Secret("one")
    assert Secret("one") != Secret("two")
    assert Secret("one") != "one"
    assert len({Secret("one"), Secret("one"), SecretUrl("redis://h")}) == 2
