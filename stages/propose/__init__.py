"""propose: looks at what an incident is about and puts one action forward, with its reasons."""

from __future__ import annotations

from stages.propose.options import ProposeOptions
from stages.propose.stage import ProposeStage

__all__ = ["ProposeOptions", "ProposeStage"]
