"""What lies before an approver: a check that passed with a warning is no plain pass, and the warning stands at the top."""

from __future__ import annotations

from datetime import timedelta

from adapters.kubernetes.gitops import gitops_check
from ops.cli.dossier import pages
from ops.facts.dossier import Dossier
from ops.facts.way_back import Now, Origin, WayBack
from schemas.action import Action, RestartWorkload, ScaleWorkload
from schemas.codec import decode, encode
from schemas.events import ActionProposed
from schemas.evidence import GitOps
from schemas.preflight import Check
from schemas.words import ApprovalState, CheckResult, Mode, Risk, Severity, Source
from sql.approvals import ApprovalRow
from tests.unit.snapshots import NOW, TARGET

ARGO = GitOps(tool="Argo CD", application="shop")
EXISTS = Check(name="target", result=CheckResult.PASSED, detail="deployment shop/api has UID u")
REVERTED = "managed by Argo CD application shop: it will revert this change, unless the repository is changed as well"


def shown(action: Action, *checks: Check, **inputs: object) -> dict[str, str]:
    row = ApprovalRow(
        id="a",
        proposal="p",
        incident="i",
        place=TARGET.key,
        action=action,
        action_hash="h",
        target=TARGET,
        target_uid="u",
        severity=Severity.P2,
        risk=Risk.MEDIUM,
        needed=1,
        state=ApprovalState.WAITING,
        expires_at=NOW + timedelta(minutes=60),
        requested_at=NOW,
        automatic=False,
        proposer="mendstream",
        rule="risk",
        mode=Mode.AUTO,
        trust_score=0,
        inputs={"situation": {"proven": True}, **inputs},
        evidence="",
        checks=checks,
    )
    way_back = WayBack(action=None, says="it has no inverse", origin=Origin.NONE, now=Now.NOT_YET)
    return dict(pages(Dossier(approval=row, way_back=way_back, signatures=(), incident=None, evidence=None), NOW))


def test_a_change_that_a_gitops_tool_will_revert_passes_with_a_warning_that_stands_before_the_rest() -> None:
    action = ScaleWorkload(target=TARGET, replicas=3)
    found = shown(action, EXISTS, gitops_check(action, ARGO))
    assert found["warning"] == f"gitops: {REVERTED}"
    assert list(found).index("warning") == 2, "after what would be done, and to what"
    assert found["checks"].split("\n") == [f"passed: target: {EXISTS.detail}", f"passed, with a warning: gitops: {REVERTED}"]


def test_what_no_tool_reverts_has_no_warning() -> None:
    action = RestartWorkload(target=TARGET)
    for tool in (ARGO, None):
        found = shown(action, gitops_check(action, tool))
        assert found["warning"] == ""
        assert found["checks"].startswith("passed: gitops: ")


def test_the_warning_is_kept_with_the_check() -> None:
    action = ScaleWorkload(target=TARGET, replicas=3)
    header = {"id": "e", "key": TARGET.key, "at": NOW, "by": "t", "incident": "i"}
    told = ActionProposed(
        **header,  # type: ignore[arg-type]
        action=action,
        severity=Severity.P2,
        source=Source.TEMPLATE,
        provider="",
        proposer="mendstream",
        confidence=1.0,
        reasons=(),
        evidence="s",
        target_uid="u",
        checks=(EXISTS, gitops_check(action, ARGO)),
    )
    kept = decode(encode(told))
    assert isinstance(kept, ActionProposed)
    assert [check.warning is True for check in kept.checks] == [False, True]


def test_what_a_language_model_suggests_is_shown_as_its_own() -> None:
    found = shown(RestartWorkload(target=TARGET), EXISTS, source="model", provider="small-1", confidence=1.0, cached=True)
    assert found["source"] == "a language model (small-1), which decides nothing, proposed by mendstream, confidence 1.00, from cache"
