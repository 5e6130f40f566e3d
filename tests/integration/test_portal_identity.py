"""`/.well-known/dmpool.json`, and that what the portal tells a reader to do verifies the pool."""

from __future__ import annotations

import asyncio
import html
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import create_engine, migrate
from pool.log_keeper import log_key_file
from reporting.checkpoint import parse_checkpoint
from reporting.note import parse_key, parse_note, verified
from tests.conftest import Furnish
from tests.integration.log_world import LogWorld
from tests.integration.portal_visitor import Visitor
from tests.integration.portal_world import VKEY, a_month, serving_portal
from tests.integration.web_world import KEY

OPEN = ("", "log", "verify", "addresses", "sign-in")


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("portal", a_month)
    return "portal"


@pytest_asyncio.fixture
async def told(furnish: Furnish) -> dict[str, Any]:
    """Tokens, and files of the ledger."""
    found: dict[str, Any] = await furnish("portal", a_month)
    return found


@pytest_asyncio.fixture
async def empty(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database of a pool that has nothing yet."""
    made = create_engine(empty_database_url)
    await migrate(made)
    yield made
    await made.dispose()


async def test_the_commands_of_the_page_verify_the_pool(
    engine: AsyncEngine, told: dict[str, Any], tmp_path: Path
) -> None:
    """The reader does what the page says, in a shell, with his token and the key that he was given."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine: apt-get install curl")
    async with serving_portal(engine, tmp_path, told["files"]) as site:
        page = (await Visitor(site).get("/portal/en/verify")).text
        commands = [
            html.unescape(one) for one in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.S)
        ]
        assert len(commands) == 5
        place = tmp_path / "reader"
        place.mkdir()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told_of = {**os.environ, "PATH": path, "KEY": KEY.public_key, "TOKEN": told["tokens"]["ministry"]}

        async def shell(script: str, **changed: str) -> tuple[int, str]:
            running = await asyncio.create_subprocess_exec(
                *("bash", "-euc", script),
                cwd=place,
                env={**told_of, **changed},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await running.communicate()
            return running.returncode or 0, output.decode()

        code, output = await shell("\n".join(commands[:4]))
        assert code == 0, output
        assert "dmpool_verify.py: OK" in output
        assert "none failed" in output
        code, output = await shell(commands[2], KEY="ab" * 32)
        assert code != 0, output


async def test_well_known_says_who_the_pool_is(
    engine: AsyncEngine, told: dict[str, Any], tmp_path: Path
) -> None:
    base = "https://dmp.example"
    async with serving_portal(engine, tmp_path, told["files"], public_url=base) as site:
        code, headers, body = await site.get("/.well-known/dmpool.json")
        assert code == 200
        found = msgspec.json.decode(body)
        kept, _, _ = await site.get("/.well-known/dmpool.json", **{"If-None-Match": headers["ETag"]})
        assert kept == 304
        _, _, checkpoint = await site.get("/log/checkpoint")
        _, _, sums = await site.get("/verifier/SHA256SUMS")
    assert found["pool"] == {
        "name": "Tengri Digital Pool LLP",
        "bin": "230440000105",
        "chain": "regtest",
        "accreditation": {"number": "KZ00DMP0001", "issued_on": "2026-01-01", "valid_to": None},
        "timezone": "+05:00",
    }
    assert [one["public_key"] for one in found["report_keys"]["in_force"]] == [KEY.public_key]
    assert found["log"]["vkeys"][0] == told["files"][VKEY].decode().strip()
    keys = [parse_key(one) for one in found["log"]["vkeys"]]
    note = parse_note(checkpoint)
    assert len(verified(note, keys)) == 2, "the log's own key, and the one that signs reports"
    assert parse_checkpoint(note.text).origin == found["log"]["origin"]
    assert found["verifier"]["sha256"] in sums.decode()
    assert found["log"]["checkpoint"] == f"{base}/log/checkpoint"
    assert found["portal"]["kk"] == f"{base}/portal/kk/"


@pytest.mark.parametrize("wrong", ["", "no key", "dmpool/230440000105/main+00000000+AQ=="])
async def test_well_known_names_no_key_that_did_not_sign(
    engine: AsyncEngine, told: dict[str, Any], tmp_path: Path, wrong: str
) -> None:
    async with serving_portal(engine, tmp_path, {VKEY: wrong.encode()}) as site:
        found = msgspec.json.decode((await site.get("/.well-known/dmpool.json"))[2])
        (tmp_path / VKEY).unlink()
        assert msgspec.json.decode((await site.get("/.well-known/dmpool.json"))[2]) == found
    assert [parse_key(one).public_key.hex() for one in found["log"]["vkeys"]] == [KEY.public_key]


async def test_well_known_of_a_pool_that_has_nothing_yet(tmp_path: Path, empty: AsyncEngine) -> None:
    async with serving_portal(empty, tmp_path, {}) as site:
        found = msgspec.json.decode((await site.get("/.well-known/dmpool.json"))[2])
        visitor = Visitor(site)
        for path in OPEN:
            assert (await visitor.get(f"/portal/kk/{path}")).code == 200, path
    assert found["pool"]["accreditation"] is None
    assert (found["report_keys"]["in_force"], found["log"]["vkeys"]) == ([], [])


async def test_the_public_half_of_the_logs_key_follows_a_key_that_was_replaced(
    tmp_path: Path, empty: AsyncEngine
) -> None:
    log = LogWorld(empty, tmp_path)
    await log.add()
    await log.advance()
    told = tmp_path / VKEY
    assert told.read_text() == f"{log.key}\n"
    log_key_file(log.settings).unlink()
    vkey = await log.keeper.replace_key("the disk died")
    log.restart()
    await log.advance()
    assert told.read_text() == f"{vkey}\n"
