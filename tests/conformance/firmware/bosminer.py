"""Braiins OS (bosminer), and the probe of the Braiins hashpower market: Q-30 to Q-34.

Sources: braiins/braiins `open/protocols/stratum/src/test_utils/v1.rs` 39 and issue 47, braiins-open
`protocols/stratum/src/v1/messages.rs` 581-584.
"""

from __future__ import annotations

from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp


class Bosminer(Firmware):
    """Counts its requests from 0; some versions wrote min-bit-count as text (Q-30)."""

    agent = "bosminer-plus-tuner 0.2.0-36c56a93"
    min_bit_count: Any = 16

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_id = -1
        self.moved_to: tuple[str | None, int | None, int | None] | None = None

    async def start(self) -> Self:
        await self.connect()
        self.call(
            "mining.configure",
            [
                ["version-rolling"],
                {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": self.min_bit_count},
            ],
        )
        answer = await self.read()
        if answer["id"] != 0 or not isinstance(answer["id"], int):
            raise GivesUp(f"no answer to request 0: {answer}")
        self.mask = int(answer["result"]["version-rolling.mask"], 16)
        await self.subscribe()
        await self.authorize()
        return self

    def hear(self, method: str, params: list[Any], message: dict[str, Any], size: int) -> None:
        if method == "client.reconnect":
            self.moved_to = _reconnect(*params)
        super().hear(method, params, message, size)


class MalformedBosminer(Bosminer):
    """The versions of braiins issue 47."""

    min_bit_count = "0x10"


class HashpowerProbe(Firmware):
    """The market looks at a pool before it sends machines: no agent, extranonce2 of 7 or more (Q-34)."""

    async def start(self) -> Self:
        await self.connect()
        await self.subscribe([])
        if self.extranonce2_size < 7:
            raise GivesUp(f"extranonce2 of {self.extranonce2_size} bytes")
        await self.authorize()
        return self


def _reconnect(
    host: str | None = None, port: int | None = None, wait: int | None = None
) -> tuple[str | None, int | None, int | None]:
    """Every field is optional, a port is an integer (Q-33)."""
    if port is not None and not isinstance(port, int):
        raise GivesUp(f"port {port!r} is not an integer")
    return host, port, wait
