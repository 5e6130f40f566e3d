"""The spool: nothing is answered before it is on disk, and after any death it is there (I1)."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from structlog.typing import EventDict

from pool import spool as spools
from pool.records import Record, Reject, Share
from pool.spool import Spool, SpoolError

REPOSITORY = Path(__file__).resolve().parents[2]
_decode = msgspec.msgpack.Decoder(list[Record]).decode


def share(number: int) -> Share:
    return Share(number, 1, "s17", number, b"\xff" * 32, bytes(80))


def records_in(spool: Spool, after: int = 0) -> list[Record]:
    return [record for _, payload in spool.rows_after(after, 1 << 30) for record in _decode(payload)]


class Miner:
    """A session, as far as the spool knows one."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []

    def acknowledge(self, answer: bytes) -> None:
        self.answers.append(answer)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "spool.db"


def opened(path: Path, seen: list[int] | None = None) -> Spool:
    """A spool; `seen` gets the number of records of each commit."""
    return Spool(
        path, asyncio.get_running_loop(), lambda _, records: None if seen is None else seen.append(records)
    )


@pytest_asyncio.fixture
async def spool(path: Path) -> AsyncIterator[Spool]:
    made = opened(path)
    yield made
    await made.close()


async def test_i1_an_answered_share_can_be_read_by_another_process_at_once(spool: Spool, path: Path) -> None:
    class Looking(Miner):
        rows = -1

        def acknowledge(self, answer: bytes) -> None:
            super().acknowledge(answer)
            with sqlite3.connect(path) as other:
                (self.rows,) = other.execute("SELECT count(*) FROM row").fetchone()

    miner = Looking()
    spool.append(share(1), miner, b"true")
    assert miner.answers == []
    await until(lambda: miner.answers == [b"true"])
    assert miner.rows == 1
    assert records_in(spool) == [share(1)]


async def test_records_given_together_are_one_commit_and_answers_keep_their_order(path: Path) -> None:
    seen: list[int] = []
    spool = opened(path, seen)
    miner = Miner()
    for number in range(100):
        spool.append(share(number), miner, b"%d" % number)
        spool.queue(miner, b"-")
    await until(lambda: len(miner.answers) == 200)
    assert miner.answers == [answer for number in range(100) for answer in (b"%d" % number, b"-")]
    assert seen == [100]
    assert records_in(spool) == [share(number) for number in range(100)]
    await spool.close()


async def test_commits_follow_one_another_in_order(spool: Spool) -> None:
    miner = Miner()
    for number in range(60):
        spool.append(share(number), miner, b"%d" % number)
        await asyncio.sleep(random.random() * 0.006)
    await until(lambda: len(miner.answers) == 60)
    assert miner.answers == [b"%d" % number for number in range(60)]
    assert records_in(spool) == [share(number) for number in range(60)]
    rows = spool.rows_after(0, 1 << 30)
    assert 1 < len(rows) <= 60
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))


async def test_an_answer_without_a_record_waits_for_nothing_but_its_turn(spool: Spool) -> None:
    miner = Miner()
    spool.queue(miner, b"pong")
    await until(lambda: miner.answers == [b"pong"])
    assert records_in(spool) == []


async def test_a_record_without_an_answer_becomes_durable(spool: Spool) -> None:
    called: list[str] = []
    spool.append(Reject(1, 1, "", "stale"))
    spool.when_durable(lambda: called.append("durable"))
    assert called == []
    await until(lambda: called == ["durable"])
    assert records_in(spool) == [Reject(1, 1, "", "stale")]


async def test_i1_while_the_disk_refuses_nothing_is_answered_and_nothing_is_dropped(
    spool: Spool, path: Path, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    monkeypatch.setattr(spools, "RETRY_SECONDS", 0.02)
    spool._writer.execute("PRAGMA max_page_count = 1")  # SQLite then says what it says on a full disk
    miner = Miner()
    for number in range(400):
        spool.append(share(number), miner, b"%d" % number)
    await until(lambda: spool.failing)
    spool.append(share(400), miner, b"400")
    await asyncio.sleep(0.1)
    assert miner.answers == []
    assert spool.last_seq == 0
    assert [(one["event"], one["reason"]) for one in told] == [
        ("spool_commit_failed", "database or disk is full")
    ], "told once"
    spool._writer.execute("PRAGMA max_page_count = 1000000")
    await until(lambda: len(miner.answers) == 401)
    assert miner.answers == [b"%d" % number for number in range(401)]
    assert records_in(spool) == [share(number) for number in range(401)]
    assert not spool.failing


async def test_i1_a_lock_of_another_process_delays_the_answer_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "RETRY_SECONDS", 0.02)
    spool = opened(path)
    spool._writer.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    miner = Miner()
    spool.append(share(1), miner, b"true")
    await until(lambda: spool.failing)
    assert miner.answers == []
    other.execute("ROLLBACK")
    other.close()
    await until(lambda: miner.answers == [b"true"])
    assert [seq for seq, _ in spool.rows_after(0, 1)] == [1]
    await spool.close()


async def test_a_stop_while_the_disk_refuses_gives_up_what_was_not_answered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "RETRY_SECONDS", 0.02)
    spool = opened(path)
    spool._writer.execute("PRAGMA max_page_count = 1")
    miner = Miner()
    for number in range(400):
        spool.append(share(number), miner, b"true")
    await until(lambda: spool.failing)
    await asyncio.wait_for(spool.close(), 5)
    assert miner.answers == []


async def test_one_session_that_fails_does_not_cost_the_others_their_answers(spool: Spool) -> None:
    class Broken:
        def acknowledge(self, answer: bytes) -> None:
            raise ConnectionError("gone")

    miner, called = Miner(), []
    spool.append(share(1), Broken(), b"true")
    spool.append(share(2), miner, b"true")
    spool.when_durable(lambda: called.append(1))
    await until(lambda: miner.answers == [b"true"] and called == [1])
    spool.append(share(3), miner, b"again")
    await until(lambda: miner.answers == [b"true", b"again"])


