"""MiningRigRentals: Q-74. Only the password is free for options; it logs in instead of authorising.

Sources: ckpool-atlaspool `src/stratifier.c` 6716; peers D-07, D-30.
"""

from __future__ import annotations

import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp


class RigRental(Firmware):
    """The id is left out altogether: answers are told apart by their order."""

    agent = "MiningRigRentals/1.0"

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        return json.dumps({"method": method, "params": params}) + "\n"

    def next_id(self) -> Any:
        return None

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe()
        answer = await self.ask("login", [self.user, self.password])
        if answer["result"] is not True:
            raise GivesUp(f"login: {answer['error']}")
        return self
