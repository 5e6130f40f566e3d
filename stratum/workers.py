"""The workers of one connection: the names that were let in, and whether their work is covered now (I6).

A farm's proxy carries many names, a stranger may not carry any number. When what the gatekeeper knows has
changed, every name is looked at anew before the next share is credited; a name that was let in is kept, also
when its licence has ended, so that the miner hears the reason of each refusal.
"""

from __future__ import annotations

from stratum.interfaces import Gatekeeper, Worker
from stratum.limits import AccountLimits

USERNAME_LIMIT = 128
"""Characters of a name that is let in, and of any other that is repeated or kept."""
WORKERS_LIMIT = 4096
"""Worker names on one connection."""


class Workers:
    """Who works over one connection."""

    __slots__ = ("_accounts", "_gate", "_generation", "_limits", "by_name")

    def __init__(self, gate: Gatekeeper, limits: AccountLimits) -> None:
        self.by_name: dict[str, Worker] = {}
        self._gate = gate
        self._generation = gate.generation
        self._limits = limits
        self._accounts: tuple[str, ...] = ()
        """Counted by the limits; nearly always one."""

    def authorise(self, username: str, now: float, ticks: float) -> Worker | str:
        """Let a name in; the reason in words when it is not."""
        if len(self.by_name) >= WORKERS_LIMIT and username not in self.by_name:
            return f"more than {WORKERS_LIMIT} workers on one connection; open another one for the rest"
        verdict = self._gate.admit(username, int(now * 1_000_000))
        if isinstance(verdict, str):
            return verdict
        account = verdict.account
        if account not in self._accounts:
            refusal = self._limits.enter(account, ticks)
            if refusal is not None:
                return refusal
            self._accounts = (*self._accounts, account)
        self.by_name[username] = verdict
        return verdict

    def licence_refusal(self, worker: Worker, now_us: int) -> str | None:
        """Why the work of a worker is not covered by a licence at this instant; None when it is."""
        if self._generation != self._gate.generation:
            self._ask_again(now_us)
        if worker.valid_from_us <= now_us < worker.valid_until_us:
            return None
        if not worker.refusal:
            verdict = self._gate.admit(worker.username, now_us)
            worker.refusal = verdict if isinstance(verdict, str) else "the licence is not in force"
        return worker.refusal

    def notices(self, now_us: int) -> list[str]:
        """What the accounts of this connection should be told now, each text once."""
        verdicts = [self._gate.admit(username, now_us) for username in self.by_name]
        return list(dict.fromkeys(one.notice for one in verdicts if isinstance(one, Worker) and one.notice))

    def leave(self) -> None:
        """The connection has ended."""
        for account in self._accounts:
            self._limits.leave(account)
        self._accounts = ()

    def _ask_again(self, now_us: int) -> None:
        self._generation = self._gate.generation
        for username, worker in self.by_name.items():
            verdict = self._gate.admit(username, now_us)
            worker.refusal = ""
            if isinstance(verdict, Worker):
                worker.miner_id, worker.name = verdict.miner_id, verdict.name
                worker.valid_from_us = verdict.valid_from_us
                worker.valid_until_us = verdict.valid_until_us
            else:
                worker.valid_until_us = min(worker.valid_until_us, now_us)
