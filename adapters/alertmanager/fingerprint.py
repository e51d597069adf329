"""The fingerprint of labels, computed as Alertmanager does, for senders that leave it out."""

from __future__ import annotations

from collections.abc import Mapping

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_SEPARATOR = b"\xff"


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """64-bit FNV-1a, in 16 hex digits, over the labels in the order of their names (`LabelSet.Fingerprint` of prometheus/common)."""
    digest = _OFFSET
    for name in sorted(labels, key=str.encode):
        for byte in name.encode() + _SEPARATOR + labels[name].encode() + _SEPARATOR:
            digest = ((digest ^ byte) * _PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"
