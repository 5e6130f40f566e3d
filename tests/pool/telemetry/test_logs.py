"""The log: one event is one line whatever is in it, no secret is told, and its failure stops nothing."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pool.door_limits import Buckets
from pool.telemetry import concealed, floods, logs
from pool.telemetry.floods import LINES
from pool.telemetry.logs import LogsSection, debugging, set_up, tell_crashes

Lines = Callable[[], list[str]]
log = structlog.get_logger("pool.of_this_test")

HOSTILE = 'altai.rig\n{"level":"error"}\r\n\x1b[2J\x1b]0;title\x07\u2028\u202egnp.exe\x9b31m\ud800\x00'


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(concealed, "_known", set())
    monkeypatch.setattr(concealed, "_pattern", None)
    yield
    set_up(LogsSection(format="console"))


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What was said since the last look."""
    return lambda: capsys.readouterr().err.split("\n")[:-1]


def as_json(level: Any = "info") -> None:
    assert set_up(LogsSection(format="json", level=level), ["web", "gateway"])
    structlog.configure(cache_logger_on_first_use=False)  # as for a command: this process goes on


def one(lines: Lines) -> dict[str, Any]:
    (line,) = lines()
    told: dict[str, Any] = json.loads(line)
    return told


def test_a_line_says_when_how_bad_what_and_who(lines: Lines) -> None:
    as_json()
    log.warning("payout_waits", payout=7, reason="no coins", path=Path("/a"), share=0.5, odd=float("nan"))
    told = one(lines)
    assert list(told)[:6] == ["timestamp", "level", "event", "logger", "roles", "pid"]
    assert told["timestamp"].endswith("Z")
    assert told["roles"] == ["gateway", "web"]
    assert (told["level"], told["event"], told["logger"]) == ("warning", "payout_waits", "pool.of_this_test")
    values = {key: told[key] for key in ("payout", "reason", "path", "share", "odd")}
    assert values == {"payout": 7, "reason": "no coins", "path": "/a", "share": 0.5, "odd": "nan"}


