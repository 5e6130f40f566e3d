"""The log of a whole process, as a program reads it: every line is an event, and none tells a secret."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration.free_port import free_port
from tests.integration.pool_process import PROGRAM, PoolProcess
from tests.integration.test_river import until

HUSH = "hush-hush-4711"
"""Whatever is secret in these tests has this in it."""
KEY = "4711" * 16
HOSTILE = (
    'altai.rig1\n{"timestamp":"now","level":"critical","event":"pool_robbed"}',
    "altai.\x1b[2J\x1b]0;owned\x07\u202e\u2028\x00",
    "%0d%0aaltai." + "x" * 300,
    "\ud800",
)
MUST = ("timestamp", "level", "event", "logger", "roles", "pid")
DEBUG = '[logs]\nlevel = "debug"\n'


def events(pool: PoolProcess) -> list[dict[str, Any]]:
    """Every line that is whole by now."""
    told = [json.loads(line) for line in pool.log.split("\n")[:-1]]
    for one in told:
        assert list(one)[: len(MUST)] == list(MUST), one
        assert isinstance(one["event"], str)
        assert one["level"] in ("debug", "info", "warning", "error", "critical")
    return told


def without_secrets(pool: PoolProcess) -> None:
    log = pool.log
    for secret in (HUSH, KEY, "pool_robbed\n", "\x1b", "\u202e", "\u2028", "\x00"):
        assert secret not in log, secret
    assert "%2Fpw" not in log


def named(told: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [one for one in told if one["event"] in names]


async def be_hostile(pool: PoolProcess) -> None:
    """Names that would forge lines, lines that are none, other protocols, and tokens that are nobody's."""
    asks = [{"id": 1, "method": "mining.authorize", "params": [name, HUSH]} for name in HOSTILE]
    submit = {"id": 2, "method": "mining.submit", "params": [HOSTILE[0], HOSTILE[1], "0", "0", "0"]}
    wrong = [
        b"".join(json.dumps(one).encode() + b"\n" for one in (*asks, submit)),
        b'{"id":1,"method":"mining.authorize\\n\\u001b[2J","params":["' + b"\\" * 50 + b'"]}\n{"no\x1b[2J\n',
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\xff\xfe\n" * 20,
        b"[" * 3000 + b"\n",
    ]
    for data in wrong:
        reader, writer = await asyncio.open_connection("127.0.0.1", pool.stratum_port)
        writer.write(data)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await writer.drain()
                writer.write_eof()
                await reader.read()
        writer.close()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{pool.web_port}") as http:
        for path in ("/api/v1/register/head", "/api/v1/reports"):
            for token in (HUSH, f"dmpool_{HUSH}"):
                async with http.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
                    assert answer.status in (401, 403), path


def strangers_forge_nothing(pool: PoolProcess, told: list[dict[str, Any]], status: str) -> None:
    """One block and one connection can be followed, and no stranger was heard as somebody else."""
    without_secrets(pool)
    found = followed(told)[0]
    ask_as_documented(pool.directory / "log", found)
    authorised = [one for one in named(told, "worker_authorised") if one["connection"] == found["connection"]]
    assert [one["worker"] for one in authorised] == [found["worker"]]
    altai = next(one for one in named(told, "worker_authorised") if one["account"] == "altai")
    assert altai["connection"] in status
    refused = [one for one in named(told, "worker_refused") if one["worker"] != "nobody.rig1"]
    assert len({one["connection"] for one in refused}) == 1, "each connection has its own name"
    assert {one["worker"].partition("\\")[0] for one in refused} >= {"altai.rig1", "altai."}
    assert {one["event"] for one in told} >= {
        "started",
        "connection_opened",
        "connection_closed",
        "wrong_token",
    }
    assert named(told, "task_failed", "session_failed", "process_failed", "connection_failed") == []


def followed(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The `block_found` of those whose whole way is in the log, in its order."""
    complete = []
    for found in named(told, "block_found"):
        way = [one["event"] for one in told if one.get("block") == found["block"]]
        if [name for name in way if name in WAY][:4] == list(WAY):
            complete.append(found)
    return complete


def ask_as_documented(log: Path, found: dict[str, Any]) -> None:
    """The lines of the page, where there is a jq, with this log in the place of the journal."""
    page = (Path(__file__).parents[2] / "docs" / "operate" / "logs.md").read_text("utf-8")
    asked = re.findall(r"^    journalctl [^|]+?(?:\\\n\s*)?(\| jq .*)$", page, re.MULTILINE)
    assert len(asked) == 4
    if shutil.which("jq") is None:
        return
    for written in asked:
        line = re.sub('block == "[^"]+"', f'block == "{found["block"]}"', written)
        line = re.sub('connection == "[^"]+"', f'connection == "{found["connection"]}"', line)
        shell = ["sh", "-c", f"cat {log} {line}"]
        answer = subprocess.run(shell, check=True, capture_output=True, text=True).stdout
        if "==" in line and "level" not in line:
            events = {json.loads(one)["event"] for one in answer.splitlines()}
            assert "block_found" in events
        elif "uniq" in line:
            assert re.search(r"^ +\d+ block_found$", answer, re.MULTILINE)


WAY = ("block_found", "block_submitted", "block_split", "block_state")


class Refusing(BaseHTTPRequestHandler):
    """A node whose password is another one."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def refusing() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


async def test_what_fails_at_the_start_is_told_without_its_secrets(
    tmp_path: Path, refusing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong node password, a cookie that is no node's, PostgreSQL that is not there."""
    monkeypatch.setenv("REPORT_KEY", KEY)
    cookie = tmp_path / "cookie"
    cookie.write_text(f"__cookie__:{HUSH}")
    nodes = [
        f'[[nodes]]\nurl = "http://rpc:{HUSH}%2Fpw@127.0.0.1:{refusing}"\n',
        f'[[nodes]]\nurl = "http://127.0.0.1:{refusing}"\ncookie_file = "{cookie}"\n',
        '[signing]\n[[signing.keys]]\nenvironment = "REPORT_KEY"\n',
        DEBUG,
    ]
    away = f"postgresql://dmpool:{HUSH}%2Fpw@127.0.0.1:{free_port()}/dmpool"
    pool = PoolProcess(tmp_path, away, nodes=nodes)
    with (tmp_path / "log").open("ab") as log:
        pool.process = subprocess.Popen(
            [PROGRAM, "run", "--config", str(pool.config)], stdout=log, stderr=log
        )

    async def told() -> bool:
        return {one["event"] for one in events(pool)} >= {"node_failed", "database_away"}

    try:
        await until(told, "what fails", 30)
    finally:
        pool.process.send_signal(signal.SIGINT)
        assert pool.process.wait(30) == 0, pool.log
    without_secrets(pool)
    said = [one["reason"] for one in named(events(pool), "node_failed")]
    for remedy in ("compare user and password", f"is {cookie} the cookie"):
        assert any(remedy in reason for reason in said), said
