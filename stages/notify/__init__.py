"""notify: tells people what happened and what is wanted of them, over every channel, each at its own pace."""

from __future__ import annotations

from stages.notify.options import NotifyOptions
from stages.notify.stage import Notify

__all__ = ["Notify", "NotifyOptions"]
