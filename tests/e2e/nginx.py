"""A real nginx for a test's host, on loopback, as the user who runs it, with a configuration and files of its own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
from http.client import HTTPConnection
from pathlib import Path

from tests.patience import PATIENCE
from tests.ports import free_port

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
_CONFIGURATION = """\
{user}
worker_processes 1;
error_log {folder}/nginx.log notice;
pid {folder}/nginx.pid;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx.temporary;
    proxy_temp_path {folder}/nginx.temporary;
    fastcgi_temp_path {folder}/nginx.temporary;
    uwsgi_temp_path {folder}/nginx.temporary;
    scgi_temp_path {folder}/nginx.temporary;
    server {{
        listen 127.0.0.1:{port};
        {what}
    }}
}}
"""


class Nginx:
    """Starts with the answer `old`, and has `new` in its configuration from then on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "nginx.log"
        self._port = free_port()

    def start(self) -> None:
        self.configure('return 200 "old";')
        self._run()
        self.answer()  # until its worker runs, it forgets a signal that it gets
        self.configure('return 200 "new";')

    def configure(self, what: str) -> None:
        """Writes a configuration whose server has this in it; nginx goes on with the one that it read."""
        user = "user root;" if os.geteuid() == 0 else ""  # the folders of tests are their user's own
        text = _CONFIGURATION.format(folder=self._folder, port=self._port, user=user, what=what)
        (self._folder / "nginx.conf").write_text(text)

    def _run(self, *arguments: str) -> None:
        assert NGINX is not None
        command = [NGINX, "-e", str(self._log), "-c", str(self._folder / "nginx.conf"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr

    @property
    def pid(self) -> int:
        """The process that a reload leaves as it is; 0 when none runs."""
        try:
            return int((self._folder / "nginx.pid").read_text())
        except (OSError, ValueError):
            return 0

    def answer(self) -> str:
        """What it serves now, over HTTP."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().read().decode()

    def reloads(self) -> int:
        """How often it has read its configuration again, by its own log."""
        return self._log.read_text().count(": reconfiguring\n") if self._log.exists() else 0

    def has_refused(self) -> bool:
        """Whether it has given up to listen where its configuration says, and keeps the one before."""
        return "still could not bind()" in self._log.read_text()

    def stop(self) -> None:
        """Ends it, and returns when it is gone."""
        try:
            ended = os.pidfd_open(self.pid)
        except (OSError, ValueError):  # it does not run
            return
        try:
            self.configure("")
            self._run("-s", "stop")
            _wait_for(ended)
        finally:
            os.close(ended)


def _wait_for(process: int) -> None:
    """Returns when the process of this descriptor is gone."""
    readable, _, _ = select.select([process], [], [], PATIENCE)
    assert readable, "nginx did not end"
