"""A host of the tests with the real sudo, and an account `mend` on it that is not root and is allowed what a test says.

The machine stays as it is: sshd is started in a mount namespace of its own, in which other files lie over /etc/passwd,
/etc/shadow, /etc/group, the name of the host and sudo's rules. What is run by way of it sees nothing else, and with its last
process all is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.e2e.sshd import TestHost, running

SUDO = shutil.which("sudo", path="/usr/bin")
PYTHON = shutil.which("python3", path="/usr/bin")
"""The interpreter of the stand-ins: that of the tests may lie where only root may look."""

ACCOUNT = "mend"
_NUMBER = 64_999
_OVER = ("passwd", "shadow", "group", "hosts", "nsswitch.conf", "sudoers", "sudoers.d")
_LAUNCH = f"""
set -e
for name in {" ".join(_OVER)}; do mount --bind "$1/$name" "/etc/$name"; done
shift
exec "$@"
"""


def why_not() -> str:
    """Why there can be no such host on this machine; empty where there can."""
    if SUDO is None or PYTHON is None:
        return "sudo or python3 is not installed in /usr/bin: apt-get install sudo python3"
    if os.geteuid() != 0:
        return "only root can make a mount namespace in which an account for the test exists"
    made = subprocess.run(["unshare", "--mount", "mount", "--bind", "/tmp", "/tmp"], capture_output=True, text=True, check=False)
    return f"this machine lets nobody make a mount namespace: {made.stderr.strip()}" if made.returncode else ""


class SudoHost(TestHost):
    """As TestHost, and the user of its connections is `mend`."""

    interpreter = PYTHON or ""
    user = ACCOUNT

    async def start(self) -> SudoHost:
        etc = self.folder / "etc"
        (etc / "sudoers.d").mkdir(parents=True)
        self._write_accounts(etc)
        (etc / "shadow").write_text(f"root:*:19000:0:99999:7:::\n{ACCOUNT}:*:19000:0:99999:7:::\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        (etc / "sudoers").touch(mode=0o440)
        self.allow(())
        self.marks.mkdir()
        os.chown(self.marks, _NUMBER, _NUMBER)
        self.launcher = ("unshare", "--mount", "sh", "-c", _LAUNCH, "sh", str(etc))
        await super().start()
        (self.folder / "bin" / "sudo").unlink()
        (self.folder / "bin" / "sudo").symlink_to(SUDO or "")
        return self

    def _write_accounts(self, etc: Path) -> None:
        """Those of the machine and `mend`, whose home is not there."""
        passwd, group = (Path("/etc", name).read_text().rstrip() for name in ("passwd", "group"))
        (etc / "passwd").write_text(f"{passwd}\n{ACCOUNT}:x:{_NUMBER}:{_NUMBER}::{self.home}:/bin/sh\n")
        (etc / "group").write_text(f"{group}\n{ACCOUNT}:x:{_NUMBER}:\n")

    @property
    def home(self) -> Path:
        """The home of `mend`: it is not there, until a test makes it."""
        return self.folder / "home"

    def allow(self, rules: Sequence[str], defaults: str = "") -> None:
        """What sudoers says: `rules` for the account, @BIN@ in them being the folder of the host's tools; `defaults` for all."""
        tools = self.folder / "bin"
        lines = [f"Defaults env_reset, secure_path={tools}{f', {defaults}' if defaults else ''}", "root ALL=(ALL:ALL) ALL"]
        lines += [f"{ACCOUNT} ALL={rule.replace('@BIN@', str(tools))}" for rule in rules]
        (self.folder / "etc" / "sudoers").write_text("\n".join(lines) + "\n")


@contextlib.asynccontextmanager
async def running_sudo_host() -> AsyncIterator[SudoHost]:
    """Such a host, in a folder that the account may look into."""
    with tempfile.TemporaryDirectory(prefix="mendstream-") as name:
        os.chmod(name, 0o755)  # noqa: PTH101
        folder = Path(name)
        async with running(SudoHost(folder)) as host:
            yield host
