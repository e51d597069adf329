"""docs/api.md says what is so: its commands are run as they stand there, and `mend people` makes the token that they use."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from schemas.words import ApprovalState
from sql.database import Database
from tests.integration.desk import Desk, desk
from tests.integration.mend_process import ROOT, installation
from tests.integration.scene import row
from tests.integration.test_rest_events import served

PAGE = (ROOT / "docs" / "api.md").read_text()
COMMANDS = "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SETTINGS = 'data.folder = "{folder}/data"\n'
PRELUDE = """
set -eu
mend() {{ "{python}" -m ops.cli "$@"; }}
# A stream of events has no end: here it has one after a moment, and that is no fault.
curl() {{
  case "$*" in
    *v1/events*) command curl --max-time 1 "$@" || [ $? = 28 ];;
    *) command curl --write-out '\\n%{{http_code}}\\n' "$@";;
  esac
}}
"""


@pytest_asyncio.fixture
async def api(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(redis_url, database) as api:
        yield api


async def test_every_command_of_the_page_works(api: Desk, redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    waiting = await api.waiting()
    with installation(SETTINGS) as mend:
        async with api.counting(), served(api) as url:
            known = {"INCIDENT": waiting.incident, "APPROVAL": waiting.id}
            stores = {"MEND_REDIS_URL": redis_url, "MEND_POSTGRES_URL": postgres_url}
            script = PRELUDE.format(python=sys.executable) + COMMANDS.replace("http://127.0.0.1:9096", url)
            done = await asyncio.create_subprocess_exec(
                *("bash", "-c", script),
                cwd=mend.folder,
                env=mend.environment(**stores, **known),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            said, wrong = (part.decode() for part in await done.communicate())
    assert done.returncode == 0, said + wrong
    assert re.findall(r"^(\d{3})$", said, re.MULTILINE) == [*["200"] * 12, "202", *["200"] * 3]
    assert '"missing":1' in said
    assert "retry: 2000" in said
    assert wrong.startswith("This is shown once")
    assert (await row(api.scene, waiting.id)).state is ApprovalState.REJECTED


async def test_tokens_are_made_listed_and_revoked_at_the_terminal(api: Desk, redis_url: str, postgres_url: str) -> None:
    listed = SETTINGS + "[people.ana]\n"
    with installation(listed) as mend:

        def said(*words: str, code: int = 0) -> str:
            done = mend(*words, code=code, MEND_REDIS_URL=redis_url, MEND_POSTGRES_URL=postgres_url)
            return done.stdout if code == 0 else done.stderr

        def run() -> None:
            assert said("people", "ls") == "Nobody has a token: `mend people add NAME --role ROLE` makes one.\n"
            token = said("people", "add", "ana", "--role", "operator").strip()
            assert re.fullmatch(r"mend_[0-9a-f]{16}_[\w-]{43}", token)
            api.tokens["ana"] = token
            assert said("people", "add", "eve", "--role", "viewer").startswith("mend_")
            assert "eve is not listed under [people]" in said("people", "add", "eve", "--role", "admin", code=1)
            assert "'boss' is none of viewer, operator, admin" in said("people", "add", "ana", "--role", "boss", code=1)
            assert "cannot be a person's name" in said("people", "add", "a\nb", "--role", "viewer", code=1)
            table = said("people", "ls")
            assert re.search(r"^ana +operator +[0-9a-f]{16} ", table, re.MULTILINE)
            assert token.split("_", 2)[2] not in table + said("people", "ls", "--json")
            assert said("people", "revoke", "ana") == f"revoked {token.split('_')[1]}\n"
            assert "no token of ana lets anybody in" in said("people", "revoke", "ana", code=1)
            assert "ana" not in said("people", "ls")
            assert "ana" in said("people", "ls", "--revoked")

        await asyncio.to_thread(run)
    assert (await api.get("/v1/incidents", "ana")).status_code == 401
    audit = await api.database.fetch("SELECT what, about, state FROM audit_log ORDER BY at, id")
    assert [tuple(one) for one in audit] == [
        ("token made", "person ana", "success"),
        ("token made", "person eve", "success"),
        ("token revoked", "person ana", "success"),
    ]
