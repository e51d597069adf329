"""Hostile text is made harmless, whatever it is, in a time that its length bounds."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import named_secrets
from schemas.key_blocks import without_keys
from schemas.masking import GROUPS
from schemas.named_secrets import assigned
from schemas.text import clean, clean_labels, clean_tail, mask

PIECES = [
    "a",
    "a.",
    "a_",
    "-",
    "passwor",
    "password",
    "password=",
    "secret ",
    "a@",
    "a://",
    "a://b:",
    "eyJ",
    "-eyJ",
    "bearer ",
    "sk-",
    "api_",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://ann:pa55@db/x", "postgres://***@db/x"),
        ("DB_PASSWORD=hunter22 and more", "DB_PASSWORD=*** and more"),
        ('{"api-key": "abc def"}', '{"api-key": "***"}'),
        ("my.secret.name : x9", "my.secret.name : ***"),
        ("token=eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "token=***"),
        ("a jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2ln.", "a jwt ***."),
        ("Authorization: Bearer abcdefgh12", "Authorization: Bearer ***"),
        ("mail ann.b+c@mail.example.com now", "mail *** now"),
        (r"two lines\nann@mail.example.com", r"two lines\n***"),
        ("long " + "x" * 80 + "@mail.example.com", "long " + "x" * 16 + "***"),
        ("red \x1b[31mtext\x00\u202e", "red [31mtext"),
        ("two\nlines\tkept", "two\nlines\tkept"),
        ("nothing to hide: api-7d9f8b6c5d-x2x4z at 10:30", "nothing to hide: api-7d9f8b6c5d-x2x4z at 10:30"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, expected: str) -> None:
    assert clean(text) == expected


PARTS = [
    *PIECES,
    "=x1234567",
    "\u017fecret=",
    "to\u212aen:",
    "BASIC ",
    "credent\u0131al=",
    "AKIA" + "A" * 16,
    "xoxb-",
    "@b.c",
    "-----BEGIN PRIVATE KEY-----",
]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=12).map("".join))
def test_no_pattern_is_left_out_that_would_have_masked_something(text: str) -> None:
    whole = without_keys(text)
    for rule in (rule for _, rules in GROUPS for _, rule in rules):
        whole = rule(whole)
    assert mask(text) == whole


NAMES = [
    *["password", "passwd", "passwort", "passphrase", "passcode", "pwd", "secret", "credential", "jwt", "token", "pass", "pw"],
    *["dbpass", "db_pw"],
    *["myPass", "auth", "cookie", "session", "sid", "sig", "signature", "userAuth", "aSignature", "api_key", "access-key"],
    *["private.key", "encryptkey", "encryption_key", "signing key", "account_key", "masterKey", "shared_key", "servicekey"],
    *["auth_key", "host_key", "storage-key", "hmac_key", "aes_key", "ssh_key", "rsa-key", "session_key"],
]
ODD = {"i": "\u0130\u0131", "s": "\u017f", "k": "\u212a"}  # letters that a pattern takes for these when it does not look at the case


def spelled(name: str, number: int) -> str:
    """The name as it is, in capitals, or with odd letters."""
    forms = [name, name.upper(), *(name.replace(letter, odd) for letter, odds in ODD.items() for odd in odds)]
    return forms[number % len(forms)]


BETWEEN = st.sampled_from(["=", ": ", " ", "_", '"', "\n", "x1234567", "a", "\u03a3", "\u0130"])
SAID = st.builds(spelled, st.sampled_from(NAMES), st.integers(0, 5))


def assigned_everywhere(text: str) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(named_secrets, "_BEGINNING", re.compile(""))
        return assigned(text)


@settings(max_examples=500)
@given(st.lists(st.one_of(SAID, BETWEEN), max_size=14).map("".join))
def test_looking_only_where_a_name_can_begin_finds_every_name(text: str) -> None:
    assert assigned(text) == assigned_everywhere(text)


def test_so_it_does_in_the_corpus() -> None:
    lines = (Path(__file__).parent.parent / "data" / "secrets.txt").read_text().splitlines()
    assert [line for line in lines if assigned(line) != assigned_everywhere(line)] == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", range(6))
def test_each_name_is_found_in_each_form(name: str, form: int) -> None:
    text = f"x {spelled(name, form)}=hunter2x"
    assert assigned(text) == assigned_everywhere(text)
    assert form or "hunter2x" not in assigned(text)


@given(st.lists(st.one_of(st.sampled_from([*PARTS, '"', "'", "\\", " ", "@", "=", "***"]), st.text(max_size=5)), max_size=12).map("".join))
def test_masking_leaves_a_line_of_json_what_it_is(text: str) -> None:
    """A line of the log is masked once more as a whole, when its values are clean."""
    line = {"text": clean(text), "inner": {"texts": [clean(text)]}, "event": "said"}
    assert json.loads(mask(json.dumps(line, ensure_ascii=False)))["event"] == "said"


@pytest.mark.parametrize("piece", PIECES)
def test_the_time_is_bounded_by_the_length(piece: str) -> None:
    """A pattern that tries again from every place took seconds for these."""
    text = piece * (8000 // len(piece))
    started = time.perf_counter()
    clean(text)
    assert time.perf_counter() - started < 0.25


FURTHER = [
    "a://b:@",
    'password="',
    "password: |\n ",
    'password\\":\\"',
    "passwordName=",
    "a=b;password=",
    "=;password=a ",
    "password=a;a",
    "password=a ",
    ";a=;password=a ",
    "jdbc:oracle:thin:a/",
    "jdbc:oracle:thin:a/a@",
    "jdbc:oracle:",
    "sqlplus a/",
    "pw=",
    "token_",
    "auth:",
    "sid=\n ",
    "password=a,a",
    "--password ",
    "--password\n",
    "name: password value: ",
    "authorization: ",
    'authorization:a="',
    "cookie: a=",
    "mysql ",
    "curl -u ",
    "docker login ",
    "-----BEGIN " + "PRIVATE KEY-----",
    "-----END " + "PRIVATE KEY-----",
    "-----BEGIN " + "PRIVATE KEY-----\nAAAA\n",
    "-----END " + "PRIVATE KEY-----\n",
    "Ab1" * 20 + " ",
    "Ab1" * 20 + "\\n",
    "Ab1" * 20 + "\n",
]
ENDS = "x@y.z token= -----END " + "PRIVATE KEY----- mysql curl login authorization cookie bearer value --password @tcp( ldap"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", [*PIECES, *FURTHER], ids=repr)
def test_a_long_hostile_text_ends(piece: str) -> None:
    """100,000 characters with the words of every rule: a pattern of quadratic time would take many minutes for one of these."""
    text = piece * (100_000 // len(piece))
    for whole in (text, text + "@", f"{text} {ENDS}", f"{ENDS} {text}"):
        mask(whole)


KEY_LINES = [f"{number:02}Ab" * 16 for number in range(30)]
END = "-----END " + "PRIVATE KEY-----"


@pytest.mark.parametrize("limit", [100, 500, 1000, 1500, 1900])
def test_a_tail_is_masked_before_it_is_cut_and_begins_with_a_line(limit: int) -> None:
    tail = ["it ended", "with 3 errors", "and exit code 1", "x" * (limit - 80)]
    shown = clean_tail("\n".join(["-----BEGIN " + "PRIVATE KEY-----", *KEY_LINES, END, "password=hunter22", *tail]), limit)
    assert len(shown) <= limit
    assert "Ab" not in shown
    assert "hunter" not in shown
    assert shown.endswith("\n".join(tail))
    assert shown.lstrip("…").partition("\n")[0] in {"***", "password=***", "it ended"}


def test_of_a_tail_whose_key_is_longer_than_what_is_looked_at_nothing_is_shown() -> None:
    shown = clean_tail("\n".join([*KEY_LINES * 10, END, "it ended"]), 200)
    assert "Ab" not in shown
    assert shown.endswith("it ended")


@pytest.mark.parametrize("size", range(8_000, 8_100, 7))
def test_a_secret_on_the_border_of_what_is_looked_at_is_not_shown_in_part(size: int) -> None:
    """What stands before it shrinks so far that the border would be seen."""
    text = 'password="' + "x" * size + '" and the key is gh' + "p_" + "Zq9" * 20
    assert "Zq" not in clean(text, 1000)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("db_password", "hunter2", "***"),
        ("example.com/api-token", "abc", "***"),
        ("clientSecret", "abc", "***"),
        ("dbPass", "abc", "***"),
        ("AWS_SECRET_ACCESS_KEY", "abc", "***"),
        ("Authorization", "abc", "***"),
        ("secretName", "db-credentials", "db-credentials"),
        ("checksum/secret", "8f14e45f", "8f14e45f"),
        ("automountServiceAccountToken", "false", "false"),
        ("token_limit", "4096", "4096"),
        ("author", "bob", "bob"),
        ("passed", "yes it has", "yes it has"),
        ("key", "MODE", "MODE"),
    ],
)
def test_a_value_that_stands_alone_goes_by_its_name(name: str, value: str, shown: str) -> None:
    assert clean_labels({name: value}) == {name: shown}


@given(text=st.text(max_size=300), limit=st.integers(1, 50))
def test_a_clean_text_is_short_and_printable(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert not set(shown) & {chr(number) for number in (*range(9), *range(11, 32), 127)}


def test_the_number_of_labels_is_bounded() -> None:
    assert len(clean_labels({str(number): "x" for number in range(1000)})) == 64
