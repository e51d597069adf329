"""Which GitOps tool keeps an object as its repository says, by the marks that Argo CD and Flux leave. Pure functions."""

from __future__ import annotations

from adapters.kubernetes.objects import Metadata
from schemas.action import Action, is_in_repository
from schemas.evidence import GitOps
from schemas.preflight import Check
from schemas.text import clean
from schemas.words import CheckResult

_ARGO, _FLUX = "Argo CD", "Flux"
_TRACKING, _INSTANCE = "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"
_COMMON_INSTANCE = "app.kubernetes.io/instance"
_FLUX_NAMES = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_WRITERS = {
    "argocd-controller": _ARGO,
    "argocd-application-controller": _ARGO,
    "kustomize-controller": _FLUX,
    "helm-controller": _FLUX,
}
_NAME = 120


def gitops_of(metadata: Metadata) -> GitOps | None:
    """The tool and the application that the object belongs to, or None.

    Argo CD: its tracking annotation (only where it names this very object: a copy of it proves nothing), its instance label, or,
    with other marks of Argo CD on the object, the common instance label, which Helm charts set too. Flux: the labels of its
    kustomize and helm controllers. Else the one among those controllers that wrote the object's fields.
    """
    labels, annotations = metadata.labels or {}, metadata.annotations or {}
    tracked = annotations.get(_TRACKING, "").split(":")
    if len(tracked) == 3 and tracked[2] in (f"{metadata.namespace}/{metadata.name}", metadata.name):
        return _named(_ARGO, tracked[0])
    for marks in (annotations, labels):
        if marks.get(_INSTANCE):
            return _named(_ARGO, marks[_INSTANCE])
    for name in _FLUX_NAMES:
        if labels.get(name):
            return _named(_FLUX, labels[name])
    writers = {_WRITERS[field.manager] for field in metadata.managed_fields or () if field.manager in _WRITERS}
    marked = any(name.startswith("argocd.argoproj.io/") and name != _TRACKING for name in (*labels, *annotations))
    if marked or _ARGO in writers:
        return _named(_ARGO, labels.get(_COMMON_INSTANCE, ""))
    return _named(_FLUX, "") if _FLUX in writers else None


def _named(tool: str, application: str) -> GitOps:
    return GitOps(tool=tool, application=clean(application, _NAME))


def gitops_check(action: Action, found: GitOps | None) -> Check:
    """The check `gitops`: never failed, as it is the approver's and the policy's to decide; a warning where this will be reverted."""
    if found is None:
        return Check(name="gitops", result=CheckResult.PASSED, detail="no GitOps tool is known to manage it")
    if not is_in_repository(action):
        detail = f"managed by {found}, whose repository says nothing of what this changes"
        return Check(name="gitops", result=CheckResult.PASSED, detail=detail)
    detail = f"managed by {found}: it will revert this change, unless the repository is changed as well"
    return Check(name="gitops", result=CheckResult.PASSED, detail=detail, warning=True)
