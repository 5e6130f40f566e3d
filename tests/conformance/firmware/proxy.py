"""A farm's proxy (BTCAgent): one socket for many machines: Q-75.

Sources: btcpool `ss:554`, `docs/AGENT.md`.
"""

from __future__ import annotations

from typing import Self

from tests.conformance.firmware.wire import Firmware


class FarmProxy(Firmware):
    """Authorises every machine behind it, and names the machine in each share."""

    agent = "btccom-agent/2.0.0-mu"
    machines = 200

    @property
    def users(self) -> list[str]:
        """One name for each machine."""
        account = self.user.partition(".")[0]
        return [f"{account}.m{number:04}" for number in range(self.machines)]

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe()
        requests = [self.call("mining.authorize", [user, "x"]) for user in self.users]
        self.verdicts = [(await self.answer(request))["result"] for request in requests]
        return self
