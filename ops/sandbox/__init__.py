"""A small simulated Kubernetes cluster for the demo, for `mend up --sandbox` and for tests.

It speaks the real REST paths, so that the adapter that heals real clusters runs against it unchanged.
"""

from __future__ import annotations

from ops.sandbox.kubectl import Kubectl
from ops.sandbox.server import Sandbox

__all__ = ["Kubectl", "Sandbox"]
