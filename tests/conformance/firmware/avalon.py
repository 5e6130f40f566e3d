"""Avalon: cgminer with Canaan's drivers: Q-43, Q-45, Q-46, Q-47.

Sources: kanoi/cgminer `driver-avalon7.c` (436-452 job id CRC, 1122 extranonce2), `driver-avalon2.h` 54-55,
`driver-avalon7.h` 97-98, `driver-avalon8.h` 133-134, `driver-avalon4.c` 1963-1974.
"""

from __future__ import annotations

import binascii
from collections import deque
from typing import Any

from tests.conformance.firmware.cgminer import Cgminer
from tests.conformance.firmware.wire import GivesUp, Share, Work

JOBS_IN_THE_MACHINE = 3
"""The driver looks a result up in the present job and the two before it."""


class Avalon(Cgminer):
    """Sends the machine a coinbase and branches of limited size, and knows a job by 16 bits of its id."""

    agent = "cgminer/4.11.1 avalon1246"
    coinbase_limit = 6 * 1024 + 64
    branches_limit = 20
    """Avalon2; the 4, 7 and 8 take 30."""
    name_limit = 63

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = self.user[: self.name_limit]
        self.loaded: deque[Work] = deque(maxlen=JOBS_IN_THE_MACHINE)
        self._counter = 0

    def take_subscription(self, answer: dict[str, Any]) -> None:
        super().take_subscription(answer)
        if self.extranonce2_size < 3:
            raise GivesUp(f"extranonce2 of {self.extranonce2_size} bytes")

    def take_job(self, work: Work) -> None:
        if len(work.coinbase(bytes(work.extranonce2_size))) > self.coinbase_limit:
            raise GivesUp("the coinbase does not fit")
        if len(work.branches) > self.branches_limit:
            raise GivesUp(f"{len(work.branches)} merkle branches")
        self.loaded.append(work)
        super().take_job(work)

    def next_extranonce2(self, work: Work) -> bytes:
        """The machine counts in the low four bytes, the rest stays zero (Q-45)."""
        self._counter += 1
        return self._counter.to_bytes(4, "little") + bytes(work.extranonce2_size - 4)

    def result(self, share: Share) -> Share:
        """A result comes with the CRC of a job id; the driver takes the newest job that has it."""
        wanted = crc_of(share.job_id)
        for work in reversed(self.loaded):
            if crc_of(work.job_id) == wanted:
                return Share(work.job_id, share.extranonce2, share.ntime, share.nonce, share.version)
        raise GivesUp(f"no job with CRC {wanted:04x}")


class AvalonNano(Avalon):
    """Nano 3S, Q and 1246 fail on coinbases with many outputs (Q-47)."""

    agent = "cgminer/4.11.1 avalonnano3s"
    outputs_limit = 3

    def take_job(self, work: Work) -> None:
        outputs = work.coinbase2[4]
        if outputs > self.outputs_limit:
            raise GivesUp(f"{outputs} outputs in the coinbase")
        super().take_job(work)


def crc_of(job_id: str) -> int:
    """The 16 bits by which the machine knows a job (Q-46)."""
    return binascii.crc_hqx(job_id.encode(), 0)
