"""A session on a recorder with a real spool and real files, and what is in the spool."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from pool.found_blocks import FoundBlocks
from pool.gateway import ShareRecorder
from pool.metrics import Metrics
from pool.records import Record
from pool.sightings import Sightings
from pool.spool import Spool
from tests.pool.fakes import FakeNode, until
from tests.register_world import RULES, register_of
from tests.stratum.fakes import Wire, template

_decode = msgspec.msgpack.Decoder(list[Record]).decode


def records_in(spool: Spool) -> list[Record]:
    return [record for _, payload in spool.rows_after(0, 1 << 30) for record in _decode(payload)]


@asynccontextmanager
async def spooling(directory: Path) -> AsyncIterator[Spool]:
    spool = Spool(directory / "spool.db", asyncio.get_running_loop(), lambda seconds, records: None)
    try:
        yield spool
    finally:
        await spool.close()


class Desk:
    """A session on a recorder with a real spool and real files, and a fake node."""

    def __init__(self, spool: Spool, directory: Path) -> None:
        self.node = FakeNode()
        self.blocks = FoundBlocks(directory / "blocks", [self.node], lambda node, verdict: None)
        self.metrics = Metrics()
        self.sightings = Sightings(register_of(), RULES)
        self.recorder = ShareRecorder(spool, self.blocks, self.metrics, self.sightings)
        self.spool = spool
        self.wire = Wire(recorder=self.recorder)  # type: ignore[arg-type]

    async def judged(self, fields: list[Any], username: str = "alice.s17") -> dict[str, Any]:
        """Submit, and wait for the answer."""
        answers = self.wire.call("mining.submit", [username, *fields])
        await until(lambda: bool(answers) or bool(self.wire.written))
        (answer,) = answers or self.wire.read()
        return answer


@asynccontextmanager
async def desk(directory: Path, target: int) -> AsyncIterator[Desk]:
    async with spooling(directory) as spool:
        made = Desk(spool, directory)
        made.wire.new_job(template(target=target))
        made.wire.start()
        try:
            yield made
        finally:
            await made.blocks.close()
