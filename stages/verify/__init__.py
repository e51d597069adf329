"""verify: looks again after an execution, and judges before against after on what was really measured."""

from __future__ import annotations

from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage

__all__ = ["VerifyOptions", "VerifyStage"]
