"""The workers of one connection: the names that were let in, and whether they may work now (I6).

A farm's proxy carries many names, a stranger may not carry any number. Each name carries the span of time in
which it may work, and what the gatekeeper knew then; outside of that span, or when the gatekeeper knows
better, it is asked again before the next share is judged. A name that was let in is kept, also when it may
not work any more, so that the miner hears the reason of each refusal.

When none of the names may work any more, the connection is to end (O-04, O-09): not at once, so that most
firmwares hear the reason in a refused share, and each after a time of its own, so that a farm does not come
back as a storm.
"""

from __future__ import annotations

import random
from itertools import chain, count, islice

from stratum.interfaces import Denied, Gatekeeper, Worker
from stratum.limits import AccountLimits

USERNAME_LIMIT = 128
"""Characters of a name that is let in, and of any other that is repeated or kept."""
WORKERS_LIMIT = 4096
"""Worker names on one connection."""
NOTICES_LIMIT = 10
"""Messages that one connection is shown together."""
DISMISS_SECONDS = (15.0, 35.0)
"""After so long a connection ends on which nobody may work any more; each after a time between these."""

_numbers = count(1)


class Workers:
    """Who works over one connection."""

    __slots__ = (
        "_accounts",
        "_ends_at",
        "_gate",
        "_limits",
        "_number",
        "_worked",
        "by_name",
        "excused",
        "looked",
        "lost_unit",
        "misnamed",
        "refused",
    )

    def __init__(self, gate: Gatekeeper, limits: AccountLimits) -> None:
        self.by_name: dict[str, Worker] = {}
        self._gate = gate
        self._limits = limits
        self._number = next(_numbers)
        self._accounts: tuple[str, ...] = ()
        """Counted by the limits; nearly always one."""
        self._ends_at: float | None = None
        """In ticks; None while somebody may work."""
        self._worked = ""
        """The name that the last look found at work; it is asked first."""
        self.excused = False
        """Somebody whom the pool knows was not let in here: what follows is no stranger's offence."""
        self.misnamed = 0
        """How often a known account was not let in here for the name of its machine."""
        self.lost_unit = False
        """A machine here is a registered one no longer and works on, which the miner has not been told."""
        self.looked = 0
        """Names that the last look asked for."""
        self.refused = ("", "")
        """Account of the last that may not work any more, and why in a word."""

    def authorise(self, username: str, now: float, ticks: float) -> Worker | Denied:
        """Let a name in, or say why not."""
        verdict = self._authorise(username, now, ticks)
        if isinstance(verdict, Denied):
            self.excused |= verdict.known
            self.misnamed += verdict.misnamed
        return verdict

    def _authorise(self, username: str, now: float, ticks: float) -> Worker | Denied:
        if len(self.by_name) >= WORKERS_LIMIT and username not in self.by_name:
            text = f"more than {WORKERS_LIMIT} workers on one connection; open another one for the rest"
            return Denied(text, known=True)
        verdict = self._gate.admit(username, int(now * 1_000_000))
        if isinstance(verdict, Denied):
            return verdict
        account = verdict.account
        if account not in self._accounts:
            refusal = self._limits.enter(account, ticks)
            if refusal is not None:
                return Denied(refusal, known=True)
            self._accounts = (*self._accounts, account)
        verdict.connection = self._number
        self.by_name[username] = verdict
        return verdict

    def refusal(self, worker: Worker, now_us: int) -> str | None:
        """Why a worker may not work at this instant; None when it may."""
        if (
            worker.generation == self._gate.generation
            and worker.valid_from_us <= now_us < worker.valid_until_us
        ):
            return None
        verdict = self._gate.look(worker.username, now_us)
        if isinstance(verdict, Denied):
            worker.valid_until_us = 0  # asked again for its next share: the day may come when it may work
            self.refused = (worker.account, verdict.word)
            return verdict.text
        lost = worker.unit is not None and verdict.unit is None
        if lost or (verdict.unit is None and 0 < worker.valid_until_us <= now_us):
            self._gate.admit(worker.username, now_us)  # counted as if it came in anew
            self.lost_unit |= lost
        worker.miner_id, worker.name = verdict.miner_id, verdict.name
        worker.valid_from_us, worker.valid_until_us = verdict.valid_from_us, verdict.valid_until_us
        worker.credited, worker.unit = verdict.credited, verdict.unit
        worker.generation = verdict.generation
        return None

    def all_refused(self, now_us: int) -> str | None:
        """Why nobody here may work any more; None when somebody may, or nobody was let in."""
        last = self.by_name.get(self._worked)
        reason, self.looked = None, 0
        for worker in chain(() if last is None else (last,), self.by_name.values()):
            self.looked += 1
            refusal = self.refusal(worker, now_us)
            if refusal is None:
                self._worked = worker.username
                return None
            reason = reason or refusal
        return reason

    def dismissal(self, now_us: int, ticks: float) -> tuple[str | None, bool]:
        """What the miner is to be told now, and whether the connection is to end now.

        Between the two nobody is asked for: who may work again is credited by its next share.
        """
        if self._ends_at is not None and ticks < self._ends_at:
            self.looked = 0
            return None, False
        reason = self.all_refused(now_us)
        if reason is None:
            self._ends_at = None
        elif self._ends_at is None:
            self._ends_at = ticks + random.uniform(*DISMISS_SECONDS)  # noqa: S311 - spreads load, hides nothing
            return reason, False
        return None, self._ends_at is not None and ticks >= self._ends_at

    @property
    def ending(self) -> bool:
        """True from when nobody may work any more until somebody may again."""
        return self._ends_at is not None

    def notices(self, now_us: int) -> list[str]:
        """What the accounts of this connection should be told now, each text once."""
        texts = (text for username in self.by_name for text in self._gate.notices_for(username, now_us))
        return list(islice(dict.fromkeys(texts), NOTICES_LIMIT))

    def leave(self) -> None:
        """The connection has ended."""
        for account in self._accounts:
            self._limits.leave(account)
        self._accounts = ()
