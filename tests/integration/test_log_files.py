"""The published files: whole whatever breaks off, the same again, served as C2SP tlog-tiles says (I7)."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import log_api, log_files
from pool.database import create_engine
from pool.log_files import LogFiles, Written
from pool.log_keeper import log_key_file
from pool.log_store import LogError
from reporting.log_check import check_log
from reporting.note import parse_note
from reporting.tiles import served, tiles_of
from tests.integration.log_world import LogWorld, serving_web
from tests.integration.web_world import Site


@pytest_asyncio.fixture
async def log(engine: AsyncEngine, tmp_path: Path) -> LogWorld:
    return LogWorld(engine, tmp_path)


async def fill(log: LogWorld, count: int) -> None:
    """Leaves by the database itself, hundreds at once."""
    async with log.engine.begin() as connection:
        await connection.execute(
            sa.text(
                """
                INSERT INTO log_leaf
                SELECT n, nullif(n, 0) - 1, 'report', n, data, sha256('\\x00'::bytea || data)
                FROM (SELECT coalesce(max(index) + 1, 0) AS size FROM log_leaf) AS so_far,
                    generate_series(size, size + :count - 1) AS n,
                    convert_to('{"n":' || n || '}', 'UTF8') AS data
                """
            ),
            {"count": count},
        )


def whole(log: LogWorld) -> bool:
    """Whether a stranger finds all of it in order."""
    checks = check_log(lambda path: log.files().get(path), [log.key])
    return all(check.passed for check in checks)


async def test_what_is_published_is_what_the_specification_names(log: LogWorld) -> None:
    await fill(log, 3)
    await log.advance()
    assert sorted(log.files()) == ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"]
    await fill(log, 297)
    await log.advance()
    assert sorted(log.files()) == [
        "checkpoint",
        *("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"),
    ]
    assert whole(log)
    assert len(log.files()["tile/0/000"]) == 8192
    await fill(log, 1)
    await log.advance()
    # Whoever still holds the checkpoint of 300 finds its tiles.
    assert {"tile/0/001.p/44", "tile/0/001.p/45"} <= set(log.files())


async def test_the_same_database_gives_the_same_bytes(log: LogWorld) -> None:
    for count in (3, 254, 1, 260):
        await fill(log, count)
        await log.advance()
    before = log.files()
    assert set(before) == {"checkpoint", *(tile.path for tile in served([3, 257, 258, 518]))}
    assert await log.keeper.files.publish() == Written([], [])
    shutil.rmtree(log.directory)
    again = await log.keeper.files.publish()
    assert again.written[-1] == "checkpoint"
    assert log.files() == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_step_leaves_a_whole_log_and_the_next_run_the_right_one(
    log: LogWorld, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Whatever file is the last that was written: the published checkpoint finds all that it speaks of."""
    await fill(log, 250)
    await log.advance()
    await fill(log, 20)
    real = log_files.write_durably
    left = [0]

    def crashing(path: Path, content: bytes) -> None:
        if left[0] == 0 and not after:
            raise ZeroDivisionError
        real(path, content)
        if left[0] == 0:
            raise ZeroDivisionError
        left[0] -= 1

    monkeypatch.setattr(log_files, "write_durably", crashing)
    for step in range(8):
        left[0] = step
        try:
            await log.keeper.advance()
        except ZeroDivisionError:
            size = int(log.files()["checkpoint"].split(b"\n")[1])
            assert size in (250, 270)
            assert whole(log)
    assert size == (270 if after else 250)
    monkeypatch.setattr(log_files, "write_durably", real)
    await log.advance()
    kept = log.files()
    assert b"\n270\n" in kept["checkpoint"]
    shutil.rmtree(log.directory)
    await log.keeper.files.publish()
    assert log.files() == kept


