"""What a miner keeps when its connection breaks: extranonce1, and the difficulty that each job was sent with.

A subscription is opened by `mining.subscribe` and named by a session id. When the connection is lost it is
parked for ten minutes; a miner that subscribes with the id gets it back, so that shares in flight are still
shares (peers: Q-06). The id is the extranonce1 and eight random bytes: who does not hold it cannot take
another's search space. One that comes back while its old connection still looks alive displaces it.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from stratum.difficulty import Difficulty
from stratum.extranonce import ExtranonceSource

RESUME_SECONDS = 600.0
PARKED_LIMIT = 1 << 17
"""Above this the oldest are given up early: who comes and goes must not use up every extranonce1."""
_TOKEN_SIZE = 8


class Holder(Protocol):
    """The session that has a subscription now."""

    def displaced(self) -> None:
        """Another connection has resumed this subscription."""
        ...


class Subscription:
    """One search space, and under which terms its jobs went out."""

    __slots__ = (
        "_earlier",
        "difficulty",
        "extranonce1",
        "first_job",
        "holder",
        "last_job",
        "session_id",
    )

    def __init__(self, extranonce1: bytes, session_id: str, holder: Holder) -> None:
        self.extranonce1 = extranonce1
        self.session_id = session_id
        self.holder: Holder | None = holder
        self.difficulty: Difficulty | None = None
        """Of the newest job sent; None before the first."""
        self.first_job = -1
        """Number of the first job that was sent with `difficulty` and `extranonce1`."""
        self.last_job = -1
        """Number of the newest job sent."""
        self._earlier: list[tuple[int, Difficulty, bytes]] = []

    def send(self, job: int, share_difficulty: Difficulty, oldest_job: int) -> None:
        """A job goes out at this difficulty; terms that no job from `oldest_job` on needs are forgotten."""
        if share_difficulty is not self.difficulty:
            if self.difficulty is not None:
                self._earlier.append((self.first_job, self.difficulty, self.extranonce1))
                while len(self._earlier) > 1 and self._earlier[1][0] <= oldest_job:
                    del self._earlier[0]
            self.difficulty = share_difficulty
            self.first_job = job
        self.last_job = job

    def terms_of(self, job: int) -> tuple[Difficulty, bytes] | None:
        """The difficulty and the extranonce1 that a job was sent with; None when none was sent at all.

        A job older than every one sent (another connection's, guessed) is judged by the first terms.
        """
        if self.difficulty is not None and (job >= self.first_job or not self._earlier):
            return self.difficulty, self.extranonce1
        for first_job, earlier, extranonce1 in reversed(self._earlier):
            if job >= first_job:
                return earlier, extranonce1
        return self._earlier[0][1:] if self._earlier else None

    def weight_of(self, share_difficulty: Difficulty) -> float:
        """How many shares of the newest difficulty a share of this one is worth."""
        newest = self.difficulty
        if newest is share_difficulty or newest is None:
            return 1.0
        return 2.0 ** (share_difficulty.exponent - newest.exponent)

    def inherit(self, other: Subscription) -> None:
        """Shares of jobs that went out under `other` may still come in here."""
        self._earlier = list(other._earlier)
        if other.difficulty is not None:
            self._earlier.append((other.first_job, other.difficulty, other.extranonce1))
        self.last_job = other.last_job


class Subscriptions:
    """Every subscription of a gateway, held or parked, by session id."""

    def __init__(self, extranonces: ExtranonceSource) -> None:
        self._extranonces = extranonces
        self._all: dict[bytes, Subscription] = {}
        """By extranonce1."""
        self._parked: dict[Subscription, float] = {}
        """Since when, in ticks; the oldest first."""

    @property
    def parked(self) -> int:
        """Subscriptions that wait for their miner."""
        return len(self._parked)

    def open(self, holder: Holder) -> Subscription:
        """A new one. Raises RuntimeError when every extranonce1 of the gateway is in use."""
        extranonce1 = self._extranonces.take()
        session_id = extranonce1.hex() + secrets.token_hex(_TOKEN_SIZE)
        subscription = self._all[extranonce1] = Subscription(extranonce1, session_id, holder)
        return subscription

    def resume(self, session_id: str, holder: Holder) -> Subscription | None:
        """The subscription of that id, now held by `holder`; None when there is none, or no longer."""
        try:
            extranonce1 = bytes.fromhex(session_id[:8])
        except ValueError:
            return None
        subscription = self._all.get(extranonce1)
        if subscription is None or not session_id.isascii():
            return None
        if not secrets.compare_digest(session_id, subscription.session_id):
            return None
        before, subscription.holder = subscription.holder, holder
        self._parked.pop(subscription, None)
        if before is not None:
            before.displaced()
        return subscription

    def park(self, subscription: Subscription, ticks: float) -> None:
        """The connection is lost; the miner may come back."""
        subscription.holder = None
        self._parked[subscription] = ticks
        if len(self._parked) > PARKED_LIMIT:
            self.close(next(iter(self._parked)))

    def close(self, subscription: Subscription) -> None:
        """Nobody will come back for it; its extranonce1 may be used again."""
        self._parked.pop(subscription, None)
        if self._all.pop(subscription.extranonce1, None) is not None:
            self._extranonces.give_back(subscription.extranonce1)

    def expire(self, ticks: float) -> None:
        """Close those that have been parked for RESUME_SECONDS."""
        while self._parked:
            oldest, parked_at = next(iter(self._parked.items()))
            if ticks - parked_at < RESUME_SECONDS:
                return
            self.close(oldest)
