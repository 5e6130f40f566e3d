"""Variable difficulty: keeps a machine near the wished number of shares a minute.

Pure: it counts shares and is asked for a verdict when a job is about to be sent, because a difficulty changes
only together with a job (peers: Q-08, Q-23). Being asked by jobs and not by shares, it also lowers the
difficulty of a machine that has fallen silent.

The rule: difficulties are powers of two; the right one lets a machine give between 1/√2 and √2 of the wish.
Two running tests (Page's CUSUM on Poisson counts) find out fast that the rate has left this band by much, a
long count finds out slowly that it lies beside the band by little. Evidence is what is expected, in shares.
docs/vardiff.md explains the constants and shows what they do in a simulation, beside other pools.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf, log2, sqrt
from math import log as ln

STEP_UP = 3
STEP_DOWN = 4
"""Largest change of the exponent with one job."""
ALARM_SECONDS = 1.0
"""How soon after an alarm the server asks at the earliest; an alarm is a count that is too many even then."""
RAMP_PROOF = 5.0
RAMP_PROOF_DOWN = 3.0
SETTLED_PROOF = 8.0
"""Log likelihood ratio that proves "a step away at least" against "within the band", on the ramp and after.
On the ramp the difficulty is a guess and a wrong step is soon mended; later a change has its price (Q-23)."""
FRESH_PROOF = RAMP_PROOF - 5 * ln(2)
"""What is taken for proven at the start, which is a guess; and"""
WAKING_PROOF = RAMP_PROOF - 3 * ln(2)
"""at the first share after silence: few more, fast, prove that the machine is back."""
LONG_MEMORY = 240.0
"""Expected shares after which the long count forgets: 20 minutes at 12 a minute."""
LONG_DOUBT = 1.7
SETTLED_DOUBT = 4.0
"""Standard deviations by which the long count must lie outside of the band, before and after it is full."""
APART_SECONDS = 60.0
"""Least time between two changes, ramp and floods excepted (Q-23)."""
RAMP_SECONDS = 90.0
"""The ramp lasts so long after a connection, a wish, an awakening or a flood."""
FLOOD_STEPS = 3
"""A machine that is due so many steps up floods: it is answered at once, whenever the last change was."""
SILENT_STEPS = 3
"""Silence alone lowers at most this far under the last share's difficulty; one step up brings it back."""
LONG_SILENCE = 12.0
"""Expected shares without any after which a share is an awakening: a minute at 12 a minute."""
UNPROVEN_STEPS = 8
"""A machine whose rate is not known yet comes down at most this far under its first difficulty."""
UNPROVEN_SILENCE = 4.0
"""Expected shares without any that lower the difficulty of such a machine."""
PROVING_SHARES = 3
"""So many shares after a start make the machine's rate known; a single one may be a stroke of luck."""
_SHORTEST_SECONDS = 0.25
_LN2 = ln(2)
_BAND = sqrt(2.0)


@dataclass(frozen=True, slots=True)
class DifficultyPolicy:
    """The pool's wishes, exponents of two: where a machine starts, and the bounds it stays in."""

    start: int
    minimum: int
    maximum: int
    shares_per_minute: float
    floor: int | None = None
    """What a device class has in place of `minimum`; it may lie on either side of it."""

    def bounded(self, exponent: int, ceiling: int) -> int:
        """`exponent` inside the policy and not above `ceiling`, the difficulty of a block.

        Only the pool's own minimum goes above the ceiling (a test chain whose blocks are easier than a share
        may be); a class's floor does not, or its machines would keep blocks to themselves (I9).
        """
        floor = self.minimum if self.floor is None else min(self.floor, max(ceiling, self.minimum))
        return max(min(exponent, self.maximum, ceiling), floor)


class _Evidence:
    """Shares seen beside shares expected, and how much they prove."""

    __slots__ = ("expected", "score", "shares")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.score = self.shares = self.expected = 0.0

    def weigh(self, shares: float, expected: float, gain: float) -> None:
        """Page's test: what speaks against the suspicion ends in forgetting, not in credit."""
        self.score += gain
        if self.score <= 0.0:
            self.forget()
        else:
            self.shares += shares
            self.expected += expected


