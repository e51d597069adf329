"""One connection to one host: the only module that knows asyncssh, imported where the first connection is opened.

Everything that asyncssh would take from the user's surroundings is named here and switched off: ~/.ssh/config (in which
`UserKnownHostsFile none` means that no key is checked), ~/.ssh/known_hosts (read when the given list is empty),
~/.ssh/ca-bundle.crt, default keys, agents, GSSAPI, passwords.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncssh

from adapters.errors import OutcomeUnknown, Refused, Transient
from adapters.ssh.completed import Completed, of_the_command
from adapters.ssh.options import HostOptions
from schemas.text import clean

SSH_PORT = 22
TOOL_SLOTS = 2
_USUAL_ALGORITHMS = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-256,rsa-sha2-512"

asyncssh.set_log_level(logging.WARNING)


class _Presented(asyncssh.SSHClient):
    """Remembers the key of a host that is not trusted, so that the refusal can name its fingerprint."""

    fingerprint = ""

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        self.fingerprint = f"{key.get_algorithm()} {key.get_fingerprint()}"
        return False


class _Output(asyncssh.SSHClientSession[bytes]):
    """What one command says, as much as may be kept. `sent` is set when the command goes on its way, right after this is made known."""

    def __init__(self, limit: int, *, stop: bool) -> None:
        self.sent = False
        self.truncated = False
        self.exit: int | None = None
        self.signal = ""
        self.ended = asyncio.Event()
        self.channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._limit = limit
        self._stop = stop
        self._kept = {None: bytearray(), asyncssh.EXTENDED_DATA_STDERR: bytearray()}

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.sent = True
        self.channel = chan

    def session_started(self) -> None:
        assert self.channel is not None
        self.channel.write_eof()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        kept = self._kept[datatype]
        room = self._limit - len(kept)
        kept += data[:room]
        if len(data) > room:
            self.truncated = True
            if self._stop and self.channel is not None:
                self.channel.abort()

    def exit_status_received(self, status: int) -> None:
        self.exit = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002 - asyncssh's signature
        self.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        self.ended.set()

    def text(self, datatype: int | None) -> str:
        return bytes(self._kept[datatype]).decode(errors="replace")


class Link:
    """An open, authenticated connection."""

    def __init__(self, name: str, connection: asyncssh.SSHClientConnection, concurrency: int) -> None:
        self._name = name
        self._connection = connection
        self._slots = asyncio.Semaphore(concurrency)
        self._tool_slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(TOOL_SLOTS))
        self._lingering: set[asyncio.Task[None]] = set()

    @property
    def alive(self) -> bool:
        return not self._connection.is_closed()

    @property
    def lingers(self) -> bool:
        """Whether a command that nobody waits for any more has not ended on the host."""
        return bool(self._lingering)

    async def run(self, command: str, *, seconds: float, limit: int, stop: bool, unended: str = "") -> Completed:
        """Runs one command, once less than `concurrency` run; of each of its outputs `limit` bytes are kept, and with `stop` it is
        ended when it says more.

        `unended` is the tool's name where nothing ends it but itself: TOOL_SLOTS of each run at once, those counted that nobody waits for.

        Raises Transient when the command was not sent, and OutcomeUnknown when it was and its end was not seen within `seconds`.
        """
        output = _Output(limit, stop=stop)
        async with AsyncExitStack() as slots:
            if unended:
                await slots.enter_async_context(self._slot(self._tool_slots[unended], output, wait=seconds, patience=None))
            await slots.enter_async_context(self._slot(self._slots, output, wait=None, patience=seconds))
            await self._await_end(output, command, seconds)
        if output.exit is None and not output.signal and not (output.truncated and stop):
            raise self._unfinished(output, "was cut off")
        return Completed(
            exit=output.exit,
            signal=clean(output.signal, 32),
            out=output.text(None),
            err=of_the_command(output.text(asyncssh.EXTENDED_DATA_STDERR)),
            truncated=output.truncated,
        )

    async def _await_end(self, output: _Output, command: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._connection.create_session(lambda: output, command, encoding=None, env={}, send_env=[])
                await output.ended.wait()
        except TimeoutError:
            raise self._unfinished(output, f"did not answer within {seconds:g} s") from None
        except (asyncssh.Error, OSError) as error:
            raise self._unfinished(output, f"ended the session ({_words(error)})") from error
        finally:
            if output.channel is not None and not output.ended.is_set():
                output.channel.abort()

    @asynccontextmanager
    async def _slot(self, slots: asyncio.Semaphore, output: _Output, *, wait: float | None, patience: float | None) -> AsyncIterator[None]:
        """One of `slots`. It is free again when the host has closed the channel, which it does when the command has ended, at the
        latest `patience` seconds after nobody waits for that any more. Raises Transient when none was free within `wait` seconds.
        """
        try:
            async with asyncio.timeout(wait):
                await slots.acquire()
        except TimeoutError:
            raise Transient(f"host {self._name} still runs earlier commands that do not end, so no other was sent to it") from None
        try:
            yield
        finally:
            if output.channel is None or output.ended.is_set():
                slots.release()
            else:
                lingering = asyncio.create_task(_free(slots, output, patience))
                self._lingering.add(lingering)
                lingering.add_done_callback(self._lingering.discard)

    def _unfinished(self, output: _Output, what: str) -> Transient | OutcomeUnknown:
        if output.sent:
            return OutcomeUnknown(f"host {self._name} {what} after the command had been sent: it may have run")
        return Transient(f"host {self._name} {what} before the command was sent")

    async def close(self) -> None:
        """Ends the connection, politely for a second."""
        self._connection.close()
        try:
            async with asyncio.timeout(1):
                await self._connection.wait_closed()
        except TimeoutError:
            self._connection.abort()

    def drop(self) -> None:
        """Ends the connection without waiting."""
        self._connection.close()


async def _free(slots: asyncio.Semaphore, output: _Output, patience: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await output.ended.wait()
    slots.release()


async def connect(name: str, options: HostOptions) -> Link:
    """A connection to the host that the settings call `name`.

    Raises Refused when the settings, the host's key or the account do not allow one, Transient when the host did not answer.
    """
    known = await _known_hosts(name, options)
    client = _Presented()
    place = f"host {name} ({options.address}:{options.port})"
    try:
        connection = await asyncssh.connect(
            options.address,
            options.port,
            config=None,
            known_hosts=known,
            server_host_key_algs=_algorithms(options, known),
            x509_trusted_certs=None,
            x509_trusted_cert_paths=[],
            username=options.user,
            client_keys=[_private_key(name, options)],
            client_certs=[],
            agent_path=None,
            agent_identities=None,
            agent_forwarding=False,
            pkcs11_provider=None,
            preferred_auth=["publickey"],
            password=None,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_kex=False,
            gss_auth=False,
            tunnel=None,
            proxy_command=None,
            x11_forwarding=False,
            request_pty=False,
            connect_timeout=options.connect_timeout,
            login_timeout=options.connect_timeout,
            keepalive_interval=options.keepalive,
            keepalive_count_max=3,
            client_factory=lambda: client,
        )
    except TimeoutError as error:
        raise Transient(f"{place} did not answer within {options.connect_timeout:g} s") from error
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise _untrusted(place, options, known, client.fingerprint, error) from error
    except asyncssh.PermissionDenied as error:
        raise Refused(
            f"{place} does not accept the key {options.private_key_file} for user {options.user}:"
            " add its public half to that account's authorized_keys"
        ) from error
    except (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported) as error:
        raise Refused(f"{place} does not speak SSH as expected: {_words(error)}; check address and port") from error
    except (asyncssh.Error, OSError) as error:
        raise Transient(f"{place} cannot be reached: {_words(error)}") from error
    except ValueError as error:
        raise Refused(f"{place}: the settings do not allow a connection: {_words(error)}") from error
    return Link(name, connection, options.concurrency)


def _private_key(name: str, options: HostOptions) -> asyncssh.SSHKey:
    if not options.private_key_file:
        raise Refused(f"host {name} has no private_key_file in the settings: name the key that Mendstream is to offer")
    try:
        return asyncssh.read_private_key(Path(options.private_key_file).expanduser())
    except OSError as error:
        raise Refused(f"the private key of host {name} cannot be read: {error.strerror} ({options.private_key_file})") from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise Refused(
            f"the private key of host {name}, {options.private_key_file}, cannot be used:"
            " it must be in OpenSSH's form and without a passphrase"
        ) from error


def _read_known_hosts(path: str) -> asyncssh.SSHKnownHosts:
    return asyncssh.read_known_hosts(str(Path(path).expanduser()))


async def _known_hosts(name: str, options: HostOptions) -> asyncssh.SSHKnownHosts:
    """The parsed file. As an object it counts as given even when it is empty, unlike an empty list or text."""
    if not options.known_hosts:
        raise Refused(
            f"host {name} has no known_hosts in the settings, and Mendstream connects to no host whose key it cannot check:"
            f" put the host's key into a file (`ssh-keyscan -p {options.port} {options.address}`, compared with the key on the host)"
            " and name that file"
        )
    try:
        return await asyncio.to_thread(_read_known_hosts, options.known_hosts)
    except OSError as error:
        raise Refused(f"the known_hosts file of host {name} cannot be read: {error.strerror} ({options.known_hosts})") from error
    except ValueError as error:
        raise Refused(f"the known_hosts file of host {name}, {options.known_hosts}, is not in OpenSSH's form: {_words(error)}") from error


def _matching(options: HostOptions, known: asyncssh.SSHKnownHosts) -> tuple[list[asyncssh.SSHKey], bool]:
    """The keys that the file holds for the host, and whether it names an authority whose signature is enough."""
    keys, authorities, *_ = known.match(options.address, "", None if options.port == SSH_PORT else options.port)
    return list(keys), bool(authorities)


def _algorithms(options: HostOptions, known: asyncssh.SSHKnownHosts) -> str | tuple[()]:
    """Those of the known keys first, then the usual ones: so that a host with another kind of key shows it, and it can be named."""
    keys, authority = _matching(options, known)
    if authority or not keys:
        return ()
    trusted = dict.fromkeys(algorithm.decode() for key in keys for algorithm in key.sig_algorithms)
    return ",".join((*trusted, _USUAL_ALGORITHMS))


def _untrusted(place: str, options: HostOptions, known: asyncssh.SSHKnownHosts, fingerprint: str, error: Exception) -> Refused:
    """Why the host's key was not taken: not known, not the known one, or no way to agree on keys at all."""
    keys, authority = _matching(options, known)
    if isinstance(error, asyncssh.KeyExchangeFailed) and "host key" not in str(error).lower():
        return Refused(f"{place} and Mendstream have no way in common to encrypt: {_words(error)}")
    shown = f"the key it shows is {fingerprint}" if fingerprint else _words(error)
    if keys or authority:
        return Refused(
            f"{place} does not show the key that {options.known_hosts} holds for it ({shown}):"
            " it was installed anew, or somebody is in between. Nothing was sent."
            " Find out which, on the host itself, before you change that file"
        )
    return Refused(
        f"{place} is not in {options.known_hosts} ({shown}): compare that with `ssh-keygen -lf` of the host's key, on the host itself,"
        " then add its line"
    )


def _words(error: BaseException) -> str:
    return clean(str(error) or type(error).__name__, 300)
