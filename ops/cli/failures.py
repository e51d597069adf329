"""How anything that goes wrong becomes one sentence on stderr and an exit code; a traceback only where it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

WRONG = 1
USAGE = 2
INTERRUPTED = 130
_PACKAGES = ("ops", "bus", "sql", "adapters", "schemas", "stages")


def guarded(work: Callable[[], int]) -> int:
    """Runs `work`; returns its exit code, or that of what went wrong after saying it."""
    try:
        return _written(work())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the command: whatever it is, people get a sentence
        return told(error)


def _written(code: int) -> int:
    """Writes what waits to be written here, where a reader that has gone away can still be dealt with."""
    sys.stdout.flush()
    return code


def told(error: Exception) -> int:
    """Says what went wrong; returns the exit code."""
    from ops.errors import SettingsWrong
    from schemas.text import clean, printable

    if os.environ.get("MEND_TRACEBACK"):
        import traceback

        print(clean("".join(traceback.format_exception(error)), 16000), file=sys.stderr)
    if isinstance(error, SettingsWrong):
        sentence = printable(str(error))
    elif _is_ours(error):
        sentence = clean(str(error))
        if remedy := _remedy(error):
            sentence = f"{sentence.rstrip('.')}. {remedy}"
    else:
        sentence = f"unexpected {type(error).__name__}: {clean(str(error), 300)} (MEND_TRACEBACK=1 shows where)"
    print(f"mend: {sentence}", file=sys.stderr)
    return WRONG


def _remedy(error: Exception) -> str:
    """What to do about a store that is away; every other message of ours says it itself."""
    store = {"BusUnavailable": "redis.url", "StoreUnavailable": "postgres.url"}.get(type(error).__name__)
    if store is None:
        return ""
    return f"Is its server running, and does {store} name it? `mend doctor` looks at everything"


def _is_ours(error: Exception) -> bool:
    """Whether the message was written for an operator: an error of one of our packages."""
    return any(kind.__module__.endswith(".errors") and kind.__module__.split(".")[0] in _PACKAGES for kind in type(error).__mro__)
