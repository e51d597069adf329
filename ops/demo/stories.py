"""The three stories: what breaks, what is posted, and what must have happened before the next one begins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.kubernetes.resources import BY_KIND, Resource
from ops.demo.feed import Feed
from ops.demo.payloads import webhook
from ops.demo.pipeline import DemoFailed, Pipeline
from ops.demo.screen import Screen
from ops.sandbox import Kubectl
from ops.sandbox.kubectl import settled, unready, waiting
from schemas import events as e
from schemas.action import RestartWorkload, RollBackWorkload
from schemas.event import Event
from schemas.target import Kind, Target
from schemas.words import Verdict

NAMESPACE = "shop"
DATABASE = "database"
_CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps")


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a story ended. `seconds` from the alert to the verdict; trust is that of the action's pattern, before and after."""

    title: str
    incident: str
    action: str
    verdict: Verdict
    seconds: float
    trust_before: int
    trust_after: int


class Stage(msgspec.Struct, frozen=True):
    """Where the stories play: the pipeline, its events, the cluster and the screen."""

    pipeline: Pipeline
    feed: Feed
    kubectl: Kubectl
    screen: Screen


class Alert:
    """One alert about one deployment, fired and later resolved through the webhook."""

    def __init__(self, stage: Stage, name: str, severity: str, target: Target, summary: str) -> None:
        self._stage = stage
        self.labels = {
            "alertname": name,
            "severity": severity,
            "namespace": target.namespace,
            "deployment": target.name,
        }
        self._summary = summary
        self._starts_at = datetime.now(UTC)
        self.incident = ""

    async def fire(self) -> None:
        """Posts it; returns when its incident is open."""
        await self._stage.pipeline.post(webhook(self.labels, self._summary, starts_at=self._starts_at))
        name = self.labels["alertname"]
        opened = await self._stage.feed.until(
            e.IncidentOpened, lambda event: event.alert == name and event.at >= self._starts_at, f"an incident for {name}"
        )
        self.incident = opened.incident

    async def resolve(self) -> None:
        """Posts the resolved notification; returns when the incident has resolved."""
        payload = webhook(self.labels, self._summary, starts_at=self._starts_at, ends_at=datetime.now(UTC))
        await self._stage.pipeline.post(payload)
        await self.until(e.IncidentResolved, "the incident to resolve")

    async def until(self, kind: type[Any], what: str) -> Any:
        """The first event of a kind that belongs to this alert's incident."""
        return await self._stage.feed.until(kind, lambda event: event.incident == self.incident, what)


async def rollout(stage: Stage) -> Ending:
    """A crash after a bad rollout is rolled back and verified, without people."""
    stage.screen.title("1. A rollout crashes. Low risk, small blast radius: Mendstream rolls it back alone.")
    web = await stage.kubectl.deploy(NAMESPACE, "web", "web:1.0", replicas=2, service=True)
    await stage.kubectl.until(web, settled)
    await stage.kubectl.set_image(web, "web:crash")
    await stage.kubectl.until(web, waiting("CrashLoopBackOff"))
    alert = Alert(stage, "KubePodCrashLooping", "info", web, "web is crash looping")
    await alert.fire()
    ending = await _ended(stage, alert, "bad rollout", RollBackWorkload, Verdict.SUCCESS)
    await alert.resolve()
    return ending


async def wedge(stage: Stage) -> Ending:
    """A wedged service is restarted, after two different people have signed."""
    stage.screen.title("2. A critical service is wedged. Two different people must sign before it is restarted.")
    checkout = await _checkout(stage)
    stage.screen.say("  checkout is deployed and well; in some eight seconds it will hang")
    await stage.kubectl.until(checkout, unready)
    alert = Alert(stage, "CheckoutWedged", "critical", checkout, "checkout answers no health checks")
    await alert.fire()
    requested: e.ApprovalRequested = await alert.until(e.ApprovalRequested, "the request for signatures")
    if requested.signatures != 2:
        raise DemoFailed(f"two signatures were expected, {requested.signatures} are asked for")
    for person, token in stage.pipeline.tokens.items():
        sign = ("approvals", "sign", requested.approval, "--as", person, "--comment", "seen on the dashboard")
        stage.screen.say(f"  {person} signs, with a token of their own in MEND_PERSON_TOKEN:")
        stage.screen.command(f"mend approvals sign {requested.approval} --as {person}")
        await stage.pipeline.mend(*sign, token=token)
    ending = await _ended(stage, alert, "wedged service", RestartWorkload, Verdict.SUCCESS)
    await alert.resolve()
    return ending


async def outage(stage: Stage) -> Ending:
    """The database behind it is gone: a restart does not help, so it is verified as failed, trust falls and people are asked."""
    stage.screen.title("3. Its database is gone. A restart cannot help; Mendstream says so, loses trust and asks people.")
    checkout = Target(cluster="", kind=Kind.DEPLOYMENT, namespace=NAMESPACE, name="checkout")
    await stage.kubectl.patch(_CONFIG_MAPS, NAMESPACE, DATABASE, {"data": {"HOST": None}})
    await stage.kubectl.until(checkout, waiting("CrashLoopBackOff"))
    alert = Alert(stage, "CheckoutCrashLooping", "info", checkout, "checkout is crash looping")
    await alert.fire()
    ending = await _ended(stage, alert, "database gone", RestartWorkload, Verdict.FAILED)
    await alert.until(e.PeopleAsked, "people to be asked")
    return ending


async def _checkout(stage: Stage) -> Target:
    """A deployment whose web container wedges 8 s after each start, and whose pool crashes without its database."""
    await stage.kubectl.create(_CONFIG_MAPS, NAMESPACE, {"metadata": {"name": DATABASE}, "data": {"HOST": "db-1"}})
    host = {"name": "HOST", "valueFrom": {"configMapKeyRef": {"name": DATABASE, "key": "HOST"}}}
    containers = [{"name": "web", "image": "checkout:wedge-8s"}, {"name": "pool", "image": "pool:asks-HOST", "env": [host]}]
    labels = {"app": "checkout"}
    body = {
        "metadata": {"name": "checkout", "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    await stage.kubectl.create(BY_KIND[Kind.DEPLOYMENT], NAMESPACE, body)
    checkout = Target(cluster="", kind=Kind.DEPLOYMENT, namespace=NAMESPACE, name="checkout")
    await stage.kubectl.until(checkout, settled)
    return checkout


async def _ended(stage: Stage, alert: Alert, title: str, action: type[Any], verdict: Verdict) -> Ending:
    """Waits for the verdict and the trust that follows from it; raises DemoFailed when the story is another one than told."""
    verified: e.VerificationFinished = await alert.until(e.VerificationFinished, "the verification")
    if not isinstance(verified.action, action) or verified.verdict is not verdict:
        raise DemoFailed(
            f"{title}: expected {action.__name__} with {verdict}, got {type(verified.action).__name__} with {verified.verdict}"
        )
    trust: e.TrustChanged = await alert.until(e.TrustChanged, "the change of trust")
    return Ending(
        title=title,
        incident=alert.incident,
        action=verified.action.verb,
        verdict=verified.verdict,
        seconds=_seconds(stage.feed.events(alert.incident), verified),
        trust_before=trust.before,
        trust_after=trust.after,
    )


def _seconds(events: list[Event], verified: Event) -> float:
    """From the first event of the incident, which is its alert's, to the verdict."""
    return (verified.at - events[0].at).total_seconds()
