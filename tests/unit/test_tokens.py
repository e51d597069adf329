"""Tokens of people: known again by a salted hash, told nowhere, and worth what their roles permit."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.errors import NotAllowed
from ops.settings import Settings
from ops.settings.model import PersonSettings
from ops.tokens import Role, id_of, is_genuine, new_token, permits, require_listed
from schemas.text import clean

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN, ROW = new_token("ann", [Role.OPERATOR], at=NOW, by="root")


def test_a_token_is_known_again_and_no_other_is() -> None:
    token = TOKEN.reveal()
    assert (id_of(token), is_genuine(token, ROW)) == (ROW.id, True)
    other, _ = new_token("ann", [Role.OPERATOR], at=NOW, by="root")
    assert not is_genuine(other.reveal(), ROW)
    assert not is_genuine(f"mend_{ROW.id}_{other.reveal().split('_', 2)[2]}", ROW)
    assert not is_genuine(token, msgspec.structs.replace(ROW, revoked_at=NOW))
    assert not is_genuine(token, msgspec.structs.replace(ROW, salt=bytes(16)))


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    assert not is_genuine(text, ROW)
    assert not is_genuine(TOKEN.reveal() + text, ROW) or not text


def test_a_token_in_a_text_is_masked() -> None:
    secret = TOKEN.reveal().split("_", 2)[2]
    for text in (TOKEN.reveal(), f"curl -H 'Authorization: Bearer {TOKEN.reveal()}'", f"it was {TOKEN.reveal()}, he said"):
        assert secret not in clean(text)
    assert secret not in repr(TOKEN)


@pytest.mark.parametrize("name", ["", " ", "a\x1b[31m", "a\nb", "x" * 129, "password=hunter2-and-more"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        new_token(name, [Role.VIEWER], at=NOW, by="root")


def test_a_role_permits_what_those_before_it_permit() -> None:
    permitted = {role: [needed for needed in Role if permits((role.value,), needed)] for role in Role}
    assert permitted == {
        Role.VIEWER: [Role.VIEWER],
        Role.OPERATOR: [Role.VIEWER, Role.OPERATOR],
        Role.ADMIN: [Role.VIEWER, Role.OPERATOR, Role.ADMIN],
    }
    assert permits(("database", "viewer"), Role.VIEWER)
    assert not any(permits(roles, Role.VIEWER) for roles in ((), ("database",), ("ADMIN",)))


def test_who_may_not_sign_gets_no_token_to_sign_with() -> None:
    listed = Settings(people={"ann": PersonSettings()})
    require_listed(listed, "ann", ["operator"])
    require_listed(listed, "bob", ["viewer"])
    require_listed(Settings(), "bob", ["admin"])
    for role in ("operator", "admin"):
        with pytest.raises(NotAllowed, match="bob is not listed under"):
            require_listed(listed, "bob", [role])
