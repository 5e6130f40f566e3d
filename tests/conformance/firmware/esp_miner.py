"""ESP-Miner (Bitaxe) and its fork for the NerdQAxe: Q-50 to Q-57.

Sources: bitaxeorg/ESP-Miner `main/tasks/stratum_v1_task.c` (328-341, 497-501),
`components/stratum/stratum_api.c`, `main/tasks/asic_result_task.c` 78; shufps/ESP-Miner-NerdQAxePlus
`main/stratum/stratum_api.cpp`.
"""

from __future__ import annotations

import json
from typing import Any, Self

from tests.conformance.firmware.wire import Firmware, GivesUp, Work

CONFIGURE, SUBSCRIBE, AUTHORIZE = 1, 2, 3


class EspMiner(Firmware):
    """Sends three requests without waiting (Q-50), rolls the version by XOR (Q-52)."""

    agent = "bitaxe/BM1370/v2.9.0"
    suggestion: int | None = 1000
    wants_extranonce = True
    branches_limit = 32

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ignored = 0
        """Jobs that were passed over because their id was known (Q-53)."""

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}) + "\n"

    async def start(self) -> Self:
        await self.connect()
        version_rolling = [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
        self.call("mining.configure", version_rolling)
        self.call("mining.subscribe", [self.agent])
        self.call("mining.authorize", [self.user, self.password])
        result = (await self.answer(CONFIGURE))["result"]
        if result.get("version-rolling") is not True or "version-rolling.mask" not in result:
            raise GivesUp(f"no version mask: {result}")
        self.mask = int(result["version-rolling.mask"], 16)
        await self.answer(SUBSCRIBE)
        authorised = await self.answer(AUTHORIZE)
        if authorised["result"] is not True:
            raise GivesUp(f"authorize: {reason_of(authorised)}")
        if self.suggestion is not None:
            self.call("mining.suggest_difficulty", [self.suggestion])
        if self.wants_extranonce:
            self.call("mining.extranonce.subscribe")
        return self

    def hear(self, method: str, params: list[Any], message: dict[str, Any], size: int) -> None:
        if method == "mining.ping":
            self.write(json.dumps({"id": message["id"], "method": "pong", "params": []}) + "\n")
        super().hear(method, params, message, size)

    def take_job(self, work: Work) -> None:
        if len(work.branches) > self.branches_limit:
            raise GivesUp(f"{len(work.branches)} merkle branches: abort()")
        if not work.clean and any(known.job_id == work.job_id for known in self.jobs):
            self.ignored += 1
        else:
            super().take_job(work)

    def rolled(self, work: Work, bits: int) -> tuple[int, str]:
        """The chip counts in the masked bits of the whole version; the field is what differs (Q-52)."""
        version = work.version & ~self.mask | bits
        return version, f"{version ^ work.version:08x}"


class NerdQAxe(EspMiner):
    """Ids from 1, carriage returns, a mask of its own, suggest and then extranonce.subscribe (Q-57)."""

    agent = "NerdQAxe++/BM1370/v1.0.34"

    def frame(self, method: str, params: Any, request_id: Any) -> str:
        if method == "mining.configure":
            params = [["version-rolling"], {"version-rolling.mask": "1fffe000"}]
        return super().frame(method, params, request_id).replace("\n", "\r\n")


def reason_of(answer: dict[str, Any]) -> str:
    """An error as an array, a text or an object, or a reject-reason (Q-55)."""
    match answer.get("error"):
        case [_, str(text), *_]:
            return text
        case str(text):
            return text
        case {"message": str(text)}:
            return text
    return str(answer.get("reject-reason", "unknown"))
