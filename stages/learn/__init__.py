"""learn: what really happened changes how much the next such action is trusted, and is kept to be found again."""

from __future__ import annotations

from stages.learn.stage import Learn

__all__ = ["Learn"]
