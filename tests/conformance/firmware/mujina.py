"""mujina: Q-62.

Sources: 256foundation/mujina `mujina-miner/src/stratum_v1/client.rs` 403.
"""

from __future__ import annotations

from typing import Self

from tests.conformance.firmware.wire import Firmware


class Mujina(Firmware):
    """Sends its suggestion with an id, because a pool hung up on null; older builds send null (Q-62)."""

    agent = "mujina/0.1.0"

    async def start(self) -> Self:
        await self.connect()
        configured = await self.ask(
            "mining.configure", [["version-rolling"], {"version-rolling.mask": "1fffe000"}]
        )
        self.mask = int(configured["result"]["version-rolling.mask"], 16)
        await self.subscribe()
        await self.authorize()
        return self
