"""Shares in ledger order, cut into slices: the unit that the PPLNS window counts.

A slice is the work of one worker on one day within one run of shares; `of_miners` puts those of a miner
together, and these are what the ledger keeps: a split asks for no more, and a pool of many thousand workers
has a row for each miner a second and not for each share. A run is what the ledger takes at a time; a share
that found a block ends its run early and its slice is made the last of the run, so that the block's window
can end exactly with the winning share: everything up to it is in, nothing after it is.

Within a run, slices stand in order of their first share, the winner's last. The same shares cut at
the same places give the same slices, always (invariant 4).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple


class Share(NamedTuple):
    """An accepted share: when (unix microseconds), whose, how much work, and the block it found, if any."""

    at_us: int
    miner_id: int
    worker: str
    work: int
    wins: str | None


@dataclass(frozen=True, slots=True)
class Slice:
    """`work` of `shares` shares of one worker; `wins` is the hash of the block that its last share found."""

    miner_id: int
    worker: str
    day: dt.date
    work: int
    shares: int
    first_us: int
    last_us: int
    wins: str | None


class _Growing:
    __slots__ = ("first_us", "last_us", "shares", "work")

    def __init__(self, at_us: int) -> None:
        self.first_us = self.last_us = at_us
        self.work = self.shares = 0

    def add(self, share: Share) -> None:
        self.work += share.work
        self.shares += 1
        self.first_us = min(self.first_us, share.at_us)
        self.last_us = max(self.last_us, share.at_us)


_Key = tuple[int, str, dt.date]


def cut(shares: Iterable[Share], day_of: Callable[[int], dt.date]) -> list[Slice]:
    """Slices of one batch of shares in ledger order; `day_of` gives the calendar day of an instant.

    Raises ValueError for a share without work.
    """
    slices: list[Slice] = []
    run: dict[_Key, _Growing] = {}
    for share in shares:
        if share.work < 1:
            raise ValueError(
                f"share of miner {share.miner_id} worker {share.worker!r} at {share.at_us} has work "
                f"{share.work}; work is a positive number of hashes"
            )
        key = (share.miner_id, share.worker, day_of(share.at_us))
        growing = run.get(key)
        if growing is None:
            growing = run[key] = _Growing(share.at_us)
        growing.add(share)
        if share.wins is not None:
            del run[key]
            slices.extend(_close(run))
            slices.append(_slice(key, growing, share.wins))
            run = {}
    slices.extend(_close(run))
    return slices


def of_miners(slices: Iterable[Slice]) -> list[Slice]:
    """The same work with one slice for each miner and day of a run, in the same order; `worker` is empty."""
    joined: list[Slice] = []
    run: dict[tuple[int, dt.date], Slice] = {}
    for one in slices:
        key = (one.miner_id, one.day)
        before = run.pop(key, None) if one.wins is not None else run.get(key)
        merged = _join(before, one)
        if one.wins is None:
            run[key] = merged
            continue
        joined.extend(run.values())
        joined.append(merged)
        run = {}
    joined.extend(run.values())
    return joined


def _join(before: Slice | None, one: Slice) -> Slice:
    if before is None:
        return replace(one, worker="")
    return replace(
        before,
        work=before.work + one.work,
        shares=before.shares + one.shares,
        first_us=min(before.first_us, one.first_us),
        last_us=max(before.last_us, one.last_us),
        wins=one.wins,
    )


def _close(run: dict[_Key, _Growing]) -> list[Slice]:
    return [_slice(key, growing, None) for key, growing in run.items()]


def _slice(key: _Key, growing: _Growing, wins: str | None) -> Slice:
    return Slice(*key, growing.work, growing.shares, growing.first_us, growing.last_us, wins)