async def test_a_stop_commits_and_answers_what_is_pending(path: Path) -> None:
    spool = opened(path)
    miner = Miner()
    for number in range(5):
        spool.append(share(number), miner, b"true")
    await spool.close()
    assert miner.answers == [b"true"] * 5
    again = opened(path)
    assert len(records_in(again)) == 5
    await again.close()


async def test_rows_identity_and_settings_outlive_a_restart(path: Path) -> None:
    spool = opened(path)
    miner = Miner()
    spool.append(share(1), miner, b"true")
    spool.remember("gateway_number", b"7")
    spool.remember("gateway_number", b"8")
    await spool.close()
    again = opened(path)
    assert (again.identity, again.last_seq, again.depth) == (spool.identity, 1, 1)
    assert (again.recall("gateway_number"), again.recall("nothing")) == (b"8", None)
    assert records_in(again) == [share(1)]
    await again.close()


async def commit(spool: Spool, number: int) -> None:
    miner = Miner()
    spool.append(share(number), miner, b"true")
    await until(lambda: bool(miner.answers))


async def test_numbers_are_never_used_again_after_a_trim(path: Path) -> None:
    spool = opened(path)
    for number in range(3):
        await commit(spool, number)
    spool.trim(3)
    assert spool.depth == 0
    await commit(spool, 3)
    assert [seq for seq, _ in spool.rows_after(0, 1 << 20)] == [4], (
        "the trimmed rows left with the next commit"
    )
    spool.trim(4)
    await commit(spool, 4)
    spool.trim(5)
    await spool.close()
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM row")
    again = opened(path)
    assert (again.last_seq, again.depth) == (5, 0)
    await commit(again, 5)
    assert [seq for seq, _ in again.rows_after(0, 1 << 20)] == [6]
    await again.close()


async def test_a_trim_beyond_the_end_or_back_is_harmless(spool: Spool) -> None:
    for number in range(3):
        await commit(spool, number)
    spool.trim(10)
    assert spool.depth == 0
    spool.trim(1)
    assert spool.depth == 0
    await commit(spool, 3)
    assert spool.depth == 1
    assert [seq for seq, _ in spool.rows_after(0, 1 << 20)] == [4]


async def test_rows_are_read_in_order_and_in_pieces(spool: Spool) -> None:
    for number in range(5):
        await commit(spool, number)
    rows = spool.rows_after(0, 1 << 20)
    size = len(rows[0][1])
    assert spool.rows_after(0, 0) == rows[:1], "at least one"
    assert spool.rows_after(1, 2 * size) == rows[1:3]
    assert spool.rows_after(5, 1 << 20) == []


async def test_a_reader_on_another_thread_sees_whole_rows_while_writing_goes_on(spool: Spool) -> None:
    miner = Miner()
    seen: list[int] = []
    sizes: set[int] = set()

    def read() -> int:
        rows = spool.rows_after(0, 1 << 30)
        sizes.update(len(_decode(payload)) for _, payload in rows)
        seen.append(len(rows))
        return len(rows)

    for number in range(30):
        for _ in range(10):
            spool.append(share(number), miner, b"true")
        spool.remember("number", b"%d" % number)
        answered = 10 * number + 10
        await asyncio.gather(
            asyncio.to_thread(read),
            until(lambda answered=answered: len(miner.answers) == answered),  # type: ignore[misc]
        )
    read()
    assert seen == sorted(seen)
    assert seen[-1] == 30
    assert sizes == {10}


@pytest.mark.parametrize("content", [b"", b"not a database, whatever its name says" * 100])
async def test_a_path_that_cannot_be_a_spool_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    if content:
        (tmp_path / "spool.db").write_bytes(content)
    else:
        (tmp_path / "spool.db").mkdir()
    with pytest.raises(SpoolError, match=r"spool\.db.*data_dir"):
        opened(tmp_path / "spool.db")


APPEND_FOR_EVER = """
import asyncio, os, sys
from pathlib import Path
from pool.records import Share
from pool.spool import Spool

class Miner:
    def acknowledge(self, answer):
        os.write(1, answer)

async def run():
    spool = Spool(Path(sys.argv[1]), asyncio.get_running_loop(), lambda seconds, records: None)
    miner, number = Miner(), int(sys.argv[2])
    while True:
        for _ in range(20):
            number += 1
            spool.append(Share(number, 1, "s17", 1, bytes(32), bytes(80)), miner, b"%d\\n" % number)
        if spool.last_seq % 7 == 0:
            spool.trim(spool.last_seq - 5)
        await asyncio.sleep(0.001)

asyncio.run(run())
"""


def killed(path: Path, number: int, after: float) -> list[int]:
    """The numbers that a process answered, from `number` on, until it was killed `after` its first answer."""
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(path), str(number)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(after)
        process.kill()
        return [int(line) for line in (first + process.stdout.read()).split()]


async def test_i1_kill_9_loses_nothing_that_was_answered(path: Path) -> None:
    number, chance, last_seq = 0, random.Random(9), 0
    for _ in range(5):
        answered = await asyncio.to_thread(killed, path, number, chance.random() * 0.15)
        assert answered == list(range(number + 1, answered[-1] + 1))
        spool = opened(path)
        kept = [record.at_us for record in records_in(spool)]
        assert kept == list(range(kept[0], kept[-1] + 1)), "each once, in order"
        assert kept[-1] >= answered[-1]
        assert spool.last_seq > last_seq
        number, last_seq = kept[-1], spool.last_seq
        await spool.close()
