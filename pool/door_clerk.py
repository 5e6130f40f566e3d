"""Changes of regulators and their tokens: made by a compliance officer, each an event of the chain, for good.

A token's secret is made here at random and given out once; only its hash is kept. Nothing is overwritten: the
book is what the newest event of each regulator and token says (`pool.door_regulators`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from pool import door_chain, register_store
from pool.door_chain import Told
from pool.door_regulators import TOKEN_PREFIX, Book, Regulator, RegulatorError, Scope, Token, new_token
from register.fields import text_of
from register.person import Actor, PersonError, Role, require_current

REASON_LIMIT: Final = 500
_TOKEN_BYTES: Final = 32


class DoorClerk(NamedTuple):
    """One who changes the book, within a transaction that is to be committed by the caller."""

    connection: AsyncConnection
    actor: Actor
    reason: str
    now_us: int

    async def add(self, regulator: Regulator) -> None:
        """Enter a regulator of a name that is not taken; raises RegulatorError or PersonError."""
        book = await self._begin()
        regulator.check()
        if regulator.name in book.regulators:
            raise RegulatorError(
                f"regulator {regulator.name}: is there already; `dmpool regulators change` changes it"
            )
        await self._tell("regulator", regulator.name, "entered", regulator)

    async def change(self, name: str, change: Callable[[Regulator], Regulator]) -> bool:
        """Write a regulator anew; False when nothing differs. Raises RegulatorError or PersonError."""
        before = (await self._begin()).regulator(name)
        after = change(before)
        after.check()
        if after == before:
            return False
        await self._tell("regulator", name, _step(before, after), after)
        return True

    async def issue(
        self, name: str, scopes: Iterable[Scope], not_before_us: int, expires_us: int
    ) -> tuple[Token, str]:
        """A new token of a regulator, and its secret; raises RegulatorError or PersonError."""
        regulator = (await self._begin()).regulator(name)
        if regulator.closed:
            raise RegulatorError(
                f"regulator {name}: is closed; `dmpool regulators change {name} --open` first"
            )
        if expires_us <= self.now_us:
            raise RegulatorError(f"token of {name}: its end has passed already; name a later one")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        token = new_token(secret, name, scopes, not_before_us, expires_us)
        await self._tell("token", token.id, "issued", token)
        return token, secret

    async def revoke(self, token_id: str) -> Token:
        """A token is not good any more, from now on; raises RegulatorError or PersonError."""
        token = (await self._begin()).tokens.get(token_id)
        if token is None:
            raise RegulatorError(
                f"token {token_id[:20]!r}: there is none; `dmpool regulators list` shows all by their ids"
            )
        if token.revoked:
            raise RegulatorError(f"token {token_id}: was revoked already, which is for good")
        revoked = msgspec.structs.replace(token, revoked=True)
        await self._tell("token", token.id, "revoked", revoked)
        return revoked

    async def _begin(self) -> Book:
        """The book as it stands, while nobody else changes it."""
        text_of("regulators", "reason", self.reason, RegulatorError, REASON_LIMIT)
        if self.actor.role is not Role.COMPLIANCE:
            raise PersonError(
                f"{self.actor.name}: the role {self.actor.role} may not decide on regulators; "
                f"ask a compliance officer"
            )
        await door_chain.lock(self.connection)
        require_current(self.actor, (await register_store.load(self.connection, ("person",))).people)
        return await door_chain.read_book(self.connection)

    async def _tell(self, kind: str, key: str, action: str, body: msgspec.Struct) -> None:
        told = Told(self.actor.name, self.actor.role, self.reason, kind, key, action, body)
        await door_chain.append(self.connection, told, self.now_us)


def _step(before: Regulator, after: Regulator) -> str:
    if before.closed != after.closed:
        return "closed" if after.closed else "opened"
    return "changed"
