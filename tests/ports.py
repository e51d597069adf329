"""Ports for servers that must be told theirs before they start."""

from __future__ import annotations

import itertools
import os
import socket

_LOWEST, _PORTS = 12_000, 10_000
_SIDE_BY_SIDE = 8


def _of_this_process() -> itertools.cycle[int]:
    """The ports of one of the processes that test side by side, each its own; from where on depends on the session."""
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SIDE_BY_SIDE
    count = _PORTS // _SIDE_BY_SIDE
    first = os.getpid() % count
    return itertools.cycle(_LOWEST + place * count + (first + number) % count for number in range(count))


_ports = _of_this_process()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now, and that neither another test nor an outgoing connection will take.

    The kernel gives those from 32768 on to clients: one may have the port before its server does, and a client that waits for the server
    may even be connected to itself. A Redis in a cluster takes the port 10000 above as well, which is below 32768, too.
    """
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports begin again at the end")
