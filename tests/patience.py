"""How long a test waits for what must come: no test asserts speed, and a machine may be slow, or busy with other tests."""

PATIENCE = 90.0
"""Seconds. What has not come by then never will."""