class Vardiff:
    """Counts the shares of one connection and proposes its difficulty."""

    __slots__ = (
        "_above",
        "_alarm",
        "_asked_at",
        "_below",
        "_changed_at",
        "_first",
        "_fixed",
        "_long_expected",
        "_long_shares",
        "_lowered_at",
        "_owed",
        "_proven",
        "_quiet",
        "_ramp_until",
        "_sent",
        "_shares",
        "_silent",
        "_suggested",
        "_unproven",
        "_wished",
        "_wished_minimum",
        "exponent",
        "policy",
    )

    def __init__(self, policy: DifficultyPolicy) -> None:
        self.policy = policy
        self.exponent = policy.start
        """The newest verdict: what the next job goes out with when nothing new is learnt."""
        self._sent: int | None = None
        self._first = policy.start
        self._proven: int | None = None
        """The difficulty at which the last share came; None before PROVING_SHARES came."""
        self._wished: int | None = None
        """A wish that the next verdict is to start from."""
        self._lowered_at = -inf
        """When a wish last lowered the difficulty."""
        self._unproven: float = PROVING_SHARES
        self._suggested: int | None = None
        self._wished_minimum: int | None = None
        self._fixed: int | None = None
        self._shares = 0.0
        self._alarm = inf
        self._asked_at = self._changed_at = self._ramp_until = 0.0
        self._above = _Evidence()
        self._below = _Evidence()
        self._long_shares = self._long_expected = 0.0
        self._quiet = 0.0
        """Expected shares since the last that came, or since the difficulty changed."""
        self._silent = False
        self._owed = 0
        """Steps up that are proven but were more than one job may bring."""

    def adopt(self, policy: DifficultyPolicy) -> None:
        """The device class became known. Its start counts only before the first job and without a wish."""
        self.policy = policy
        if self._sent is None and self._suggested is None and self._fixed is None:
            self.exponent = policy.start

    def suggest(self, exponent: int) -> None:
        """The miner's own wish: a start, from where adjustment goes on (D-06). Bounded with the next job.

        The same wish again, which some firmware sends as a keep-alive (peers: Q-61), changes nothing. A
        machine whose rate is known cannot wish itself further down than silence and a share could bring it.
        """
        if exponent != self._suggested:
            self._suggested = exponent
            self._start_from(exponent)

    def wish_at_least(self, exponent: int) -> None:
        """The miner wants nothing easier (minimum-difficulty, md=); the pool's bounds go before it."""
        self._wished_minimum = exponent

    def fix(self, exponent: int) -> None:
        """The miner wants this and no other (fd=). It stays, unless that would flood: see `_wish`."""
        if exponent != self._fixed:
            self._fixed = exponent
            self._start_from(exponent)

    def _start_from(self, exponent: int) -> None:
        if self._sent is None:
            self.exponent = exponent
        else:
            self._wished = exponent

    def count(self, weight: float = 1.0) -> bool:
        """One accepted share; True when the next regular job should not be waited for.

        A share of a job with another difficulty than the newest weighs that difficulty over the newest.
        """
        self._shares += weight
        return self._shares >= self._alarm

    def retarget(self, ticks: float, ceiling: int) -> int:
        """The exponent for the job that is about to be sent, or would be."""
        started = self._sent is None
        fresh = started or ticks < self._asked_at
        if not fresh:
            self._learn(ticks)
            started = fresh = self._take_wish(ticks)
            if not started:
                self._judge(ticks)
        self.exponent = exponent = self._bounded(self.exponent, ceiling)
        if fresh or exponent != self._sent:
            self._sent = exponent
            self._changed_at = ticks
            self._forget()
        if fresh:
            self._begin(ticks, started)
        self._shares = 0.0
        self._asked_at = ticks
        self._alarm = self._alarm_count(ceiling)
        return exponent

    def _bounded(self, exponent: int, ceiling: int) -> int:
        for wish in (self._wished_minimum, self._fixed):
            if wish is not None and wish > exponent:
                exponent = wish
        return self.policy.bounded(exponent, ceiling)

    def _wish(self) -> float:
        """Shares a second. A fixed difficulty may give eight times as many before it is not kept."""
        wish = self.policy.shares_per_minute / 60.0
        return wish if self._fixed is None else wish * 2**STEP_UP

    def _take_wish(self, ticks: float) -> bool:
        """Start from a wish. One that lowers waits until the last such is APART_SECONDS old.

        Otherwise wishes that alternate would keep a fast machine at the floor for ever.
        """
        wished, sent = self._wished, self._sent
        if wished is None or sent is None:
            return False
        if wished < sent:
            if 0 <= ticks - self._lowered_at < APART_SECONDS:
                return False
            self._lowered_at = ticks
            if self._proven is not None:
                wished = max(wished, self._proven - STEP_DOWN)
        self._wished = None
        self.exponent = wished
        return True

    def _begin(self, ticks: float, started: bool) -> None:
        self._owed = 0
        self._ramp_until = ticks + RAMP_SECONDS
        self._above.score = FRESH_PROOF
        if started:
            self._first = self.exponent

    def _forget(self) -> None:
        self._above.forget()
        self._below.forget()
        self._long_shares = self._long_expected = self._quiet = 0.0

    def _learn(self, ticks: float) -> None:
        """Weigh what came since the last question."""
        shares = self._shares
        expected = self._wish() * max(ticks - self._asked_at, _SHORTEST_SECONDS)
        waking = shares > 0 and (self._sleeping() or self._quiet >= LONG_SILENCE)
        self._above.weigh(shares, expected, shares * _LN2 - expected * _BAND)
        self._below.weigh(shares, expected, expected * (_BAND / 4) - shares * _LN2)
        self._long_shares += shares
        self._long_expected += expected
        if self._long_expected > LONG_MEMORY:
            self._long_shares *= LONG_MEMORY / self._long_expected
            self._long_expected = LONG_MEMORY
        self._silent = shares == 0
        self._quiet = self._quiet + expected if self._silent else 0.0
        if waking:
            # When it woke within this time is not known: counting starts here, with an open eye for more.
            self._ramp_until = ticks + RAMP_SECONDS
            self._below.forget()
            self._long_shares = self._long_expected = 0.0
            if self._above.score < WAKING_PROOF:
                self._above.forget()
                self._above.score = WAKING_PROOF
        self._unproven -= shares
        if shares >= 1 and self._unproven <= 0:
            self._proven = self._sent

    def _sleeping(self) -> bool:
        """It was silent, and that has lowered its difficulty or soon will."""
        return self._silent and (self._proven is None or self._proven > self.exponent)

    def _judge(self, ticks: float) -> None:
        ramp = ticks < self._ramp_until
        up = self._owed if self._owed_confirmed(ticks) else self._step_up(ramp)
        self._owed = 0
        apart = ticks - self._changed_at >= APART_SECONDS
        if up:
            if apart or up >= FLOOD_STEPS or ramp:
                self._raise(up, ticks)
            return
        if not apart and self._proven is not None and not ramp:
            return
        down = self._step_down(ramp)
        if down:
            lowest = self._lowest()
            self.exponent = min(max(self.exponent - down, lowest), self.exponent)
            self._below.forget()

    def _raise(self, steps: int, ticks: float) -> None:
        if steps >= FLOOD_STEPS:
            self._ramp_until = ticks + RAMP_SECONDS
        self._owed = max(steps - STEP_UP, 0)
        self.exponent += min(steps, STEP_UP)
        self._above.forget()

    def _owed_confirmed(self, ticks: float) -> bool:
        """At the new difficulty there came about as many shares as the steps still owed let expect."""
        due = self._wish() * max(ticks - self._asked_at, _SHORTEST_SECONDS) * 2**self._owed
        return self._owed > 0 and self._shares >= 1 and due / 3 - 1 <= self._shares <= 3 * due + 3

    def _step_up(self, ramp: bool) -> int:
        above = self._above
        if above.score >= (RAMP_PROOF if ramp else SETTLED_PROOF) and above.shares >= 1:
            steps = log2((above.shares - 0.5) / max(above.expected, 1e-9))
            # A test that has just rung exaggerates: where that would cost a change back, round down.
            return max(round(steps) if ramp or steps >= FLOOD_STEPS else int(steps), 1)
        edge = self._long_expected * _BAND
        if self._long_expected < UNPROVEN_SILENCE:
            return 0
        return int(self._long_shares - edge > self._doubt() * sqrt(edge))

    def _step_down(self, ramp: bool) -> int:
        below = self._below
        if self._proven is None and self._quiet >= UNPROVEN_SILENCE:
            # With 95 % certainty the rate is under 3 / quiet, hence at most 8 times the wish afterwards: what
            # goes too far comes up again in seconds, what does not go far enough waits for minutes.
            return min(floor(log2(self._quiet / 3.0)) + 3, STEP_DOWN)
        if below.score >= (RAMP_PROOF_DOWN if ramp else SETTLED_PROOF):
            return min(max(int(log2(below.expected / (below.shares + 0.5))), 1), STEP_DOWN)
        edge = self._long_expected / _BAND
        return int(edge - self._long_shares > self._doubt() * sqrt(edge))

    def _doubt(self) -> float:
        return LONG_DOUBT if self._long_expected < LONG_MEMORY else SETTLED_DOUBT

    def _lowest(self) -> int:
        """What this verdict may not go below."""
        if self._proven is None:
            return self._first - UNPROVEN_STEPS
        return self._proven - (STEP_DOWN if self._shares >= 1 else SILENT_STEPS)

    def _alarm_count(self, ceiling: int) -> float:
        """So many shares would be too many even if the server asked at once."""
        if self._bounded(self.exponent + 1, ceiling) == self.exponent:
            return inf
        if self._owed or self._sleeping():
            return 1.0
        soonest = self._wish() * ALARM_SECONDS * _BAND
        return max(ceil((RAMP_PROOF - self._above.score + soonest) / _LN2), 1)
