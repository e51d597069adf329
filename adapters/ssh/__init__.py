"""Hosts over SSH: looked at with ordinary tools, restarted by validated names, never spoken to in shell text."""

from __future__ import annotations

from adapters.ssh.options import HostOptions
from adapters.ssh.world import HostsWorld, host_groups

__all__ = ["HostOptions", "HostsWorld", "host_groups"]
