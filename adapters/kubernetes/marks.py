"""The marks that operations leave on what they change: which operation, with which fencing token, and the few before it.

They are written in the same request as the change itself, under the precondition that nothing else changed the object: so the
mark is there exactly when the change is.
"""

from __future__ import annotations

from collections.abc import Mapping

OPERATION = "mendstream.dev/operation"
TOKEN = "mendstream.dev/token"  # noqa: S105 - a fencing token, not a secret
EARLIER = "mendstream.dev/earlier"
_KEPT = 8


def marked(annotations: Mapping[str, str], operation: str, token: int) -> dict[str, str]:
    """The annotations with the mark of this operation; the one before it joins the earlier ones, eight at most."""
    before = annotations.get(OPERATION, "")
    earlier = [word for word in [before, *annotations.get(EARLIER, "").split(",")] if word and word != operation][:_KEPT]
    return {**annotations, OPERATION: operation, TOKEN: str(token)} | ({EARLIER: ",".join(earlier)} if earlier else {})


def carries(annotations: Mapping[str, str], operation: str, token: int = 0) -> bool | None:
    """Whether the operation left its mark: True, False, or None when so many came later that the mark may be forgotten.

    No mark is forgotten where the newest is older than `token`, the lowest that the operation may have left (0: not known):
    tokens on an object only grow.
    """
    earlier = [word for word in annotations.get(EARLIER, "").split(",") if word]
    if annotations.get(OPERATION) == operation or operation in earlier:
        return True
    return None if len(earlier) >= _KEPT and not 0 < token_of(annotations) < token else False


def token_of(annotations: Mapping[str, str]) -> int:
    """The fencing token of the newest operation; 0 when there was none. A token that is not a number counts as 0."""
    text = annotations.get(TOKEN, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
