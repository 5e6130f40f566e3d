"""What must hold of the blocks in a daily report: reward, division, window and history (O-32).

Each look takes the report and answers with what it saw, or raises `equality.Broken` with both sides.
"""

from __future__ import annotations

import itertools
from typing import Final

from payouts.block_state import NEXT, State
from payouts.pplns import BPS, split
from reporting.equality import Broken, Look, Object, bounds, moment, number, same, whole

_STATUSES: Final = {
    "found": "pending",
    "submitted": "pending",
    "confirmed": "immature",
    "mature": "mature",
    "orphaned": "orphan",
}
_SCHEMES: Final = ("pplns", "solo", "fpps")


def _rewards(report: Object) -> str:
    for block in report["blocks"]:
        reward, commission = whole(block, "reward_sat"), whole(block, "commission_sat")
        what = f"block {block['hash']}"
        same(
            f"{what}: subsidy + fees and reward",
            whole(block, "subsidy_sat") + whole(block, "fees_sat"),
            reward,
        )
        parts = sum(whole(row, "amount_sat") for row in block["miners"])
        same(f"{what}: miners + commission and reward", parts + commission, reward)
        if block["window"] is not None:
            kept = _kept(block)
            rate = kept + (reward - kept) * whole(block, "commission_bps") // BPS
            same(f"{what}: commission and its rate of the reward", commission, rate)
            borne = sum(whole(row, "commission_sat") for row in block["miners"])
            same(f"{what}: commission and what of it falls on the miners", commission, borne)
    return f"{len(report['blocks'])} blocks"


def _kept(block: Object) -> int:
    """Transaction fees that the pool does not share, by the terms of the block."""
    if block["transaction_fees"] not in ("shared", "pool"):
        raise Broken(f"transaction fees are {block['transaction_fees']!r}; they are shared or the pool's")
    return whole(block, "fees_sat") if block["transaction_fees"] == "pool" else 0


def _splits(report: Object) -> str:
    known = {miner["id"] for miner in report["miners"]}
    for block in report["blocks"]:
        window, what = block["window"], f"block {block['hash']}"
        work = {whole(row, "miner_id"): int(row["work"]) for row in block["miners"]}
        same(f"{what}: miners named once each", len(work), len(block["miners"]))
        strangers = {*work, block["finder_miner_id"]} - {*known, None}
        same(f"{what}: miners that the report does not tell of", sorted(strangers), [])
        if window is None:
            same(f"{what}: nobody had worked, so nobody is in its split", work, {})
            continue
        size, total = int(window["size"]), int(window["work"])
        same(f"{what}: work of the window", sum(work.values()), total)
        if total > size or (window["first_slice"] > 1 and total != size):
            raise Broken(f"{what}: the window holds {total} of work and its size is {size}")
        recomputed = split(block["reward_sat"], block["commission_bps"], work, _kept(block))
        for row in block["miners"]:
            id_ = row["miner_id"]
            same(f"{what}: amount of miner {id_}", whole(row, "amount_sat"), recomputed.amounts[id_])
            same(f"{what}: commission of miner {id_}", row["commission_sat"], recomputed.commissions[id_])
    return "recomputed by largest remainder"


def _histories(report: Object) -> str:
    start, end = bounds(report)
    same("blocks named once each", len({block["hash"] for block in report["blocks"]}), len(report["blocks"]))
    for block in report["blocks"]:
        what = f"block {block['hash']}"
        states = [State(event["state"]) for event in block["history"]]
        times = [moment(event["at"]) for event in block["history"]]
        same(f"{what}: first state", str(states[0]), "found")
        same(f"{what}: time of finding", block["history"][0]["at"], block["found_at"])
        same(f"{what}: state", block["state"], str(states[-1]))
        for before, after in itertools.pairwise(states):
            if after not in NEXT[before]:
                raise Broken(f"{what}: from {before} to {after} is no step a block can take")
        if times != sorted(times) or times[-1] >= end or times[-1] < start:
            raise Broken(f"{what}: its history must run forward, and its last step be on this day")
    return "every step is allowed"


def _terms(report: Object) -> str:
    """What schema 2 tells of a block beside that: status, network, and the window's measure."""
    for block in report["blocks"]:
        what, window = f"block {block['hash']}", block["window"]
        same(
            f"{what}: status of a block that is {block['state']}", block["status"], _STATUSES[block["state"]]
        )
        if block["scheme"] not in _SCHEMES:
            raise Broken(f"{what}: scheme is {block['scheme']!r}; it is {', '.join(_SCHEMES)}")
        network = number(block, "network_work")
        if network < 1:
            raise Broken(f"{what}: the work of its network is {network}")
        if window is None:
            continue
        size = {"pplns": whole(window, "multiple") * network, "solo": 1, "fpps": 0}[block["scheme"]]
        same(f"{what}: size of the window by the terms", number(window, "size"), size)
    return "status, and window by the terms"


BLOCKS: Final[tuple[tuple[str, Look], ...]] = (
    ("each block's reward is subsidy and fees, and is wholly divided", _rewards),
    ("each block's division is that of the work in its window", _splits),
    ("each block's history is possible", _histories),
)
BLOCK_TERMS: Final[tuple[str, Look]] = (
    "each block's status is its state's, and its window is measured by its terms",
    _terms,
)
