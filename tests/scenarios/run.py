"""All scenarios at the same time: one `mend up`, one control plane, a namespace for each."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ops.errors import OpsError
from ops.sandbox.kubectl import Kubectl
from tests.scenarios.place import Place
from tests.scenarios.scenario import CATALOGUE, Ended, Result, Scenario, Stand
from tests.scenarios.story import Mendstream, running

_MODULES = ("rollouts", "restarts", "capacity", "nodes", "alerts")
_SHADOW = "shadow mode"
_STARTS = 0.4  # seconds between the starts of two scenarios: all deployments at once are a load that no cluster has


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
    places = {name: Place(kubectl, space) for name, space in spaces.items()}
    with tempfile.TemporaryDirectory(prefix="mend-scenarios-", ignore_cleanup_errors=True) as folder:
        try:
            async with running(Path(folder) / "mend", kubeconfig, shadow=spaces.get(_SHADOW, "none")) as mendstream:
                return await _all(chosen, places, mendstream)
        finally:
            await asyncio.gather(*(place.close() for place in places.values()), return_exceptions=True)
            await kubectl.close()


async def _all(chosen: list[Scenario], places: dict[str, Place], mendstream: Mendstream) -> dict[str, Report]:
    stands = {one.name: Stand(places[one.name], mendstream) for one in chosen}
    ended = await asyncio.gather(*(_one(one, stands[one.name], number * _STARTS) for number, one in enumerate(chosen)))
    return {one.name: await _report(one, stands[one.name], end) for one, end in zip(chosen, ended, strict=True)}


async def _one(one: Scenario, stand: Stand, wait: float) -> Ended | str:
    """How it ended, or why it did not."""
    await asyncio.sleep(wait)
    try:
        await stand.place.open()
        ended = await one.play(stand)
        await stand.believe()
    except (AssertionError, TimeoutError, OpsError) as error:
        told = ", ".join(type(event).__name__ for event in stand.events())
        return f"{error or type(error).__name__} (events: {told or 'none'})"
    return ended


async def _report(one: Scenario, stand: Stand, end: Ended | str) -> Report:
    if isinstance(end, str):
        return Report(scenario=one, result=Result.MISSED, error=end)
    wrong = tuple(await stand.judge(end.expected))
    result = Result.WRONG if wrong else end.result
    how = end.how.replace(f"{stand.place.namespace}/", "")
    return Report(scenario=one, result=result, how=how, seconds=end.seconds, wrong=wrong)