async def test_a_crash_between_checkpoint_and_tidying_is_mended(
    log: LogWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(log, 250)
    await log.advance()
    await fill(log, 20)
    with monkeypatch.context() as patch:
        patch.setattr(log_files, "_remove_outgrown", lambda *given: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await log.keeper.advance()
    assert whole(log)
    (log.directory / "tile" / "0" / "000.p" / ".7.part").write_bytes(b"half")
    written = await log.keeper.files.publish()
    assert written.removed == ["tile/0/000.p/.7.part", "tile/0/000.p/250", "tile/entries/000.p/250"]
    assert not list(log.directory.glob("tile/*0/000.p/*"))
    assert not (log.directory / "tile" / "entries" / "000.p").exists()


async def test_a_file_that_was_changed_is_written_anew(log: LogWorld, told: list[EventDict]) -> None:
    await fill(log, 300)
    await log.advance()
    before = log.files()
    (log.directory / "tile" / "0" / "000").write_bytes(bytes(8192))
    (log.directory / "checkpoint").write_bytes(b"nonsense")
    (log.directory / "tile" / "entries" / "001.p" / "44").write_bytes(b"cut")
    assert not whole(log)
    log.restart()
    written = await log.keeper.files.publish()
    assert written.written == ["tile/entries/001.p/44", "tile/0/000", "checkpoint"]
    assert log.files() == before
    assert {one["event"] for one in told} == {"log_file_changed", "log_checkpoint_damaged"}


async def test_an_older_state_of_the_database_does_not_take_a_checkpoint_back(log: LogWorld) -> None:
    """A replica that lags, or one restored with all leaves: what is published stays."""
    await fill(log, 4)
    await log.advance()
    before = log.files()
    async with log.engine.begin() as connection:
        await connection.execute(sa.text("ALTER TABLE log_checkpoint DISABLE TRIGGER ALL"))
    root = (await log.tree()).root(3)
    note = parse_note(before["checkpoint"])
    text = note.text.replace("\n4\n", "\n3\n").encode()
    async with log.engine.begin() as connection:
        await connection.execute(
            sa.text("UPDATE log_checkpoint SET size = 3, root = :root, note = :note"),
            {"root": root, "note": _with_root(text, root, note.encode())},
        )
    assert await log.keeper.files.publish() == Written([], [])
    assert log.files() == before


def _with_root(text: bytes, root: bytes, note: bytes) -> bytes:
    lines = text.split(b"\n")
    lines[2] = base64.b64encode(root)
    return b"\n".join(lines) + b"\n" + note.partition(b"\n\n")[2]


async def test_a_directory_of_another_log_is_left_alone(log: LogWorld) -> None:
    await fill(log, 1)
    await log.advance()
    told = log.files()["checkpoint"].replace(
        b"dmpool/230440000105/regtest\n", b"dmpool/940140000385/main\n", 1
    )
    (log.directory / "checkpoint").write_bytes(told)
    with pytest.raises(LogError, match="it holds the log dmpool/940140000385/main"):
        await log.keeper.files.publish()


async def test_two_processes_publish_at_once(log: LogWorld) -> None:
    await fill(log, 300)
    await log.advance()
    shutil.rmtree(log.directory)
    others = [LogFiles(log.engine, log.settings.data_dir) for _ in range(3)]
    written = await asyncio.gather(*(one.publish() for one in others))
    assert sorted(len(one.written) for one in written) == [0, 0, 6]
    assert whole(log)


# Served


@pytest_asyncio.fixture
async def site(log: LogWorld, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(log_api, "REFRESH_SECONDS", 0)
    async with serving_web(log.engine, log) as made:
        yield made


FOREVER = "public, max-age=31536000, immutable"
OTHERS = (
    *("/log/", "/log/tile/", "/log/tile/0/1", "/log/tile/0/001", "/log/tile/entries/000.p/9"),
    *("/log/tile/../../keys/log.key", "/log/tile/0/../../../keys/log.key", "/log/../keys/log.key"),
    *("/log/tile/%2e%2e/%2e%2e/keys/log.key", "/log/tile/..%2f..%2fkeys%2flog.key", "/log/tile/0/000%00"),
    *("/log/tile//etc/passwd", "/log/tile/0/000.p", "/log/tile/0/.000.part", "/log/.log.lock"),
    "/log/tile/" + "0" * 61,
)


async def test_the_files_are_served_with_their_types_and_lifetimes_and_no_others(
    log: LogWorld, site: Site
) -> None:
    assert (await site.get("/log/checkpoint"))[0] == 404
    await fill(log, 300)
    await log.advance()
    status, headers, body = await site.get("/log/checkpoint")
    assert (status, body) == (200, log.files()["checkpoint"])
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("text/plain; charset=utf-8", "no-cache")
    before = log.files()
    for path in set(before) - {"checkpoint"}:
        status, headers, body = await site.get(f"/log/{path}")
        assert (status, body) == (200, before[path])
        assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/octet-stream", FOREVER)
    key = log_key_file(log.settings).read_bytes().strip()
    for path in OTHERS:
        status, _, body = await site.get(path)
        assert status in (404, 422), path
        assert len(body) < 300
        assert key not in body
    # A web server on another machine than the ledger has the files as well.
    shutil.rmtree(log.directory)
    assert (await site.get("/log/checkpoint"))[2] == before["checkpoint"]
    assert log.files() == before


async def test_a_stranger_follows_the_log_over_http(log: LogWorld, site: Site) -> None:
    """With nothing but the address and the key: by what the checkpoint speaks of, and no other path."""
    await fill(log, 300)
    await log.advance()
    old = parse_note((await site.get("/log/checkpoint"))[2])
    await fill(log, 230)
    await log.advance()
    size = int((await site.get("/log/checkpoint"))[2].split(b"\n")[1])
    files = {
        path: await site.get(f"/log/{path}") for path in ["checkpoint", *(t.path for t in tiles_of(size))]
    }
    checks = check_log(lambda path: files[path][2] if files[path][0] == 200 else None, [log.key], old)
    assert [check.passed for check in checks] == [True] * 7
    assert checks[-1].detail == "from 300 entries to 530"


async def test_without_the_database_what_is_there_is_served(log: LogWorld) -> None:
    await fill(log, 3)
    await log.advance()
    away = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    async with serving_web(away, log) as other:
        assert (await other.get("/log/checkpoint"))[2] == log.files()["checkpoint"]
        shutil.rmtree(log.directory)
        assert (await other.get("/log/checkpoint"))[0] == 503
    await away.dispose()
