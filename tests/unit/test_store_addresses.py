"""A URL that no store can be behind is refused at once, in words that repeat no password."""

from __future__ import annotations

import pytest

from bus.connect import require_url as require_redis
from bus.errors import InvalidAddress as RedisInvalid
from sql.address import require_url as require_postgres
from sql.database import Database
from sql.errors import InvalidAddress as PostgresInvalid


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass@host:5432/database",
        "postgres://host/database",
        "postgresql:///database?host=/run/postgresql",
        "postgresql://postgres:@/postgres?host=/tmp/mend",
        "postgresql://u:p%40ss@one:1,two:65535/database?target_session_attrs=read-write",
        "postgresql://[::1]:5432/database",
        "postgresql://[::1]/database",
    ],
)
def test_a_url_of_postgres_passes(url: str) -> None:
    require_postgres(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("garbage", "does not begin with postgresql://"),
        ("http://host/database", "does not begin with postgresql://"),
        ("", "does not begin with postgresql://"),
        ("postgresql://[::1/database", "is not a URL"),
        ("postgresql://u:word@sesame:word@host:port/database", "has no usable port"),
        ("postgresql://u:ses#ame@host/database", "has no usable port"),
        ("postgresql://host:99999/database", "has no usable port"),
        ("postgresql://host:0/database", "has no usable port"),
        ("postgresql://one:1,two:x/database", "has no usable port"),
    ],
)
def test_what_is_no_url_of_postgres_is_refused_at_once(url: str, said: str) -> None:
    with pytest.raises(PostgresInvalid, match=said) as caught:
        Database(url)
    assert not {"sesame", "word", "ses"} & set(str(caught.value).replace(":", " ").split())


async def test_an_option_that_cannot_be_used_is_no_outage() -> None:
    database = await Database("postgresql://127.0.0.1:1/database?sslmode=perhaps").open()
    try:
        with pytest.raises(PostgresInvalid, match="`sslmode` parameter must be one of"):
            await database.ping()
    finally:
        await database.close()


@pytest.mark.parametrize("url", ["garbage", "ftp://host", "redis://host:port/0", "redis://host/0?nonsense=1"])
def test_what_is_no_url_of_redis_is_refused_at_once(url: str) -> None:
    with pytest.raises(RedisInvalid, match="the URL of Redis"):
        require_redis(url)
