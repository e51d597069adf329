"""What is used of processors and memory, as a cluster itself tells it."""

from __future__ import annotations

import msgspec


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """What a container of a pod, or a whole node, uses now: cores and bytes, None where the answer could not be read.

    `of` is the pod's or the node's name; `container` is empty for a node.
    """

    of: str
    container: str = ""
    cpu: float | None = None
    memory: int | None = None
