"""What the settings say of one host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.numbers import Positive, Seconds, Several, Wait

Given = Annotated[str, msgspec.Meta(min_length=1)]


class HostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One host that Mendstream may look at and act on, by the name that alerts use for it.

    It logs in with the one private key named here; no agent, no other key, no password and no file of ~/.ssh is used.
    """

    address: Given
    """Host name or IP address to connect to."""

    user: Given
    """Account on the host."""

    private_key_file: Given
    """Path of the private key, in OpenSSH's form, without a passphrase."""

    known_hosts: str = ""
    """Path of the file that holds the host's key, in OpenSSH's form. Without it there is no connection."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 22
    """TCP port of the host's sshd."""

    group: str = "hosts"
    """Host group that it belongs to: the `cluster` of its alerts."""

    sudo: bool = False
    """Whether what changes the host, and every docker command, is run by `sudo -n`. Sudoers must then allow, without a
    password, the commands of the tools that are to be used; docs/hosts.md lists them."""

    compose: dict[str, str] = {}
    """Folders of the compose projects whose services may be restarted, by the names of the projects. No other is touched."""

    docker_root: str = "/var/lib/docker"
    """Docker's data root. A log file outside of it is never emptied, and what makes room is judged by the room where it lies."""

    delete_data: bool = False
    """Whether pruning volumes and stopped containers, which deletes data for good, may be approved, by two people. Else nobody can."""

    marks: str = ".mendstream"
    """Folder on the host where operations leave their marks, relative to the account's home, or absolute."""

    connect_timeout: Seconds = 8.0
    """Seconds for connecting and logging in."""

    command_timeout: Seconds = 8.0
    """Seconds for one command that only looks; the host itself ends it then, unless it is run by sudo."""

    restart_timeout: Seconds = 120.0
    """Seconds for one restart, or another change; when it takes longer, its outcome is unknown."""

    idle: Wait = 60.0
    """Seconds that an unused connection is kept."""

    keepalive: Seconds = 5.0
    """Seconds between two signs of life asked of the host; three unanswered ones end the connection."""

    concurrency: Several = 6
    """Commands at once on this host; keep it at least 3 below the MaxSessions of its sshd, which is 10 by default."""

    output_limit: Positive = 262_144
    """Bytes of each output of a command that are read; what comes after them is never kept."""

    def unusable_files(self) -> Iterator[tuple[str, str]]:
        """The settings whose files cannot be read now, without which there is no connection, and why."""
        if not self.known_hosts:
            scan = f"`ssh-keyscan -p {self.port} {self.address}`"
            yield (
                "known_hosts",
                f"no file is named that holds the host's key: write that of {scan} into one, compared with the key on the host",
            )
        for name in ("private_key_file", "known_hosts"):
            path = getattr(self, name)
            try:
                if path:
                    Path(path).expanduser().read_bytes()
            except (OSError, RuntimeError) as error:  # RuntimeError: a `~` of nobody
                yield name, f"the file {path} cannot be read: {getattr(error, 'strerror', None) or error}"
