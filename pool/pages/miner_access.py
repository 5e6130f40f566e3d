"""Who may see a miner's page: the account by its token, the people of the register, a technician by a link.

A browser sends the token as a password (HTTP Basic), as for statements. How often one account is asked for
from one address is limited, for those who may ask: strangers' guesses use up nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException, Request

from pool.door_limits import Buckets
from pool.pages.account_reader import Account, AccountReader
from pool.pages.live import StreamOverError
from pool.pages.technician import ticket, valid_until
from pool.register_auth import address_of
from pool.register_desk import Desk

PREFIX: Final = "/miners"
ASKED = 300
"""Requests for an account from an address in a minute, pictures among them."""
ASKED_SECONDS: Final = 60.0
NO_LINK: Final = "this link is not valid, or no longer: ask whoever gave it to you for a new one"


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may see of an account, and under which path."""

    account: Account
    base: str
    ends: int | None = None
    """Of a technician's link, in unix seconds; None for who may see all."""

    @property
    def whole(self) -> bool:
        """Whether money is shown, too."""
        return self.ends is None


class MinerAccess:
    """See the head of this file."""

    def __init__(self, desk: Desk, accounts: AccountReader) -> None:
        self._desk = desk
        self._accounts = accounts
        self._asked = Buckets(ASKED, ASKED_SECONDS)

    async def of(self, request: Request, name: str, shown: str | None = None) -> Access:
        """What the request may see; `shown` is a link's ticket. Raises HTTPException and DatabaseAway."""
        if shown is not None:
            access = await self._by_link(name, shown)
        else:
            await self._desk.auth.statement_viewer(request, name)
            account = await self._accounts.find(name)
            if account is None:
                raise HTTPException(404, f"there is no account {name[:40]!r}")
            access = Access(account, f"{PREFIX}/{account.miner.name}")
        wait = self._asked.take(f"{access.account.miner.name} {address_of(request)}")
        if wait:
            raise HTTPException(
                429, f"too many requests for this account; wait {wait} seconds", {"Retry-After": str(wait)}
            )
        return access

    async def ticket(self, access: Access) -> str:
        """A new link's ticket."""
        miner = access.account.miner
        secret = await self._accounts.secret()
        return ticket(secret, miner.name, miner.statement_token_sha256, self._desk.now_us())

    async def again(self, access: Access) -> Access:
        """The same as the register has it now; raises StreamOverError when it may be seen no longer."""
        miner = access.account.miner
        account = await self._accounts.find(miner.name)
        ended = access.ends is not None and self._desk.now_us() >= access.ends * 1_000_000
        if ended or account is None or account.miner.statement_token_sha256 != miner.statement_token_sha256:
            raise StreamOverError
        return Access(account, access.base, access.ends)

    async def _by_link(self, name: str, shown: str) -> Access:
        account = await self._accounts.find(name)
        if account is not None:
            miner = account.miner
            secret = await self._accounts.secret()
            ends = valid_until(secret, miner.name, miner.statement_token_sha256, shown, self._desk.now_us())
            if ends is not None:
                return Access(account, f"{PREFIX}/{miner.name}/link/{shown}", ends)
        raise HTTPException(404, NO_LINK)
