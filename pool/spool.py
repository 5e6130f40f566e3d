"""The spool: where a share is on disk before its miner hears `true` (invariant I1).

SQLite in WAL mode with synchronous=FULL. Records are gathered for about ten milliseconds and committed
together by one writer thread (group commit): one row, one fsync, then the answers of that commit leave. A row
stays until PostgreSQL has it. Sequence numbers only grow, also over restarts, so that a row can be told twice
and counted once.

If a commit fails (disk full, say), nothing is answered: the same records are tried again each second and the
miners wait. Nothing is dropped.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import structlog

from pool.records import Record, encode_records, made_us

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.01
"""How long the first record of a commit waits for company."""
RETRY_SECONDS = 1.0
WAITING_LIMIT = 200_000
"""Records, and answers, that may wait for a disk that refuses commits; some 50 MB."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS row (seq INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
"""


class SpoolError(Exception):
    """The spool cannot be opened or read."""


class Acknowledged(Protocol):
    """What the spool needs of a session: somewhere to send an answer that has become true."""

    def acknowledge(self, answer: bytes) -> None:
        """The answer may leave now."""
        ...


class Commit:
    """The records of one group commit, and the answers that leave when they are on disk."""

    __slots__ = ("answers", "durable", "records", "sealed_at")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.answers: list[tuple[Acknowledged, bytes]] = []
        self.durable: list[Callable[[], object]] = []
        self.sealed_at = 0.0


class Spool:
    """The gateway's durable queue."""

    def __init__(
        self, path: Path, loop: asyncio.AbstractEventLoop, on_commit: Callable[[float, int], object]
    ) -> None:
        """Open or create the spool at `path`. `on_commit(seconds, records)` is called after each commit."""
        self._path = path
        self._loop = loop
        self._on_commit = on_commit
        self._open = Commit()
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = False
        self._commits: SimpleQueue[Commit | None] = SimpleQueue()
        self._trim_to = 0
        self._trimmed = 0
        self._reading = threading.Lock()
        self._oldest = (-1, 0)
        """The row before the oldest that is unconfirmed, and when the first record of that one was made."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(path)
            self._writer.executescript(_SCHEMA)
            self._reader = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"spool {path}: {error}; give data_dir a writable directory") from error
        self.identity = self._identity()
        (first,) = self._reader.execute("SELECT min(seq) FROM row").fetchone()
        sequence = self._reader.execute("SELECT seq FROM sqlite_sequence WHERE name='row'").fetchone()
        self._last_seq = sequence[0] if sequence else 0
        self._trim_to = (first - 1) if first is not None else self._last_seq
        self.failing = False
        """True while commits fail and miners wait."""
        self._closing = False
        self._thread = threading.Thread(target=self._write_commits, name="spool", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Rows that PostgreSQL has not confirmed yet."""
        return self._last_seq - self._trim_to

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest durable row; 0 when there never was one."""
        return self._last_seq

    # On the event loop

    def append(self, record: Record, session: Acknowledged | None = None, answer: bytes = b"") -> None:
        """Take a record; when it is durable, `session.acknowledge(answer)` is called."""
        self._open.records.append(record)
        if session is not None:
            self._open.answers.append((session, answer))
        if self._timer is None and not self._in_flight:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._seal)

    @property
    def full(self) -> bool:
        """True when commits have failed for so long that no more may be taken (memory is bounded)."""
        return max(len(self._open.records), len(self._open.answers)) >= WAITING_LIMIT

    async def settled(self) -> None:
        """Return when everything taken so far is on disk and its answers have been given out."""
        done = asyncio.Event()
        self.when_durable(done.set)
        await done.wait()

    def queue(self, session: Acknowledged, answer: bytes) -> None:
        """Send an answer after everything that was given earlier for this session."""
        self._open.answers.append((session, answer))
        if self._timer is None and not self._in_flight:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._seal)

    def when_durable(self, call: Callable[[], object]) -> None:
        """Call on the event loop once what was appended so far is on disk."""
        self._open.durable.append(call)
        if self._timer is None and not self._in_flight:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._seal)

    def trim(self, seq: int) -> None:
        """PostgreSQL has every row up to `seq`: they leave the disk with the next commit."""
        self._trim_to = max(self._trim_to, min(seq, self._last_seq))

    async def close(self) -> None:
        """Commit what is pending, then close. Answers of the last commit still leave.

        While commits fail (disk full, say) nothing pending was answered, so it is given up.
        """
        while (self._open.records or self._open.answers or self._in_flight) and not self.failing:
            if not self._in_flight:
                self._seal()
            await asyncio.sleep(GATHER_SECONDS)
        self._closing = True
        self._commits.put(None)
        await asyncio.to_thread(self._thread.join)
        self._writer.close()
        self._reader.close()

    def _seal(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        commit, self._open = self._open, Commit()
        commit.sealed_at = time.perf_counter()
        self._in_flight = True
        self._commits.put(commit)

    def _committed(self, commit: Commit, seq: int) -> None:
        self._in_flight = False
        self._last_seq = max(self._last_seq, seq)
        self._on_commit(time.perf_counter() - commit.sealed_at, len(commit.records))
        for session, answer in commit.answers:
            try:
                session.acknowledge(answer)
            except Exception:
                log.exception("share_answer_failed", explained="the others of its commit are sent")
        for call in commit.durable:
            call()
        if self._open.answers or self._open.records or self._open.durable:
            self._seal()

    # On the writer thread

    def _write_commits(self) -> None:
        while (commit := self._commits.get()) is not None:
            seq = self._write(commit)
            if seq is None:
                return
            try:
                self._loop.call_soon_threadsafe(self._committed, commit, seq)
            except RuntimeError:
                return  # the loop is gone; what was committed is told to PostgreSQL at the next start

    def _write(self, commit: Commit) -> int | None:
        """The sequence number of the commit's row, 0 for a commit of answers only; None when given up."""
        if not commit.records:
            return 0
        payload = encode_records(commit.records)
        while True:
            try:
                return self._insert(payload)
            except sqlite3.Error as error:
                if not self.failing:
                    log.error(
                        "spool_commit_failed",
                        records=len(commit.records),
                        reason=str(error),
                        explained="trying again; nothing is answered meanwhile",
                    )
                self.failing = True
                if self._closing:
                    return None
                time.sleep(RETRY_SECONDS)

    def _insert(self, payload: bytes) -> int:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            trim_to = self._trim_to
            if trim_to > self._trimmed:
                self._writer.execute("DELETE FROM row WHERE seq <= ?", (trim_to,))
            seq = self._writer.execute("INSERT INTO row (payload) VALUES (?)", (payload,)).lastrowid
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self._trimmed = trim_to
        self.failing = False
        return seq or 0

    # On any thread, blocking

    def rows_after(self, seq: int, limit_bytes: int) -> list[tuple[int, bytes]]:
        """Rows behind `seq`, oldest first, at least one and then up to `limit_bytes` of payload."""
        rows: list[tuple[int, bytes]] = []
        size = 0
        with self._reading:
            cursor = self._reader.execute("SELECT seq, payload FROM row WHERE seq > ? ORDER BY seq", (seq,))
            for row_seq, payload in cursor:
                size += len(payload)
                if rows and size > limit_bytes:
                    break
                rows.append((row_seq, payload))
            cursor.close()
        return rows

    def oldest_us(self) -> int | None:
        """When the oldest record was made that PostgreSQL has not confirmed; None when it has them all."""
        behind = self._trim_to
        if behind >= self._last_seq:
            return None
        if self._oldest[0] != behind:
            with self._reading:
                found = self._reader.execute(
                    "SELECT payload FROM row WHERE seq > ? ORDER BY seq LIMIT 1", (behind,)
                ).fetchone()
            if found is None:
                return None
            self._oldest = behind, made_us(found[0])
        return self._oldest[1]

    def size_bytes(self) -> int:
        """What the spool's files take on the disk."""
        files = (self._path, Path(f"{self._path}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def remember(self, key: str, value: bytes) -> None:
        """Keep a small setting durably."""
        with self._reading:
            self._reader.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> bytes | None:
        """A setting kept earlier; None when there is none."""
        with self._reading:
            row = self._reader.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _identity(self) -> uuid.UUID:
        known = self.recall("identity")
        if known is None:
            known = uuid.uuid4().bytes
            self.remember("identity", known)
        return uuid.UUID(bytes=known)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection
