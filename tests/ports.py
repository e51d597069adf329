"""Ports for servers that must be told theirs before they start."""

from __future__ import annotations

import secrets
import socket

_LOWEST, _PORTS = 12_000, 10_000


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and that no outgoing connection will take.

    The kernel gives those from 32768 on to clients: one may have the port before its server does, and a client that waits for the server
    may even be connected to itself. A Redis in a cluster takes the port 10000 above as well, which is below 32768, too.
    """
    while True:
        port = _LOWEST + secrets.randbelow(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
