"""What waits while Mendstream is stopped: nothing is lost, and nothing is decided."""

from __future__ import annotations

from bus.handler import Retry
from sql.database import Connection
from sql.switch import SwitchState, hold

_LOOK_AGAIN = 1.0  # seconds


async def wait_while_stopped(connection: Connection) -> SwitchState:
    """The switch, which stays as it is until the transaction ends. Raises Retry while it is thrown: the event waits."""
    switch = await hold(connection)
    if switch.stopped:
        raise Retry(_LOOK_AGAIN, switch.said)
    return switch
