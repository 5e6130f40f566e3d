"""Antminer: bmminer of the S9, its Braiins fork, and the stock firmware of S19 and S21: Q-20 to Q-28.

Sources: hashrabbit/bmminer-mix `util.c` 2334-2521 and `cgminer.c` 7583, jameshilliard/bmminer `cgminer.c`
7536, braiins/bmminer `util.c` 3069-3094, DATUM `src/datum_coinbaser.c` (limits of the coinbase).
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp, Work


class Bmminer(Firmware):
    """S9: asks for multi_version, and would send the whole version if the pool spoke that method (Q-20)."""

    agent = "bmminer/2.0.0"
    extranonce_subscribe = False
    """The URL ends in `#xnsub`, or is NiceHash's (Q-27)."""
    coinbase_limit = 750
    multi_version = False

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe()
        if self.extranonce_subscribe:
            await self.ask("mining.extranonce.subscribe")
        await self.authorize()
        self.call("mining.multi_version", [1])
        return self

    def hear(self, method: str, params: list[Any], message: dict[str, Any], size: int) -> None:
        if method == "mining.multi_version":
            self.multi_version = True
        super().hear(method, params, message, size)

    def take_job(self, work: Work) -> None:
        length = len(work.coinbase(bytes(work.extranonce2_size)))
        if length > self.coinbase_limit:
            raise GivesUp(f"a coinbase of {length} bytes does not fit into {self.coinbase_limit}")
        super().take_job(work)

    def rolled(self, work: Work, bits: int) -> tuple[int, str | None]:
        version = work.version | bits
        return version, str(version) if self.multi_version else None

    def next_extranonce2(self, work: Work) -> bytes:
        """More than 8 bytes are taken at subscribe, and spoil the submit (Q-42)."""
        return bytes(work.extranonce2_size)[:8]


class BmminerBraiins(Bmminer):
    """The S9 fork of Braiins: asks for telemetry as well, and has another name for min-bit-count (Q-26)."""

    agent = "bmminer-braiins/2.0.0"

    async def start(self) -> Self:
        await self.connect()
        answer = await self.ask(
            "mining.configure",
            [
                ["version-rolling", "sp-telemetry"],
                {"version-rolling.mask": "1fffe000", "version-rolling.bit-count": 4},
            ],
        )
        self.configured = answer["result"]
        if self.configured["version-rolling"] is True:
            self.mask = int(self.configured["version-rolling.mask"], 16)
        await self.subscribe()
        await self.authorize()
        return self

    def rolled(self, work: Work, bits: int) -> tuple[int, str | None]:
        return Firmware.rolled(self, work, bits)


class StockAntminer(Firmware):
    """S17, S19: configure in its full form, then a page that counts what the pool answers (Q-21, Q-23)."""

    agent = "Antminer S19k Pro/Tue Jan 2 11:42:31 CST 2024"
    coinbase_limit = 750

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes_inside_a_job = 0
        """Changes of difficulty without a job: the page then calls good shares rejected (Q-23)."""
        self._announced = False

    async def start(self) -> Self:
        await self.connect()
        configured = await self.ask(
            "mining.configure",
            [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}],
        )
        self.mask = int(configured["result"]["version-rolling.mask"], 16)
        await self.subscribe()
        await self.authorize()
        return self

    async def read(self) -> dict[str, Any]:
        message = await super().read()
        if self._announced and message.get("method") != "mining.notify":
            self.changes_inside_a_job += 1
        self._announced = message.get("method") == "mining.set_difficulty"
        return message

    def take_job(self, work: Work) -> None:
        length = len(work.coinbase(bytes(work.extranonce2_size)))
        if length > self.coinbase_limit:
            raise GivesUp(f"a coinbase of {length} bytes does not fit into {self.coinbase_limit}")
        super().take_job(work)


class AntminerS21(StockAntminer):
    """S21: a larger coinbase buffer; its agent keeps the slash, which tells it from the S21 Pro (Q-22)."""

    agent = "Antminer S21/Wed Nov 8 15:27:18 CST 2023"
    coinbase_limit = 2250


class S21BehindRental(AntminerS21):
    """The proxy has left out configure, the machine behind it rolls the version all the same (Q-24)."""

    agent = "stratum-relay/1.0"

    async def start(self) -> Self:
        return await Firmware.start(self)

    def rolled(self, work: Work, bits: int) -> tuple[int, str]:
        return work.version | bits, f"{bits:08x}"


class AntminerD9(StockAntminer):
    """Leaves a pool that sent no notify for a minute; a clean one throws its work away (Q-25)."""

    agent = "Antminer D9/Thu Mar 2 2023"
    notify_seconds = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._job_at: float | None = None

    def take_job(self, work: Work) -> None:
        now = asyncio.get_running_loop().time()
        if self._job_at is not None and now - self._job_at >= self.notify_seconds:
            raise GivesUp(f"{now - self._job_at:.0f} s without a notify")
        self._job_at = now
        super().take_job(work)
