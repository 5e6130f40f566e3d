"""A real bitcoind of one's own for a test: a private regtest or signet on free ports, gone at the end.

It takes the program of the environment variable BITCOIND, of .cache/bitcoind (`install_bitcoind.sh`), or of
PATH, in this order. It connects to nobody, and only the process that was started here is ever stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pool.bitcoind import Bitcoind
from pool.node import NodeError
from tests.integration.free_port import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
USER = "dmpool"
PASSWORD = "p@ss/word#1"
QUOTED = "p%40ss%2Fword%231"
START_SECONDS = 60


def find_bitcoind() -> Path | None:
    """The program to use, or None where there is none."""
    if named := os.environ.get("BITCOIND"):
        return Path(named)
    cached = REPOSITORY / ".cache" / "bitcoind" / "bin" / "bitcoind"
    if cached.exists():
        return cached
    on_path = shutil.which("bitcoind")
    return Path(on_path) if on_path else None


def bitcoind_or_skip() -> Path:
    """The program to use; skips the test with the remedy where there is none."""
    program = find_bitcoind()
    if program is None:
        pytest.skip("no bitcoind: run tests/integration/install_bitcoind.sh, or set BITCOIND")
    return program


class BitcoindProcess:
    """One bitcoind with its data directory and ports; may be stopped and started again."""

    def __init__(self, program: Path, directory: Path, chain: str, options: Sequence[str] = ()) -> None:
        self.directory = directory
        self.chain = chain
        self.rpc_port = free_port()
        self.zmq_url = f"tcp://127.0.0.1:{free_port()}"
        self.url = f"http://{USER}:{QUOTED}@127.0.0.1:{self.rpc_port}"
        self.bare_url = f"http://127.0.0.1:{self.rpc_port}"
        self.cookie_file = directory / chain / ".cookie"
        self._process: subprocess.Popen[bytes] | None = None
        self._program = program
        self._options = list(options)

    def client(self, chain: str | None = None, zmq: bool = True) -> Bitcoind:
        """The pool's client of this node."""
        return Bitcoind(self.url, chain or self.chain, zmq_url=self.zmq_url if zmq else None)

    async def start(self, credentials: bool = True) -> None:
        """Start and wait until RPC serves. Without credentials the node writes its cookie."""
        self.launch(credentials)
        cookie = None if credentials else self.cookie_file
        client = Bitcoind(self.url, self.chain, cookie_file=cookie)
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    try:
                        await client.height()
                    except NodeError:
                        self._raise_if_gone()
                        await asyncio.sleep(0.05)
                    else:
                        return
        finally:
            await client.close()

    def launch(self, credentials: bool = True) -> None:
        """Start and return at once, while the node is still warming up."""
        chain = ["-regtest"] if self.chain == "regtest" else ["-signet", "-signetchallenge=51"]
        login = [f"-rpcuser={USER}", f"-rpcpassword={PASSWORD}"] if credentials else []
        self._process = subprocess.Popen(
            [
                str(self._program),
                f"-datadir={self.directory}",
                *chain,
                *login,
                "-server=1",
                "-connect=0",
                "-listen=0",
                "-dnsseed=0",
                "-disablewallet=1",
                "-printtoconsole=0",
                "-dbcache=16",
                f"-rpcport={self.rpc_port}",
                "-rpcbind=127.0.0.1",
                "-rpcallowip=127.0.0.1",
                f"-zmqpubhashblock={self.zmq_url}",
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        """End this process and wait for it."""
        if self._process is not None:
            process, self._process = self._process, None
            process.terminate()
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    async def rpc(self, method: str, *params: object) -> object:
        """A call outside the pool's interface, without the pool's client."""
        return await asyncio.to_thread(self._rpc, method, params)

    def _rpc(self, method: str, params: Sequence[object]) -> object:
        request = urllib.request.Request(
            self.bare_url,
            json.dumps({"method": method, "params": params, "id": 1}).encode(),
            {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method}: {error.read().decode()}") from None

    def _raise_if_gone(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            log = self.directory / self.chain / "debug.log"
            tail = log.read_text()[-2000:] if log.exists() else "(no debug.log)"
            raise RuntimeError(f"bitcoind ended with {self._process.returncode}:\n{tail}")


@contextlib.asynccontextmanager
async def running_bitcoind(
    chain: str = "regtest", options: Sequence[str] = (), credentials: bool = True
) -> AsyncIterator[BitcoindProcess]:
    """A bitcoind that serves RPC; skips the test where there is no program."""
    program = bitcoind_or_skip()
    with tempfile.TemporaryDirectory(prefix="dmpool-bitcoind-") as directory:
        node = BitcoindProcess(program, Path(directory), chain, options)
        try:
            await node.start(credentials)
            yield node
        finally:
            node.stop()
