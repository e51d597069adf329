"""The version of this installation."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of_mendstream() -> str:
    """Such as 0.1.0; `unknown` in a checkout that is not installed."""
    try:
        return version("mendstream")
    except PackageNotFoundError:
        return "unknown (not installed)"
