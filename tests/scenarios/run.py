"""All scenarios at the same time: one `mend up`, one control plane, a namespace for each."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from adapters.errors import AdapterError
from ops.errors import OpsError
from ops.sandbox.kubectl import Kubectl
from tests.e2e.sshd import running_host
from tests.scenarios.load import serving
from tests.scenarios.place import Place
from tests.scenarios.scenario import CATALOGUE, Ended, FalseSuccess, Result, Scenario, Stand
from tests.scenarios.story import Mendstream, running

_MODULES = ("rollouts", "restarts", "capacity", "nodes", "hosts", "alerts")
_SHADOW = "shadow mode"
_STARTS = 0.4  # seconds between the starts of two scenarios: all deployments at once are a load that no cluster has

_UNSEEN = (AdapterError, OSError, TimeoutError)  # what looking at the cluster may raise


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one scenario. `wrong` are the things wrongly done; `error` is why it did not go as it should."""

    scenario: Scenario
    result: Result
    how: str = ""
    seconds: float | None = None
    wrong: tuple[str, ...] = ()
    error: str = ""


def catalogue() -> dict[str, Scenario]:
    """Every scenario, by name."""
    for module in _MODULES:
        importlib.import_module(f"tests.scenarios.{module}")
    return CATALOGUE


async def play(names: Iterable[str], kubeconfig: str) -> dict[str, Report]:
    """Runs these scenarios at once; what they left is looked at after the last one has ended, so that a late write is seen."""
    chosen = [catalogue()[name] for name in names]
    run = f"s{secrets.token_hex(3)}"
    spaces = {one.name: f"{run}-{number}" for number, one in enumerate(chosen)}
    kubectl = await Kubectl.at(kubeconfig=kubeconfig)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mend-scenarios-", ignore_cleanup_errors=True)))
        hosts = {one.name: await stack.enter_async_context(running_host(folder / spaces[one.name])) for one in chosen if one.host}
        places = {name: Place(kubectl, space, hosts.get(name)) for name, space in spaces.items()}
        options = {spaces[name]: host.options() for name, host in hosts.items()}
        if any(one.metrics for one in chosen):
            await stack.enter_async_context(serving(kubeconfig))
        try:
            async with running(folder / "mend", kubeconfig, shadow=spaces.get(_SHADOW, "none"), hosts=options) as mendstream:
                return await _all(chosen, places, mendstream)
        finally:
            await asyncio.gather(*(place.close() for place in places.values()), return_exceptions=True)
            await kubectl.close()


async def _all(chosen: list[Scenario], places: dict[str, Place], mendstream: Mendstream) -> dict[str, Report]:
    stands = {one.name: Stand(places[one.name], mendstream) for one in chosen}
    ended = await asyncio.gather(*(_one(one, stands[one.name], number * _STARTS) for number, one in enumerate(chosen)))
    return {one.name: await _report(one, stands[one.name], end) for one, end in zip(chosen, ended, strict=True)}


async def _one(one: Scenario, stand: Stand, wait: float) -> Ended | str:
    """How it ended, or why it did not. Either way what was said of it is held against what is there at that moment."""
    await asyncio.sleep(wait)
    ended = await _played(one, stand)
    try:
        await stand.believe()
    except _UNSEEN as error:
        stand.found.append(f"whether it is well could not be looked at: {error!r}")
    return ended


async def _played(one: Scenario, stand: Stand) -> Ended | str:
    try:
        await stand.place.open()
        return await one.play(stand)
    except FalseSuccess as error:
        stand.found.append(str(error))
        why = str(error)
    except (AssertionError, TimeoutError, OpsError) as error:
        why = str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - one scenario that breaks must not end all others, and is judged like them
        why = repr(error)
    told = ", ".join(type(event).__name__ for event in stand.events())
    return f"{why} (events: {told or 'none'})"


async def _report(one: Scenario, stand: Stand, end: Ended | str) -> Report:
    """Every scenario is judged, also one that broke off; what was wrongly done outweighs all else."""
    ended = None if isinstance(end, str) else end
    try:
        wrong = tuple(await stand.judge(ended))
    except _UNSEEN as unseen:
        wrong = (*stand.found, f"what was done could not be looked at: {unseen!r}")
    if ended is None:
        return Report(scenario=one, result=Result.WRONG if wrong else Result.MISSED, wrong=wrong, error=str(end))
    how = ended.how.replace(f"{stand.place.namespace}/", "")
    return Report(scenario=one, result=Result.WRONG if wrong else ended.result, how=how, seconds=ended.seconds, wrong=wrong)
