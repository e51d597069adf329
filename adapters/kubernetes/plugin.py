"""The program that a kubeconfig names for its credentials: it may hang, fail, or want to talk to somebody at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from typing import Any

import msgspec
from kubernetes_asyncio.config import kube_config
from kubernetes_asyncio.config.exec_provider import ExecProvider

from schemas.text import clean

SECONDS = 10.0  # that the program may take


class PluginFailed(Exception):
    """The program gave no credentials; the message says what it did instead."""


class _Credential(msgspec.Struct, rename="camel"):
    api_version: str
    status: dict[str, Any]


class Plugin(ExecProvider):
    """As the library runs such a program, but bounded in time, without the terminal, and with an end when nobody waits for it any more."""

    async def run(self, previous_response: str | None = None) -> dict[str, Any]:  # noqa: ARG002 - the library gives none
        """The `status` of the ExecCredential. Raises PluginFailed, and OSError when the program cannot be started."""
        info = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = self.env | {"KUBERNETES_EXEC_INFO": json.dumps(info)}
        process = await asyncio.create_subprocess_exec(
            *self.args, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        name = clean(self.args[0], 200)
        try:
            async with asyncio.timeout(SECONDS):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise PluginFailed(f"its program {name} gave no credentials within {SECONDS:g} s") from error
        finally:
            await _end(process)
        if process.returncode != 0:
            said = clean(errors.decode(errors="replace").strip(), 150) or "nothing"
            raise PluginFailed(f"its program {name} ended with {process.returncode} and said: {said}")
        return self._status(name, output)

    def _status(self, name: str, output: bytes) -> dict[str, Any]:
        try:
            credential = msgspec.json.decode(output, type=_Credential)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PluginFailed(f"what its program {name} wrote is no ExecCredential") from error
        if credential.api_version != self.api_version:
            raise PluginFailed(f"its program {name} wrote another version of ExecCredential than {clean(str(self.api_version), 100)}")
        if not credential.status.keys() & {"token", "clientCertificateData"}:
            raise PluginFailed(f"what its program {name} wrote has neither a token nor a certificate")
        return credential.status


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the program and what it started, when it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


# The library has no other place to say how the program is run. What it logs is what it raises as well, and is said by whoever asked.
setattr(kube_config, "ExecProvider", Plugin)  # noqa: B010 - typed as the class that it replaces
kube_config.logger.disabled = True
