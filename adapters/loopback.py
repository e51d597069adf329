"""The names of this machine for itself. What listens there is never reached through a proxy of the environment."""

from __future__ import annotations

LOOPBACK = ("127.0.0.1", "::1", "localhost")
