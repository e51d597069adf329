"""Who may sign at the terminal: the user of the operating system, or who has the token of a person in the settings."""

from __future__ import annotations

import os
import pwd

import pytest

from ops.cli.people import authenticate, how_another_signs, user_of_system
from ops.errors import NotAllowed
from ops.settings import PersonSettings, Settings
from schemas.secret import Token

ME = pwd.getpwuid(os.getuid()).pw_name
TOKEN = "a token that is long enough"


@pytest.fixture(autouse=True)
def liar(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that claims to be somebody else, and holds no token."""
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.delenv("MEND_PERSON_TOKEN", raising=False)


def people(**tokens: str) -> Settings:
    return Settings(people={name: PersonSettings(token=Token(token)) for name, token in tokens.items()})


def test_without_people_in_the_settings_everybody_signs_as_himself_by_uid() -> None:
    assert user_of_system() == ME
    assert authenticate(Settings(), None) == ME
    assert authenticate(Settings(), ME) == ME


def test_with_people_in_the_settings_only_these_may_sign() -> None:
    assert authenticate(people(**{ME: ""}), None) == ME
    with pytest.raises(NotAllowed, match=r"is not listed under \[people\]"):
        authenticate(people(ana=TOKEN), None)


def test_another_person_needs_that_persons_token(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = people(ana=TOKEN, ben="")
    with pytest.raises(NotAllowed, match="the token of ana is needed"):
        authenticate(settings, "ana")
    for wrong in ("", TOKEN[:-1], TOKEN + "x", "tökén"):
        monkeypatch.setenv("MEND_PERSON_TOKEN", wrong)
        with pytest.raises(NotAllowed):
            authenticate(settings, "ana")
    monkeypatch.setenv("MEND_PERSON_TOKEN", TOKEN)
    assert authenticate(settings, "ana") == "ana"


@pytest.mark.parametrize(("name", "said"), [("ben", "has no token"), ("eve", "no person 'eve'"), ("", "no person ''")])
def test_a_token_opens_nothing_for_who_has_none(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEND_PERSON_TOKEN", TOKEN)
    with pytest.raises(NotAllowed, match=said):
        authenticate(people(ana=TOKEN, ben=""), name)


def test_who_wants_another_signature_is_told_how_to_get_it() -> None:
    nobody = how_another_signs(Settings(), "a-1", signed=(ME,))
    assert f"list everybody who may sign, {ME} too, as [people.NAME] with a token" in nobody
    assert nobody.endswith("`mend approvals sign a-1 --as NAME`")
    alone = how_another_signs(people(**{ME: ""}), "a-1", signed=(ME,))
    assert alone.startswith("list another person as [people.NAME]")
    two = how_another_signs(people(ana=TOKEN, ben=TOKEN, **{ME: ""}), "a-1", signed=("ana", ME))
    assert two == "another person signs with `mend approvals sign a-1 --as NAME` and the token of that person: ben"


def test_the_first_person_to_be_listed_is_told_to_list_himself_too() -> None:
    with pytest.raises(NotAllowed, match=rf"list {ME} too, for then only those listed may sign"):
        authenticate(Settings(), "ana")