@pytest.mark.parametrize(
    ("section", "terminal", "production", "json_wanted"),
    [
        (LogsSection(), False, False, True),
        (LogsSection(), True, False, False),
        (LogsSection(), True, True, True),
        (LogsSection(format="console"), False, True, False),
        (LogsSection(format="json"), True, False, True),
    ],
)
def test_a_program_reads_json_and_a_person_does_not(
    section: LogsSection, terminal: bool, production: bool, json_wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert set_up(section, production=production) is json_wanted


VALUES = st.recursive(
    st.text() | st.integers() | st.floats() | st.binary(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
)


@given(
    st.text(st.characters(exclude_categories=())),
    VALUES,
)
@example(HOSTILE, HOSTILE)
@example("x" * 100_000, ["y" * 100_000])
@example("://a:" * 3000, "password=" * 2000)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_one_event_is_one_line_whatever_strangers_send(lines: Lines, text: str, value: object) -> None:
    as_json()
    log.info("share_rejected", worker=text, value=value)
    logging.getLogger("library").warning("%s", text)
    said = lines()
    assert len(said) == 2
    for line in said:
        assert json.loads(line)["level"] in ("info", "warning")
        assert len(line) < 80_000
        line.encode()
        assert not [sign for sign in line if sign < " " or "\x7f" <= sign <= "\x9f" or sign in "\u2028\u202e"]
    set_up(LogsSection(format="console"))
    log.info("share_rejected", worker=text)
    assert len(lines()) == 1


def test_an_exception_is_data_and_its_locals_are_not_told(lines: Lines) -> None:
    as_json()
    hidden_local = "the-value-of-a-local"
    try:
        try:
            raise ValueError(f"line one\nline two {len(hidden_local)}")  # noqa: TRY301
        except ValueError as error:
            raise RuntimeError("the outer one") from error
    except RuntimeError:
        log.exception("task_failed", task="ledger")
    told = one(lines)
    assert told["level"] == "error"
    outer, inner = told["exception"]
    assert (outer["exc_type"], inner["exc_type"]) == ("RuntimeError", "ValueError")
    assert inner["exc_value"] == "line one\\nline two 20"
    assert outer["frames"][-1]["name"] == "test_an_exception_is_data_and_its_locals_are_not_told"
    assert hidden_local not in json.dumps(told)


def test_a_person_sees_the_traceback(lines: Lines) -> None:
    set_up(LogsSection(format="console"))
    try:
        raise ValueError(HOSTILE)  # noqa: TRY301
    except ValueError:
        log.exception("task_failed")
    said = lines()
    assert "Traceback" in said[1]
    assert "\x1b" not in "".join(said)


def test_records_of_libraries_and_crashes_come_out_in_the_same_form(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_json()
    logging.getLogger("asyncio").error("first\nsecond", exc_info=ValueError("three"))
    told = one(lines)
    assert (told["event"], told["logger"], told["message"]) == ("library_says", "asyncio", "first\\nsecond")
    assert told["exception"][0]["exc_value"] == "three"
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("anything").debug("select 1")
    assert lines() == [], "what libraries chat about is not told"
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    tell_crashes()
    error = ValueError("nobody caught it")
    sys.excepthook(ValueError, error, None)
    assert one(lines)["event"] == "process_failed"
    thread = threading.Thread(target=lambda: int("no number"), name="writer")
    thread.start()
    thread.join()
    told = one(lines)
    assert (told["event"], told["thread"], told["level"]) == ("thread_failed", "writer", "error")


SECRETS = ("s3cret/p@ss", "__cookie__:0badc0de", "dmpool_reg_AbCdEf", "short")


def test_no_secret_is_told_in_whatever_form_a_library_quotes_it(lines: Lines) -> None:
    as_json()
    concealed.conceal_credentials("postgresql://dmpool:s3cret%2Fp%40ss@db/dmpool")
    concealed.conceal(*SECRETS[1:])
    pair = "ZG1wb29sOnMzY3JldC9wQHNz"  # dmpool:s3cret/p@ss
    log.error(
        "database_away",
        reason=f"{SECRETS[0]} s3cret%2Fp%40ss {pair}",
        nested=[{"deep": (SECRETS[1],)}, OSError(SECRETS[2])],
        node="http://someone:short@127.0.0.1:8332/",
        header="Authorization: Bearer abcdefghijkl",
        token="anything",
        wallet_password="anything",
        words="password=hunter2 at the end",
        query="GET /x?access_token=hunter3&a=1 api_key=hunter4 {'db_password': 'hunter5 hunter6'}",
        bot="https://api.example/bot12345:AAbbCCddEEffGGhhIIjjKKll/sendMessage",
        odd="postgresql://dmpool:hunter7@hunter8@db/dmpool",
    )
    try:
        raise ValueError(f"cannot use {SECRETS[1]}")  # noqa: TRY301
    except ValueError:
        log.exception("node_failed")
    said = "\n".join(lines())
    for secret in (*SECRETS[:3], "s3cret", "short@", "hunter", "GGhhII", "anything", "abcdefghijkl", pair):
        assert secret not in said
    assert said.count(concealed.MARK) >= 10
    assert "127.0.0.1:8332" in said, "what is no secret stays"


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    as_json()

    class Full:
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError("no words")

    log.info("unspeakable", value=Unspeakable())
    monkeypatch.setattr(sys, "stderr", Full())
    log.info("unheard")


def test_debug_is_asked_for(lines: Lines) -> None:
    as_json()
    log.debug("share_accepted")
    assert (lines(), debugging()) == ([], False)
    as_json("debug")
    log.debug("share_accepted")
    assert (one(lines)["level"], debugging()) == ("debug", True)
    logging.getLogger("asyncpg").debug("what a driver was given")
    assert lines() == []
    assert logs.LEVELS.keys() == set(LogsSection.model_json_schema()["properties"]["level"]["enum"])


def test_a_flood_of_strangers_is_told_in_part_and_counted(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = [0.0]
    monkeypatch.setattr(floods, "Buckets", partial(Buckets, clock=lambda: ticks[0]))
    as_json()
    library = logging.getLogger("uvicorn.error")
    for number in range(500):
        log.info("connection_closed", peer=number)
        library.warning("Invalid HTTP request received.")
        log.info("block_state", height=number)
    told = [json.loads(line) for line in lines()]
    counted = Counter(one["event"] for one in told)
    assert counted == {"connection_closed": LINES, "library_says": LINES, "block_state": 500}
    library.error("Exception in ASGI application")
    assert one(lines)["message"] == "Exception in ASGI application", "another message is another event"
    ticks[0] = 60.0
    log.info("connection_closed", peer=500)
    log.info("connection_closed", peer=501)
    first, second = (json.loads(line) for line in lines())
    assert (first["left_out"], "left_out" in second) == (500 - LINES, False)
    library.warning("Invalid HTTP request received.")
    assert one(lines)["left_out"] == 500 - LINES
    as_json("debug")
    for number in range(2 * LINES):
        log.info("connection_closed", peer=number)
    assert len(lines()) == 2 * LINES, "who follows one connection misses nothing"
