"""The ways to a cluster: a kubeconfig, the service account of a pod, or a plain URL. The client library is loaded here, not before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adapters.errors import WrongSettings
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import NoCredentials
from adapters.loopback import LOOPBACK
from schemas.text import clean

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

_CONNECTIONS = 16
_LOAD_SECONDS = 15.0  # for the whole kubeconfig: more than the program that it may name is given


async def by_url(server: str) -> Client:
    """A server without credentials, such as the sandbox. Raises WrongSettings."""
    from kubernetes_asyncio.client import Configuration

    if urlsplit(server).scheme not in ("http", "https"):
        raise WrongSettings(f"{clean(server, 100)!r} is not the URL of an API server: write it as http://HOST:PORT or https://HOST:PORT")
    configuration: Any = Configuration()
    configuration.host = server.rstrip("/")
    return _client(configuration, None)


async def in_cluster() -> Client:
    """The service account of the pod that this runs in. Raises WrongSettings."""
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException, load_incluster_config

    configuration: Any = Configuration()
    try:
        load: Any = load_incluster_config
        load(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise WrongSettings(
            f"this process is not in a pod with a service account ({clean(str(error), 150)}): run it in one, or set a kubeconfig"
        ) from error
    return _client(configuration, None)


async def by_kubeconfig(path: str, context: str = "") -> Client:
    """One context of a kubeconfig file, the current one when `context` is empty.

    Raises WrongSettings, and NoCredentials when the program or the identity provider that it names does not give them now. Once
    there is a client, whatever is wrong with new credentials is NoCredentials: the file was good, and may be again.

    `path` may be a list, as in KUBECONFIG: the files are merged as kubectl merges them.
    """
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import load_kube_config

    place = _existing(path)
    configuration: Any = Configuration()

    async def load() -> None:
        loaded: Any = load_kube_config
        await loaded(config_file=place, context=context or None, client_configuration=configuration, persist_config=False)

    async def renew() -> None:
        try:
            await _explained(load, place, context)
        except WrongSettings as error:
            raise NoCredentials(f"the credentials cannot be renewed: {error}") from error

    await _explained(load, place, context)
    if urlsplit(str(configuration.host)).scheme not in ("http", "https"):
        raise WrongSettings(f"{place}: the cluster's `server` is not a URL: write it as https://HOST:PORT")
    return _client(configuration, renew)


def _existing(paths: str) -> str:
    """Those of the paths (a list, as KUBECONFIG may be one) that are files. Raises WrongSettings when there is none."""
    files = [str(place) for path in paths.split(os.pathsep) if path and (place := Path(path).expanduser()).is_file()]
    if not files:
        raise WrongSettings(f"there is no kubeconfig file {paths}: correct the path, or unset it to run inside a cluster")
    return os.pathsep.join(files)


async def _explained(load: Callable[[], Awaitable[None]], place: str, context: str) -> None:
    """Runs `load`; whatever is wrong with the file becomes one sentence, which never quotes the file's content.

    Raises WrongSettings, and NoCredentials for what may pass by itself.
    """
    from aiohttp import ClientError
    from kubernetes_asyncio.config import ConfigException
    from yaml import YAMLError

    from adapters.kubernetes.plugin import PluginFailed  # from here on, the library runs such programs in our way

    try:
        async with asyncio.timeout(_LOAD_SECONDS):
            await load()
    except PluginFailed as error:
        raise NoCredentials(f"{place}: {error}; try what the kubeconfig has under `exec` by hand") from error
    except (TimeoutError, ClientError) as error:
        why = clean(str(error), 150) or f"no answer within {_LOAD_SECONDS:g} s"
        raise NoCredentials(f"{place}: its identity provider gave no credentials ({why}); is it reachable from here?") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise WrongSettings(f"{place} is not valid YAML{where}: write it again with `kubectl config view --raw`") from error
    except ConfigException as error:
        named = f" for context {context!r}" if context else ""
        why = clean(str(error).replace("Invalid kube-config file. ", "").replace(f" in {place}", ""), 200)
        raise WrongSettings(f"{place} is not a usable kubeconfig{named}: {why}; correct it, or name another context") from error
    except OSError as error:
        raise WrongSettings(
            f"{place} cannot be read: {error.strerror or type(error).__name__}; check the file, and the files and programs it names"
        ) from error
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WrongSettings(
            f"{place} is not a usable kubeconfig: it needs clusters, users, contexts and current-context, each complete"
        ) from error


def _client(configuration: Any, refresh: Callable[[], Awaitable[None]] | None) -> Client:
    """A client; a server on loopback is never reached through a proxy of the environment, and no redirect is followed."""
    from aiohttp import ClientSession
    from kubernetes_asyncio.client import ApiClient

    configuration.connection_pool_maxsize = _CONNECTIONS
    try:
        api: Any = ApiClient(configuration)
    except OSError as error:  # ssl.SSLError is one
        raise WrongSettings(
            f"the certificates for {configuration.host} cannot be used ({clean(str(error), 150)}): correct them in the kubeconfig"
        ) from error
    session: ClientSession = api.rest_client.pool_manager
    if urlsplit(configuration.host).hostname in LOOPBACK:
        # The library's session trusts the environment. Its connector, which has the certificates, goes on in one that does not.
        connector = session.connector
        session.detach()
        session = ClientSession(connector=connector)
    api.rest_client.pool_manager = _Straight(session)
    return Client(api, refresh)


class _Straight:
    """A session that follows no redirect: one would turn a write into a read, whose answer says nothing of the write."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def request(self, **arguments: Any) -> ClientResponse:
        return await self._session.request(**arguments, allow_redirects=False)

    async def close(self) -> None:
        await self._session.close()
