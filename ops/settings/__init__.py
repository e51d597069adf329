"""Settings: one TOML file and the environment, as frozen structs."""

from __future__ import annotations

from ops.settings.model import ClusterSettings, PersonSettings, Settings
from ops.settings.reading import Loaded, load
from ops.settings.shape import secrets_in

__all__ = ["ClusterSettings", "Loaded", "PersonSettings", "Settings", "load", "secrets_in"]
