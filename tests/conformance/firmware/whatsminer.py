"""Whatsminer (btminer), FutureBit Apollo: Q-40, Q-41, Q-43, Q-44, Q-48.

Sources: public-pool issues 110 and 120, stratum-mining issue 1861, DATUM `doc/usernames.md`,
jstefanop/Apollo-Miner-Binaries issue 19.
"""

from __future__ import annotations

import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp

NAME_BUFFER = 127


class Whatsminer(Firmware):
    """Extra key `ttl`, empty password, session id as the second field (Q-40)."""

    agent = "whatsminer/v1.0"
    least_difficulty = 0.0
    """The real machine keeps a dead pool below 1 (Q-44); a test that hashes must allow less."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password = ""
        if len(self.user) > NAME_BUFFER:
            raise GivesUp(f"a worker name of {len(self.user)} characters overflows its buffer")

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        return json.dumps({"id": request_id, "ttl": 60, "method": method, "params": params}) + "\n"

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe([self.agent, self.session_id or ""])
        if self.extranonce2_size > 8:
            raise GivesUp(f"extranonce2 of {self.extranonce2_size} bytes")
        await self.authorize()
        return self

    def set_difficulty(self, number: float) -> None:
        if number < self.least_difficulty:
            raise GivesUp(f"difficulty {number}: the pool counts as dead")
        super().set_difficulty(number)


class StrictWhatsminer(Whatsminer):
    """As it is in the rack."""

    least_difficulty = 1.0


class Apollo(Firmware):
    """FutureBit Apollo: extranonce1 of at most 16 bytes (Q-48)."""

    agent = "futurebit-apollo/2.0"

    def take_subscription(self, answer: dict[str, Any]) -> None:
        super().take_subscription(answer)
        if len(self.extranonce1) > 16:
            raise GivesUp(f"extranonce1 of {len(self.extranonce1)} bytes")
