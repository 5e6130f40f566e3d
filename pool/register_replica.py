"""A gateway's own copy of the register, on its own disk.

With it a gateway starts, and keeps to what it knew, while PostgreSQL is away (I6). It holds the newest
version of each record of the kinds that a gate needs, and the number and hash of the event up to which it is
true.
Losing it is no harm: it is filled anew from PostgreSQL.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

import structlog

from register.records import decode
from register.register import Register

log = structlog.get_logger(__name__)

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS record (
        kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS head (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        seq INTEGER NOT NULL, sha256 TEXT NOT NULL, at_us INTEGER NOT NULL
    );
"""

Version = tuple[str, str, str]
"""Kind, key and body of a record."""


class ReplicaError(Exception):
    """The copy cannot be kept. The message names the file and what to do."""


class RegisterReplica:
    """The copy. Its methods block on the disk: call them in a thread. One at a time goes to work."""

    def __init__(self, path: Path) -> None:
        """Raises ReplicaError."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = self._opened()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def load(self) -> Register | None:
        """What is known; None when nothing was ever stored, or it cannot be read (by this version)."""
        with self._lock:
            try:
                return self._read()
            except sqlite3.OperationalError as error:
                raise self._error(error) from error
            except sqlite3.DatabaseError as error:
                log.error("register_copy_damaged", reason=str(self._error(error)), explained="begun anew")
                self._connection.close()
                self._connection = self._begun_anew()
                return None
            except ValueError:
                return None  # another version wrote it

    def _read(self) -> Register | None:
        head = self._connection.execute("SELECT seq, sha256, at_us FROM head").fetchone()
        if head is None:
            return None
        register = Register()
        for kind, key, body in self._connection.execute("SELECT kind, key, body FROM record"):
            register.put(kind, key, decode(kind, body))
        register.seq, register.sha256, register.at_us = head
        return register

    def store(
        self, head: tuple[int, str, int], versions: Iterable[Version], *, since: int, anew: bool
    ) -> None:
        """Take the newer versions behind event `since`, true up to the event `head` (seq, sha256, at_us).

        `anew` drops all others. Raises ReplicaError, also when the copy does not reach to `since`: what lies
        between would be missing for good.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                if anew:
                    self._connection.execute("DELETE FROM record")
                else:
                    self._require_reach(since)
                self._connection.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", versions)
                self._connection.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", head)
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise self._error(error) from error

    def _require_reach(self, since: int) -> None:
        (held,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM head").fetchone()
        if held < since:
            raise sqlite3.IntegrityError(f"it holds event {held} and is given what came behind {since}")

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.error("register_copy_damaged", reason=str(self._error(error)), explained="begun anew")
            return self._begun_anew()

    def _begun_anew(self) -> sqlite3.Connection:
        """The damaged file stays beside the new one, for whoever wants to know what happened to the disk."""
        self._path.replace(self._path.with_suffix(".damaged"))
        for tail in ("-wal", "-shm"):
            self._path.with_name(self._path.name + tail).unlink(missing_ok=True)
        return _connect(self._path)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _error(self, error: sqlite3.Error) -> ReplicaError:
        return ReplicaError(
            f"register copy {self._path}: {error}; give data_dir a healthy, writable disk; the file is "
            f"filled anew from PostgreSQL when it is gone"
        )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
