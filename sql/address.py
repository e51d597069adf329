"""The URL of Postgres, looked at before anybody waits for what cannot answer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from sql.errors import InvalidAddress

FORM = "write postgresql://user:password@host:5432/database in postgres.url"
_HOST = re.compile(r"(?:\[[^\]]*\]|[^\[\]:]*)(?::(?P<port>.*))?")
_LAST_PORT = 65535


def require_url(url: str) -> None:
    """Raises InvalidAddress for what no Postgres can be behind; the message repeats nothing that may be a password."""
    try:
        split = urlsplit(url)
    except ValueError:
        raise InvalidAddress(f"the URL of Postgres is not a URL: {FORM}") from None
    if split.scheme not in ("postgresql", "postgres"):
        raise InvalidAddress(f"the URL of Postgres does not begin with postgresql://: {FORM}")
    for host in split.netloc.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(host)
        port = match["port"] if match else "none"
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _LAST_PORT):
            raise InvalidAddress(f"the URL of Postgres has no usable port: {FORM}, @ / : # in a password as %40 %2F %3A %23")
