"""What a person puts right in the journal: one more entry, with a reason and with who made it (invariant 3).

Only accounts that no rule keeps may be corrected. What is immature follows from the blocks, and what is being
paid from the payouts: an entry there would break what is booked of them later. No account of a miner and no
coins are taken below zero. Where nobody else bears the other side, it is `pool:correction`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from payouts import journal
from payouts.journal import Posting
from pool import journal_store
from register.person import Actor, PersonError, Role, require_current
from register.register import Register
from register.rules import Rules

REASON_LIMIT: Final = 500
LARGEST_SAT: Final = 21_000_000 * 100_000_000
"""All bitcoin that will ever be."""
_OPEN: Final = re.compile(
    r"asset:coinbase:mature|miner:[1-9][0-9]*:payable"
    r"|pool:(commission:earned|network_fees|orphan_loss:[1-9][0-9]*|fpps|correction)"
)


class CorrectionError(ValueError):
    """The correction cannot be booked. The message names the account, the value and the remedy."""


class Corrected(NamedTuple):
    """What was booked: the entry's number, and what both accounts show before and after."""

    entry_id: int
    before: Mapping[str, int]
    after: Mapping[str, int]


def correction(from_account: str, to_account: str, amount_sat: int, reason: str) -> journal.Entry:
    """The entry that takes `amount_sat` from one account and gives it to another; raises CorrectionError.

    Between claims, one falls and the other rises by what is owed. Where coins move, a claim follows them:
    coins that went to a miner are owed to it no more, coins that it gave back are owed to it again.
    """
    for account in (from_account, to_account):
        if not _OPEN.fullmatch(account):
            raise CorrectionError(
                f"account {account[:60]!r} cannot be corrected; those that can are asset:coinbase:mature, "
                f"miner:ID:payable, pool:commission:earned, pool:network_fees, pool:orphan_loss:ID, "
                f"pool:fpps and pool:correction: the others follow from blocks and payouts"
            )
    if from_account == to_account:
        raise CorrectionError(f"account {from_account} is named twice; nothing would move")
    if not 1 <= amount_sat <= LARGEST_SAT:
        raise CorrectionError(f"amount is {amount_sat} satoshis; it is 1 to {LARGEST_SAT}")
    if not reason.strip() or len(reason) > REASON_LIMIT or not reason.isprintable():
        raise CorrectionError(f"a correction needs a reason in one line of 1 to {REASON_LIMIT} characters")
    coins_move = journal.direction(from_account) > 0 or journal.direction(to_account) > 0
    # Booked signs: coins fall by a negative amount, claims by a positive one.
    sign = -1 if coins_move else 1
    return journal.correction(
        [Posting(from_account, sign * amount_sat), Posting(to_account, -sign * amount_sat)], reason.strip()
    )


async def correct(
    connection: AsyncConnection,
    entry: journal.Entry,
    register: Register,
    rules: Rules,
    actor: Actor,
    now_us: int,
) -> Corrected:
    """Book a correction within the caller's transaction; `register` is its miners and people of this moment.

    Raises PersonError for another role than compliance, CorrectionError for a miner that is not there or a
    balance that would be negative.
    """
    if actor.role is not Role.COMPLIANCE:
        raise PersonError(f"{actor.name}: the role {actor.role} may not correct the journal; ask an officer")
    require_current(actor, register.people)
    for account, _ in entry.postings:
        owner = account.split(":")
        miner_id = owner[1] if owner[0] == "miner" else owner[2] if owner[1] == "orphan_loss" else None
        if miner_id is not None and int(miner_id) not in register.miners:
            raise CorrectionError(f"account {account}: there is no miner {miner_id} in the register")
    at_us = await journal_store.next_instant(connection, now_us)
    day = rules.day_of(at_us)
    balances = await journal_store.balances_until(connection, day)
    before, after = {}, {}
    for account, amount in entry.postings:
        own = journal.direction(account)
        before[account] = balances.get(account, 0) * own
        after[account] = before[account] + amount * own
        if after[account] < 0 and after[account] < before[account] and not account.startswith("pool:"):
            raise CorrectionError(
                f"account {account} has {before[account]} satoshis: a correction may not take it below zero"
            )
    entry_id = await journal_store.book(connection, entry, at_us, day, actor.name)
    return Corrected(entry_id or 0, before, after)
