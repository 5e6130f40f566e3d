"""cgminer, and the stock firmwares that were built on it: Q-01 to Q-14.

Sources: kanoi/cgminer `util.c` (configure 2213-2303, subscribe 3249-3368, reconnect 2520-2570, ping
2598-2612), `cgminer.c` (stored shares 7392, version bits 7362-7385).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp, Share, Work


class Cgminer(Firmware):
    """A build with USE_VMASK and without Gekko: it asks for version rolling and insists on it."""

    agent = "cgminer/4.13.1"
    suggestion: int | None = None
    """The difficulty given on the command line."""
    silence_limit = 90.0
    """Seconds without a line after which it reconnects (Q-07)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stored: list[Share] = []
        """Shares found while the line was down; resubmitted when the session is resumed."""
        self.pool_host = "eu.pool.example"
        self.moved_to: tuple[str, int] | None = None
        self._heard_at = 0.0

    async def line(self) -> bytes:
        line = await super().line()
        now = asyncio.get_running_loop().time()
        if self._heard_at and now - self._heard_at > self.silence_limit:
            raise GivesUp(f"{now - self._heard_at:.0f} s without a line")
        self._heard_at = now
        return line

    async def start(self) -> Self:
        await self.connect()
        await self.configure()
        await self.handshake()
        return self

    async def configure(self) -> None:
        """Exactly one line is read, and taken for the answer (Q-01); no mask, no connection (Q-02)."""
        request_id = self.call(
            "mining.configure", [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
        )
        line = json.loads(await self.line())
        result = line.get("result")
        if line.get("id") != request_id or not isinstance(result, dict):
            raise GivesUp(f"the line after configure is no answer to it: {line}")
        self.mask = int(result.get("version-rolling.mask", "0"), 16)
        if result.get("version-rolling") is not True or not self.mask:
            raise GivesUp(f"no version rolling: {result}")

    async def again(self) -> None:
        """The line is down: connect anew, with the session id of before."""
        self.close()
        self._heard_at = 0.0
        await self.start()

    async def handshake(self) -> None:
        """Subscribe with the session id of before, if there is one; authorise; suggest (Q-04, Q-06, Q-10)."""
        before = self.session_id
        await self.subscribe([self.agent] if before is None else [self.agent, before])
        if before is None or self.session_id != before:
            self.stored.clear()
        await self.authorize()
        if self.suggestion is not None:
            self.call("mining.suggest_difficulty", [self.suggestion])

    def take_subscription(self, answer: dict[str, Any]) -> None:
        """Nonce1 is hex, and extranonce2 has 2 to 16 bytes (Q-05)."""
        if answer["error"] is None:
            _, nonce1, size = answer["result"]
            if not nonce1 or set(nonce1) - set("0123456789abcdefABCDEF") or len(nonce1) % 2:
                raise GivesUp(f"nonce1 {nonce1!r} is not hex")
            if not isinstance(size, int) or not 2 <= size <= 16:
                raise GivesUp(f"nonce2 size {size!r} is not 2 to 16")
        super().take_subscription(answer)

    def resubmit(self) -> list[Any]:
        """Send the stored shares again; the ids of the requests."""
        shares, self.stored = self.stored, []
        return [self.submit(share) for share in shares]

    def set_difficulty(self, number: float) -> None:
        if not number > 0:
            raise GivesUp(f"set_difficulty {number}")
        super().set_difficulty(number)

    def hear(self, method: str, params: list[Any], message: dict[str, Any], size: int) -> None:
        if method == "mining.ping":
            self.write(json.dumps({"id": message["id"], "result": "pong", "error": None}) + "\n")
        elif method == "client.reconnect":
            self.reconnect(*params)
        else:
            super().hear(method, params, message, size)

    def reconnect(self, host: str = "", port: int | str = 0, wait: int = 0) -> None:
        """To another host only when it has a dot and everything from the first dot on is the same (Q-11)."""
        if host and ("." not in host or _suffix(host) != _suffix(self.pool_host)):
            raise GivesUp(f"asked to move from {self.pool_host} to {host}")
        self.moved_to = (host or self.pool_host, int(port))


class CgminerOnRetry(Cgminer):
    """After a refused subscribe: no agent and no session id (Q-04)."""

    async def handshake(self) -> None:
        await self.subscribe([])
        await self.authorize()


class BitmainTable(Cgminer):
    """Takes its version bits out of a table that it was built with; the field holds them alone (Q-13)."""

    table = (0x00002000, 0x00800000, 0x10000000, 0x1FFFE000)

    def rolled(self, work: Work, bits: int) -> tuple[int, str]:
        return work.version | bits, f"{bits:08x}"


def _suffix(host: str) -> str:
    return host[host.find(".") :]
