"""The test of the models: each one leaves a pool that does what its row says it cannot bear.

The pool here is a script that answers every method with a fixed line; one line is made wrong, and the model
must give up for that reason. So a row's test that passes has been able to fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.conformance.firmware.avalon import Avalon, AvalonNano
from tests.conformance.firmware.bmminer import Bmminer, StockAntminer
from tests.conformance.firmware.bosminer import Bosminer, HashpowerProbe
from tests.conformance.firmware.cgminer import Cgminer
from tests.conformance.firmware.esp_miner import EspMiner, reason_of
from tests.conformance.firmware.nerdminer import NerdMiner
from tests.conformance.firmware.nicehash import NiceHash
from tests.conformance.firmware.rental import RigRental
from tests.conformance.firmware.whatsminer import Apollo, StrictWhatsminer, Whatsminer
from tests.conformance.firmware.wire import Firmware, GivesUp

Reply = Callable[[Any], str]


def result(value: Any) -> Reply:
    """An answer with the id of its request."""
    return lambda request_id: json.dumps({"id": request_id, "result": value, "error": None}) + "\n"


def push(method: str, *params: Any) -> Reply:
    """A message that is no answer."""
    return lambda request_id: json.dumps({"id": None, "method": method, "params": params}) + "\n"


def subscription(extranonce1: str = "00000001", size: Any = 8) -> Reply:
    """The answer to subscribe."""
    return result([[["mining.notify", "session"]], extranonce1, size])


def notify(job_id: str = "1", extra: int = 0, branches: int = 0, outputs: int = 1) -> Reply:
    """A job whose coinbase is longer by `extra` bytes."""
    coinbase2 = "ffffffff" + f"{outputs:02x}" + "00" * extra
    path = ["11" * 32] * branches
    return push(
        "mining.notify", job_id, "00" * 32, "aa", coinbase2, path, "20000000", "1d00ffff", "6a000000", False
    )


GOOD: dict[str, tuple[Reply, ...]] = {
    "mining.configure": (result({"version-rolling": True, "version-rolling.mask": "1fffe000"}),),
    "mining.subscribe": (subscription(),),
    "mining.authorize": (result(True), push("mining.set_difficulty", 1), notify()),
    "login": (result(True),),
}
MODELS = (
    *(Cgminer, Avalon, AvalonNano, Bmminer, StockAntminer, Bosminer, HashpowerProbe, Whatsminer, Apollo),
    *(StrictWhatsminer, EspMiner, NerdMiner, NiceHash, RigRental, Firmware),
)


@asynccontextmanager
async def scripted(replies: dict[str, tuple[Reply, ...]]) -> AsyncIterator[tuple[str, int]]:
    """A pool that says what is written, and `true` to everything else."""
    handlers: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        with suppress(ConnectionError):  # a miner that gives up leaves with lines unread
            while line := await reader.readline():
                request = json.loads(line)
                for reply in replies.get(request["method"], (result(True),)):
                    writer.write(reply(request.get("id")).encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            await asyncio.gather(*(one for one in handlers if one), return_exceptions=True)


async def meet(model: type[Firmware], replies: dict[str, tuple[Reply, ...]]) -> None:
    """The handshake, and the first job if there is one."""
    async with scripted(replies) as address:
        miner = model(address)
        try:
            await miner.start()
            if model is not RigRental:
                await miner.job()
        finally:
            miner.close()


@pytest.mark.parametrize("model", MODELS)
async def test_a_good_pool_is_mined_at(model: type[Firmware]) -> None:
    await meet(model, GOOD)


@pytest.mark.parametrize(
    ("model", "method", "replies"),
    [
        pytest.param(Cgminer, "mining.configure", (notify(), *GOOD["mining.configure"]), id="q01"),
        pytest.param(Cgminer, "mining.configure", (result({"version-rolling": False}),), id="q02-false"),
        pytest.param(
            Cgminer,
            "mining.configure",
            (result({"version-rolling": True, "version-rolling.mask": "00000000"}),),
            id="q02-mask",
        ),
        pytest.param(Cgminer, "mining.subscribe", (subscription("xy"),), id="q05-nonce1"),
        pytest.param(Cgminer, "mining.subscribe", (subscription(size=1),), id="q05-short"),
        pytest.param(Cgminer, "mining.subscribe", (subscription(size=17),), id="q05-long"),
        pytest.param(
            Cgminer, "mining.authorize", (result(True), push("mining.set_difficulty", 0), notify()), id="q08"
        ),
        pytest.param(Cgminer, "mining.authorize", (result(None),), id="q09-null"),
        pytest.param(Cgminer, "mining.authorize", (result(False),), id="q09-false"),
        *(
            pytest.param(
                Cgminer,
                "mining.authorize",
                (result(True), push("client.reconnect", host, 3333, 0), notify()),
                id=f"q11-{host}",
            )
            for host in ("localhost", "eu.thief.example", "10.1.2.3")
        ),
        pytest.param(StockAntminer, "mining.authorize", (result(True), notify(extra=750)), id="q21"),
        pytest.param(
            Bosminer, "mining.configure", (lambda _: '{"id":1,"result":{},"error":null}\n',), id="q30"
        ),
        pytest.param(
            Bosminer,
            "mining.authorize",
            (result(True), push("client.reconnect", "eu.pool.example", "3333", 0), notify()),
            id="q33",
        ),
        pytest.param(HashpowerProbe, "mining.subscribe", (subscription(size=4),), id="q34"),
        pytest.param(Whatsminer, "mining.subscribe", (subscription(size=12),), id="q41"),
        pytest.param(
            StrictWhatsminer,
            "mining.authorize",
            (result(True), push("mining.set_difficulty", 0.5), notify()),
            id="q44",
        ),
        pytest.param(Avalon, "mining.subscribe", (subscription(size=2),), id="q45-extranonce2"),
        pytest.param(Avalon, "mining.authorize", (result(True), notify(branches=21)), id="q45-branches"),
        pytest.param(Avalon, "mining.authorize", (result(True), notify(extra=7000)), id="q45-coinbase"),
        pytest.param(AvalonNano, "mining.authorize", (result(True), notify(outputs=9)), id="q47"),
        pytest.param(Apollo, "mining.subscribe", (subscription("00" * 17),), id="q48"),
        pytest.param(EspMiner, "mining.configure", (result({"version-rolling": True}),), id="q51"),
        pytest.param(NerdMiner, "mining.subscribe", (notify(), subscription()), id="q58"),
        pytest.param(NerdMiner, "mining.subscribe", (subscription(size=6),), id="q60-size"),
        pytest.param(NerdMiner, "mining.authorize", (result(True), notify(extra=250)), id="q60-coinbase"),
        pytest.param(NerdMiner, "mining.authorize", (result(True), notify(branches=70)), id="q60-line"),
        pytest.param(NiceHash, "mining.subscribe", (subscription(size=3),), id="q71"),
        pytest.param(NiceHash, "mining.authorize", (notify(), notify(), result(True)), id="q72"),
        pytest.param(RigRental, "login", (result(False),), id="q74"),
    ],
)
async def test_a_bad_pool_is_left(model: type[Firmware], method: str, replies: tuple[Reply, ...]) -> None:
    with pytest.raises(GivesUp):
        await meet(model, GOOD | {method: replies, "mining.extranonce.subscribe": GOOD["login"]})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"error": [21, "stale", None]}, "stale"),
        ({"error": "stale"}, "stale"),
        ({"error": {"code": 21, "message": "stale"}}, "stale"),
        ({"result": False, "reject-reason": "stale"}, "stale"),
        ({"result": False, "error": None}, "unknown"),
    ],
)
def test_q55_esp_miner_reads_every_form_of_an_error(answer: dict[str, Any], reason: str) -> None:
    assert reason_of(answer) == reason
