"""What `mend doctor` looks at: each dependency, permission and setting, what is wrong with it and how to mend it."""

from __future__ import annotations

from ops.examination.finding import Finding, Level
from ops.examination.whole import examine

__all__ = ["Finding", "Level", "examine"]
