"""Settings say what is wrong, where, and what to do; the environment wins over the file; nothing is ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.errors import SettingsWrong
from ops.settings import Loaded, load
from ops.settings.environment import variable_of
from ops.settings.model import LogFormat, Settings
from ops.settings.shape import ANY_NAME, Leaf, leaves, parts_of, secret_in
from schemas.secret import Secret, SecretUrl
from schemas.words import Mode


def read(folder: Path, text: str = "", **variables: str) -> Loaded:
    """The settings from this file and these variables of the environment."""
    file = folder / "mend.toml"
    file.write_text(text, "utf-8")
    return load(file, variables)


def problems(folder: Path, text: str = "", **variables: str) -> tuple[str, ...]:
    with pytest.raises(SettingsWrong) as caught:
        read(folder, text, **variables)
    return caught.value.problems


def test_without_a_file_and_variables_everything_has_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(None, {})
    assert loaded.settings == Settings()
    assert loaded.file is None
    assert loaded.settings.gate.mode is Mode.ASSIST


def test_the_file_is_the_one_given_else_the_one_of_the_environment_else_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("given", "named", "mend"):
        (tmp_path / f"{name}.toml").write_text(f'default_cluster = "{name}"')
    named = {"MEND_CONFIG": str(tmp_path / "named.toml")}
    assert load(tmp_path / "given.toml", named).settings.default_cluster == "given"
    assert load(None, named).settings.default_cluster == "named"
    assert load(None, {}).settings.default_cluster == "mend"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match=r"absent\.toml, which --config names"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(SettingsWrong, match=r"absent\.toml, which MEND_CONFIG names"):
        load(None, {"MEND_CONFIG": str(tmp_path / "absent.toml")})


def test_an_unknown_name_says_the_nearest_right_one_and_its_line(tmp_path: Path) -> None:
    found = problems(tmp_path, 'default_clutser = "x"\n[redis]\n\npartition = 2\n[gate]\nretries = 3\n[quarks]\nup = 1\n')
    file = tmp_path / "mend.toml"
    assert found[0] == f"{file}:1: default_clutser: no such setting; did you mean default_cluster?"
    assert found[1] == f"{file}:4: redis.partition: no such setting; did you mean redis.partitions?"
    assert found[2] == f"{file}:6: gate.retries: no such setting; did you mean execute.retries?"
    assert found[3].startswith(f"{file}:7: quarks: no such setting; there are default_cluster, redis,")
    assert len(found) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[redis]\npartitions = "two"', "redis.partitions: expected a whole number, got text"),
        ("[redis]\npartitions = 0", "redis.partitions: expected a whole number >= 1"),
        ('[redis]\ncluster = "yes"', "redis.cluster: expected true or false, got text"),
        ("[redis]\nurl = 3", "redis.url: expected text"),
        ("redis = 3", "redis: expected a table, such as [redis]"),
        ('[log]\nlevel = "inf"', "log.level: expected one of debug, info, warning, error; did you mean info?"),
        ('[gate]\nmode = "yolo"', "gate.mode: expected one of shadow, assist, auto"),
        ("[http]\nport = 70000", "http.port: expected a whole number <= 65535"),
        (
            "[hosts.web]\nuser = 'x'",
            "hosts.web: address (MEND_HOSTS_WEB_ADDRESS) and private_key_file (MEND_HOSTS_WEB_PRIVATE_KEY_FILE) are missing",
        ),
        ("[hosts.web]\naddress = 'x'\nprivate_key_file = 'y'", "hosts.web: user (MEND_HOSTS_WEB_USER) is missing"),
        ("[hosts.web]\naddress = 'x'\nprivate_key_file = 'y'\nuser = ''", "hosts.web.user: expected text of length >= 1"),
        ("[[gate.freeze]]\ncron = '10:00'\nduration = 60", "gate.freeze: '10:00' is no time to begin: write five fields"),
        ("[people.ann]\ntoken_file = '/absent/token'", "people.ann.token_file: the file /absent/token cannot be read"),
        ("[people.ann]\ntoken = 'a'\ntoken_file = '/b'", "people.ann.token_file: give either token or token_file, not both"),
        ("[http]\ntoken = 'short'", "http.token: expected 16 characters or more: take the output of `openssl rand -hex 32`"),
        ("[http]\nusername = 'ann'\npassword = 'short'", "http.password: expected 8 characters or more"),
        ("[people.ann]\ntoken = 'short'", "people.ann.token: expected 16 characters or more"),
        (
            "[http]\nusername = 'ann'",
            "http: username without password guards nothing: set http.password (MEND_HTTP_PASSWORD) too, or neither",
        ),
        ("[prometheus.prod]\nurl = 'http://x'\npassword = 'x'", "prometheus.prod: password without username is never sent"),
        ("[alertmanager.prod]\nurl = 'http://x'\npassword = 'x'", "alertmanager.prod: password without username is never sent"),
        ("[http]\nport_file = 'x'", "http.port_file: no such setting; did you mean http.port?"),
    ],
)
def test_a_wrong_value_names_the_setting_and_what_was_expected(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in problem for problem in problems(tmp_path, text))


NUMBERS = [leaf for leaf in leaves(Settings) if {int, float} & set(parts_of(leaf.field.type))]
ZERO_MEANS = {
    "http.port": "any free port",
    "api.port": "any free port",
    "metrics.port": "off",
    "ingest.close_after": "an incident is closed as soon as it is resolved",
    "ingest.owner_memory": "each alert asks the cluster anew",
    "ingest.timeline_signals": "only a new alert or a worse severity gets a line",
    "propose.patience": "people are asked at once",
    "propose.look_again": "with every signal",
    "propose.rollout_window": "no crash is blamed on a revision",
    "model.retries": "one try",
    "model.cache": "no answer is used again",
    "gate.cooldown.actions": "people are always asked",
    "gate.target_cooldown.actions": "people are always asked",
    "execute.retries": "one try",
    "execute.retry_after": "again at once",
    "verify.settle": "it is looked at immediately",
    "verify.limit": "it is judged at the first look",
    "verify.hold_down": "a success is told at once",
    "verify.room": "any room is enough",
    "verify.alert_limit": "an alert that still holds is waited for no longer than the workload",
    "verify.weights.state": "does not count",
    "verify.weights.change": "does not count",
    "verify.weights.steadiness": "does not count",
    "verify.weights.alert": "does not count",
    "verify.weights.metrics": "does not count",
    "verify.weights.regression": "does not count",
    "failure_watch.quiet": "people are asked about each dead letter",
    "failure_watch.idle": "nobody is asked about an incident in which nothing happens",
    "failure_watch.playbook_failures": "no playbook loses its approval for its failures",
    "failure_watch.unhealed": "no way back is proposed for its score",
    "bus.backoff": "again at once",
    "bus.backoff_limit": "again at once",
    "bus.grace": "handlers that run are cancelled by a stop",
    "hosts.NAME.idle": "no connection is kept",
}
"""What 0 says where it says something. Everywhere else it is a mistake."""
REST = {
    "hosts": 'address = "192.0.2.1"\nuser = "mend"\nprivate_key_file = "key"\n',
    "prometheus": 'url = "http://127.0.0.1:9090"\n',
    "alertmanager": 'url = "http://127.0.0.1:9093"\n',
}
"""What a table by name needs besides the number."""


def with_number(leaf: Leaf, number: str) -> str:
    """A settings file in which this setting has this number."""
    *table, name = ("web" if part == ANY_NAME else part for part in leaf.path)
    return f"[{'.'.join(table)}]\n{REST.get(leaf.path[0], '')}{name} = {number}\n"


@pytest.mark.parametrize("number", ["-1", "nan", "inf", "1e300", "1" + 30 * "0"])
@pytest.mark.parametrize("leaf", NUMBERS, ids=lambda leaf: ".".join(leaf.path))
def test_no_setting_takes_a_number_that_means_nothing(tmp_path: Path, leaf: Leaf, number: str) -> None:
    (said,) = problems(tmp_path, with_number(leaf, number))
    name = ".".join(leaf.path).replace(ANY_NAME, "web")
    assert f"{name}: expected a " in said or f"{name}: integer value out of range" in said
    (said,) = problems(
        tmp_path, "" if ANY_NAME not in leaf.path else with_number(leaf, "7"), **{variable_of(leaf.path).replace(ANY_NAME, "WEB"): number}
    )
    assert f"({name}): " in said


@pytest.mark.parametrize("leaf", NUMBERS, ids=lambda leaf: ".".join(leaf.path))
def test_zero_is_taken_where_it_means_something_and_nowhere_else(tmp_path: Path, leaf: Leaf) -> None:
    if ".".join(leaf.path) in ZERO_MEANS:
        read(tmp_path, with_number(leaf, "0"))
        return
    (said,) = problems(tmp_path, with_number(leaf, "0"))
    assert re.search(r"expected a (whole )?number >=? ", said)


def test_what_zero_means_is_said_of_settings_that_there_are() -> None:
    assert set(ZERO_MEANS) <= {".".join(leaf.path) for leaf in NUMBERS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[gate]\nexpiry = inf", "gate.expiry: expected a number that is neither infinite nor nan"),
        ("[verify]\nsettle = nan", "verify.settle: expected a number that is neither infinite nor nan"),
        ("[archive]\noutputs_kept = 2592000", "archive.outputs_kept: expected a number > 2592000.0"),
        ("[bus]\nblock = 61", "bus.block: expected a number <= 60.0"),
        ("[execute]\nlease = 0.5", "execute.lease: expected a number >= 1.0"),
    ],
)
def test_a_number_that_cannot_be_says_what_can(tmp_path: Path, text: str, said: str) -> None:
    (found,) = problems(tmp_path, text)
    assert said in found


def test_what_a_host_lacks_is_one_sentence(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, MEND_HOSTS_WEB_ADDRESS="192.0.2.1")
    assert said.endswith("hosts.web: user (MEND_HOSTS_WEB_USER) and private_key_file (MEND_HOSTS_WEB_PRIVATE_KEY_FILE) are missing")


def test_what_is_not_toml_says_where(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "[redis\nurl = 1")
    assert "mend.toml is not TOML" in found
    assert "line 1" in found


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, '[redis]\nurl = 3\n[log]\nlevel = "x"', MEND_POSTGRES_POOL="many", MEND_LOG_LEVL="debug")) == 4


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    text = '[redis]\npartitions = 2\n[gate]\nmode = "auto"\n[http]\ntoken = "of-the-settings-file"'
    settings = read(tmp_path, text, MEND_REDIS_PARTITIONS="4", MEND_HTTP_TOKEN="of-the-environment").settings
    assert settings.redis.partitions == 4
    assert settings.gate.mode is Mode.AUTO
    assert settings.http.token == Secret("of-the-environment")


def test_variables_are_read_by_the_type_of_their_setting(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        MEND_REDIS_CLUSTER="true",
        MEND_LOG_FORMAT="json",
        MEND_INGEST_HOST_JOBS="node, other",
        MEND_GATE_NAMESPACES='{"shop": "auto"}',
        MEND_GATE_COOLDOWN_ACTIONS="7",
        MEND_POSTGRES_URL="postgresql://u:p@h/d",
    ).settings
    assert settings.redis.cluster is True
    assert settings.log.format is LogFormat.JSON
    assert settings.ingest.host_jobs == ("node", "other")
    assert settings.gate.namespaces == {"shop": Mode.AUTO}
    assert (settings.gate.cooldown.actions, settings.gate.cooldown.seconds) == (7, 600.0)
    assert isinstance(settings.postgres.url, SecretUrl)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MEND_REDIS_PARTITIONS": "x"}, "MEND_REDIS_PARTITIONS (redis.partitions): expected a whole number, got text"),
        ({"MEND_GATE_MDOE": "shadow"}, "the environment variable MEND_GATE_MDOE names no setting: did you mean MEND_GATE_MODE?"),
        ({"MEND_GATE_NAMESPACES": "{shop"}, "MEND_GATE_NAMESPACES (gate.namespaces): expected JSON"),
        (
            {"MEND_HTTP_PASSWORD": "long-enough"},
            "password without username guards nothing: set http.username (MEND_HTTP_USERNAME)",
        ),
        ({"MEND_HTTP_TOKEN": "x"}, "MEND_HTTP_TOKEN (http.token): expected 16 characters or more"),
        ({"MEND_LOG_LEVEL": "loud"}, "MEND_LOG_LEVEL (log.level): expected one of debug, info, warning, error"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variables: Mapping[str, str], said: str) -> None:
    assert any(said in problem for problem in problems(tmp_path, **variables))


def test_what_kubernetes_puts_into_the_environment_of_a_service_called_mend_is_no_mistake(tmp_path: Path) -> None:
    links = {
        "MEND_SERVICE_HOST": "10.0.0.1",
        "MEND_SERVICE_PORT": "9095",
        "MEND_SERVICE_PORT_HTTP": "9095",
        "MEND_PORT": "tcp://10.0.0.1:9095",
        "MEND_PORT_9095_TCP": "tcp://10.0.0.1:9095",
        "MEND_PORT_9095_TCP_ADDR": "10.0.0.1",
        "MEND_INGEST_SERVICE_HOST": "10.0.0.2",
        "MEND_INGEST_PORT_9095_TCP_PROTO": "tcp",
    }
    assert read(tmp_path, **links).settings == Settings()


def test_a_variable_sets_a_field_in_a_table_of_names(tmp_path: Path) -> None:
    text = "[clusters.Prod_EU]\nkubeconfig = 'a'"
    settings = read(tmp_path, text, MEND_CLUSTERS_PROD_EU_CONTEXT="east", MEND_PEOPLE_ANN_MARIE_TOKEN="open-sesame-open-sesame").settings
    assert settings.clusters["Prod_EU"].context == "east"
    assert settings.clusters["Prod_EU"].kubeconfig == "a"
    assert settings.people["ann-marie"].token == Secret("open-sesame-open-sesame")


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-a-file-of-its-own\n")
    assert read(tmp_path, "[http]\ntoken_file = 'token'").settings.http.token == Secret("of-a-file-of-its-own")
    variables = {"MEND_HTTP_TOKEN_FILE": str(tmp_path / "token")}
    assert read(tmp_path, "[http]\ntoken = 'of-the-settings-file'", **variables).settings.http.token == Secret("of-a-file-of-its-own")


def test_no_two_settings_share_a_variable() -> None:
    names = [variable_of(leaf.path) for leaf in leaves(Settings)]
    names += [variable_of((*leaf.path[:-1], leaf.path[-1] + "_file")) for leaf in leaves(Settings) if secret_in(leaf.field.type)]
    assert len(names) == len(set(names))


def test_a_secret_shows_its_text_to_nobody() -> None:
    settings = Settings()
    for leaf in leaves(Settings):
        if secret_in(leaf.field.type) and ANY_NAME not in leaf.path:
            assert str(leaf.default) in ("***", "(empty)")
    assert "(empty)" in repr(settings)
    secret = Secret("open sesame")
    assert {str(secret), repr(secret), f"{secret}", "%s" % secret, f"{[secret]}"[1:-1]} == {"***"}  # noqa: UP031
    assert secret.reveal() == "open sesame"
    with pytest.raises(TypeError, match="not pickled"):
        secret.__reduce__()


@pytest.mark.parametrize(
    ("url", "shown", "hidden"),
    [
        ("redis://:pa%20ss@host:1/0", "redis://***@host:1/0", {"pa%20ss", "pa ss"}),
        ("postgresql://ann:pass@host/db?sslmode=require", "postgresql://***@host/db?…", {"pass"}),
        ("postgresql://host/db?password=word", "postgresql://host/db?…", {"word"}),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", set()),
        ("no url at all", "***", set()),
        ("https://hooks.example/T0/b1?k=v", "https://hooks.example/…?…", {"https://hooks.example/T0/b1?k=v", "T0/b1", "v"}),
    ],
)
def test_a_url_shows_where_it_leads_and_no_password(url: str, shown: str, hidden: set[str]) -> None:
    secret = SecretUrl(url)
    assert str(secret) == shown
    assert set(secret.parts()) >= hidden
    assert bool(secret.parts()) is bool(hidden)


def test_what_must_have_a_form_says_it_in_words(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, '[people.ana]\nroles = ["On Call"]\n')
    assert "people.ana.roles: expected names of roles: lower case letters, digits, dashes and underscores, 64 characters" in said
