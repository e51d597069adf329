"""Alerts that are late, wrong, about nothing, or over before anybody signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapters.kubernetes.resources import Resource
from ops.sandbox.kubectl import settled, waiting
from schemas import events as e
from schemas.action import Investigate, RestartWorkload, RollBackWorkload
from schemas.target import Kind, Target
from schemas.words import Disposition
from tests.scenarios.place import Place
from tests.scenarios.restarts import restarted
from tests.scenarios.rollouts import back_to, broken_rollout
from tests.scenarios.scenario import Ended, Result, Stand, asked, healed, judged_as_useless, scenario
from tests.scenarios.story import Story

RBAC = Path(__file__).parents[2] / "compose" / "rbac.yaml"
_IN_A_NAMESPACE = ("mendstream-reader", "mendstream-healer")


@scenario("flapping pod, heals itself")
async def flapping(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:flap")
    await stand.place.until(web, waiting("CrashLoopBackOff"))
    await stand.place.until(web, settled)
    story = await stand.fire("KubePodCrashLooping", web)
    await story.proposed(Investigate)
    await story.until(e.VerificationFinished)
    resolved = await story.resolve()
    assert resolved.disposition is Disposition.SELF_RESOLVED, resolved.disposition
    assert not story.told(e.PeopleAsked)
    return Ended(result=Result.ALONE, how="only looked; self-resolved")


async def caught_flapping(stand: Stand, *, severity: str = "info") -> tuple[Story, Target]:
    """A pod that was looked at while it crashed, which it does for some four seconds: where the look came later, another one flaps."""
    for number in range(1, 11):
        web = await stand.place.deploy(f"web-{number}", "sim/web:flap")
        await stand.place.until(web, waiting("CrashLoopBackOff"))
        story = await stand.fire("KubePodCrashLooping", web, severity=severity)
        if isinstance((await story.until(e.ActionProposed)).action, RestartWorkload):
            return story, web
        await stand.begin_again()
    raise AssertionError("ten pods flapped, and none was looked at before it was well")


@scenario("flapping pod that flaps again after a restart", twin=True)
async def flapping_for_good(stand: Stand) -> Ended:
    story, web = await caught_flapping(stand)
    # Each of its pods crashes twice before it runs: well at the end, and not steady.
    return await judged_as_useless(story, "restarted", restarted(web))


@scenario("resolved while it waits for signatures")
async def resolved_while_waiting(stand: Stand) -> Ended:
    story, web = await caught_flapping(stand, severity="critical")
    await story.requested(2)
    await stand.place.until(web, settled)
    resolved = await story.resolve()
    assert resolved.disposition is Disposition.SELF_RESOLVED, resolved.disposition
    await story.until(e.ApprovalWithdrawn)
    return Ended(result=Result.ALONE, how="withdrawn; self-resolved")


@scenario("a person rejects", twin=True)
async def rejected(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    story = await stand.fire("KubePodCrashLooping", web, severity="critical")
    await story.reject(await story.requested(2))
    told = await story.until(e.ActionRejected)
    return Ended(result=Result.PEOPLE, how=f"rejected by {told.person}")


@scenario("the workload is gone", twin=True)
async def gone(stand: Stand) -> Ended:
    await stand.place.running("api", "sim/web:ok")
    gone = Target(cluster="", kind=Kind.DEPLOYMENT, name="checkout", namespace=stand.place.namespace)
    story = await stand.fire("KubePodCrashLooping", gone)
    return await asked(story, "gone", "checkout")


@scenario("the labels misspell the target", twin=True)
async def misspelled(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    wrong = Target(cluster="", kind=Kind.DEPLOYMENT, name="webb", namespace=web.namespace)
    story = await stand.fire("KubePodCrashLooping", wrong)
    return await asked(story, "nearest", "web")


@scenario("the labels name another workload, which is well", twin=True)
async def wrong_target(stand: Stand) -> Ended:
    await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    api = await stand.place.running("api", "sim/web:ok")
    story = await stand.fire("KubePodCrashLooping", api)
    await story.proposed(Investigate)
    await story.until(e.VerificationFinished)
    return Ended(result=Result.ALONE, how="only looked, for it is well")


@scenario("the roles of compose/rbac.yaml suffice: crash after a rollout")
async def offered_roles(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    offered = [role["rules"] for role in yaml.safe_load_all(RBAC.read_text()) if role["metadata"]["name"] in _IN_A_NAMESPACE]
    assert len(offered) == len(_IN_A_NAMESPACE)
    await _role(stand.place, [rule for rules in offered for rule in rules])
    story = await stand.fire("KubePodCrashLooping", web, cluster="limited")
    await story.proposed(RollBackWorkload)
    return await healed(story, "rolled back, as reader and healer of this namespace alone", back_to(web, "sim/web:ok"))


@scenario("the identity may not do it", twin=True)
async def limited(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    await _role(stand.place, [{"verbs": ["get", "list"], "apiGroups": ["", "apps", "policy", "autoscaling"], "resources": ["*"]}])
    story = await stand.fire("KubePodCrashLooping", web, cluster="limited")
    held = await story.until(e.ActionHeld)
    assert held.rule == "preflight", held
    return await asked(story, f"patch deployments.apps in {web.namespace}")


async def _role(place: Place, rules: list[dict[str, Any]]) -> None:
    """What the limited user may do in this namespace, and nothing else."""
    group = "rbac.authorization.k8s.io"
    await place.kubectl.create(Resource(group, "v1", "roles"), place.namespace, {"metadata": {"name": "mend"}, "rules": rules})
    binding = {
        "metadata": {"name": "mend"},
        "roleRef": {"kind": "Role", "apiGroup": group, "name": "mend"},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "limited"}],
    }
    await place.kubectl.create(Resource(group, "v1", "rolebindings"), place.namespace, binding)
