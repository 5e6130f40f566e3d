"""bfgminer: ids that are words, and a look into the pool's cards: Q-15, Q-27.

Sources: luke-jr/bfgminer `util.c` 2471, 3113, 3501.
"""

from __future__ import annotations

import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, sha256d


class Bfgminer(Firmware):
    """Tells its answers apart by words, and asks for the transactions of each job that it doubts."""

    agent = "bfgminer/5.5.0"

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        return json.dumps({"params": params, "id": request_id, "method": method}) + "\n"

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe()
        await self.ask("mining.extranonce.subscribe", [], "xnsub")
        authorised = await self.ask("mining.authorize", [self.user, self.password], "auth")
        self.authorised = authorised["result"]
        return self

    async def transactions(self, job_id: str) -> dict[str, Any]:
        """Probe the transparency of a pool."""
        return await self.ask("mining.get_transactions", [job_id], f"txlist{job_id}")


def branches_of(txids: list[bytes]) -> list[bytes]:
    """The merkle branches beside the coinbase that these transactions give."""
    level: list[bytes | None] = [None, *txids]
    branches = []
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        branches.append(level[1] or b"")
        level = [
            None,
            *(sha256d((a or b"") + (b or b"")) for a, b in zip(level[2::2], level[3::2], strict=True)),
        ]
    return branches
