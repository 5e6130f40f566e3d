"""NerdMiner, the strictest parser of all: Q-43, Q-58 to Q-61.

Sources: BitMaker-hub/NerdMiner_v2 `src/stratum.cpp` (52-222), `src/utils.cpp` 216-232, `src/stratum.h` 15,
`src/mining.cpp` 118-126.
"""

from __future__ import annotations

import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp, Work

JSON_BUFFER = 4096
COINBASE_HEX_BUFFER = 512
SIZES = (2, 4, 8)
"""Bytes of extranonce2 that it knows."""
KEEP_ALIVE_DIFFICULTY = 0.00015


class NerdMiner(Firmware):
    """No configure; the first line that it reads is its subscription (Q-58); nonces are bare (Q-59)."""

    agent = "NerdMinerV2"
    name_limit = 80

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = self.user[: self.name_limit]

    async def line(self) -> bytes:
        line = await super().line()
        if len(line) > JSON_BUFFER:
            raise GivesUp(f"a line of {len(line)} bytes")
        return line

    async def start(self) -> Self:
        await self.connect()
        self.call("mining.subscribe", [self.agent])
        first = json.loads(await self.line())
        if not isinstance(first.get("result"), list) or first.get("error"):
            raise GivesUp(f"the first line is no subscription: {first}")
        self.take_subscription(first)
        if self.extranonce2_size not in SIZES:
            raise GivesUp(f"extranonce2 of {self.extranonce2_size} bytes")
        authorised = self.call("mining.authorize", [self.user, self.password])
        self.keep_alive()
        await self.answer(authorised)
        return self

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        return json.dumps({"params": params, "id": request_id, "method": method}) + "\n"

    def keep_alive(self) -> Any:
        """The same suggestion every thirty seconds (Q-61)."""
        return self.call("mining.suggest_difficulty", [KEEP_ALIVE_DIFFICULTY])

    def take_job(self, work: Work) -> None:
        length = 2 * len(work.coinbase(bytes(work.extranonce2_size)))
        if length >= COINBASE_HEX_BUFFER:
            raise GivesUp(f"a coinbase of {length} hex digits")
        super().take_job(work)

    def next_extranonce2(self, work: Work) -> bytes:
        return (1).to_bytes(work.extranonce2_size, "big")

    def nonce_text(self, nonce: int) -> str:
        return f"{nonce:x}"
