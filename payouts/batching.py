"""Payments into transactions, by weight.

A batch takes outputs up to half of the weight that a transaction may have: the other half is for its inputs,
which are chosen later. Payments of one miner are never torn apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from payouts.output import output_weight
from payouts.payout_plan import Due


def batches(dues: Iterable[Due], max_weight: int) -> list[list[Due]]:
    """Payments by transaction, in the order of miner ids; all of one miner stay together.

    `max_weight` is that of a whole transaction. Raises ValueError when it has no room for one miner's.
    """
    room = max_weight // 2
    packed: list[list[Due]] = []
    left = 0
    for miner_id, parts in groupby(sorted(dues, key=lambda due: due.miner_id), lambda due: due.miner_id):
        together = list(parts)
        weight = sum(output_weight(due.script) for due in together)
        if weight > room:
            raise ValueError(
                f"max_weight = {max_weight}: half of it is for outputs, and those of miner {miner_id} weigh "
                f"{weight}; set it to {2 * weight} or more"
            )
        if not packed or weight > left:
            packed.append([])
            left = room
        packed[-1].extend(together)
        left -= weight
    return packed
