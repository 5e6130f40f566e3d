"""What a person does with payouts: a run by hand, PSBTs out and in, a higher fee, taking one back.

Every function acts under the settler's lock (`settlement_store.tenure`) and says in its error what stands in
the way. Who may ask is the caller's business; here it only stands in the events who did.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Final, NamedTuple

from payouts.block_state import MATURITY
from pool import settlement_store as store
from pool.payout_transaction import WrongTransaction, pays_none_of, stripped, unsigned
from pool.settlement_store import Payout, Tenure, Version
from pool.settler import Settler

_PSBT_MAGIC: Final = b"psbt\xff"


class DeskError(ValueError):
    """It cannot be done. The message names the payout and says what can be."""


class Signed(NamedTuple):
    """What came of an import."""

    payout_id: int
    version: int
    complete: bool
    psbt: str
    """With all signatures that were given, for whoever signs next; empty when it is complete."""
    problem: str | None
    """What kept it from being sent, where something did."""


async def find(settler: Settler, tenure: Tenure, payout_id: int) -> Payout:
    """A payout; raises DeskError."""
    payout = await settler.read(tenure, payout_id)
    if payout is None:
        raise DeskError(f"payout {payout_id}: there is none; `dmpool payouts list` shows them")
    return payout


async def export(settler: Settler, tenure: Tenure, payout_id: int, actor: str) -> tuple[int, str]:
    """The PSBT of the newest version, to be signed, with its number. From now on it may come back signed."""
    problem = await settler.advance(tenure, payout_id)
    payout = await find(settler, tenure, payout_id)
    version = payout.newest
    if payout.state not in store.LIVE or payout.state == "confirmed":
        raise DeskError(f"payout {payout_id}: is {payout.state}; there is nothing to sign")
    if version is None:
        raise DeskError(f"payout {payout_id}: has no transaction yet: {problem or 'try again in a moment'}")
    if version.txid is not None:
        raise DeskError(
            f"payout {payout_id}: version {version.number} is signed already; it is sent by the program"
        )
    await settler.hand_out(tenure, payout, version, actor)
    return version.number, version.psbt


async def take_signed(settler: Settler, tenure: Tenure, contents: Sequence[bytes], actor: str) -> Signed:
    """Take what signers gave back: a transaction, or PSBTs that together have all signatures."""
    forms = [_form(content) for content in contents]
    if len(forms) == 1 and isinstance(forms[0], bytes):
        raw: bytes | None = forms[0]
        payout, version = await _of_draft(settler, tenure, stripped(forms[0]))
        whole = ""
    else:
        psbts = [form for form in forms if isinstance(form, str)]
        if len(psbts) != len(forms) or len({unsigned(psbt) for psbt in psbts}) != 1:
            raise DeskError("the files are not of one transaction; import those of each payout by themselves")
        payout, version = await _of_draft(settler, tenure, unsigned(psbts[0]))
        wallet = settler.means.wallet
        whole = await wallet.combine([version.psbt, *psbts])
        raw = await wallet.finalize(whole)
    if raw is None:
        return Signed(payout.id, version.number, False, whole, None)
    if version.txid is None:
        await settler.check(version, raw)
        await settler.store_signed(tenure, payout, version, raw, actor, "signed")
    return Signed(payout.id, version.number, True, "", await settler.advance(tenure, payout.id))


def _form(content: bytes) -> str | bytes:
    """A PSBT in base64, or a raw transaction, from a file in either form of either."""
    if content.startswith(_PSBT_MAGIC):
        return base64.b64encode(content).decode()
    text = b"".join(content.split())
    try:
        raw = bytes.fromhex(text.decode())
    except (UnicodeDecodeError, ValueError):
        raw = None
    if raw is not None:
        return base64.b64encode(raw).decode() if raw.startswith(_PSBT_MAGIC) else raw
    try:
        if base64.b64decode(text, validate=True).startswith(_PSBT_MAGIC):
            return text.decode()
    except (binascii.Error, ValueError):
        pass
    raise WrongTransaction("the file has neither a PSBT (base64 or binary) nor a transaction in hex")


async def _of_draft(settler: Settler, tenure: Tenure, wanted: bytes) -> tuple[Payout, Version]:
    """Which version a transaction is, by its bytes without signatures."""
    async with tenure.read() as connection:
        live = await store.live_ids(connection)
    for payout_id in live:
        payout = await find(settler, tenure, payout_id)
        for version in payout.versions:
            if unsigned(version.psbt) != wanted:
                continue
            if payout.cancelling and version.purpose == "pay":
                raise DeskError(
                    f"payout {payout_id}: is being taken back; sign what `dmpool payouts export {payout_id}` "
                    f"gives, version {payout.versions[-1].number}"
                )
            return payout, version
    raise DeskError(
        "the file has a transaction that is no version of a payout under way: sign what "
        "`dmpool payouts export` gave, without changing it"
    )


async def bump(
    settler: Settler, tenure: Tenure, payout_id: int, rate: int | None, actor: str, reason: str
) -> str | None:
    """A version with a higher fee, of at least `rate` (sat/kvB); what is wrong, where something is."""
    await settler.advance(tenure, payout_id)
    payout = await find(settler, tenure, payout_id)
    if payout.state not in store.UNPAID:
        raise DeskError(f"payout {payout_id}: is {payout.state}; its fee cannot be raised any more")
    if not payout.versions:
        raise DeskError(f"payout {payout_id}: has no transaction yet whose fee could be raised")
    await settler.bump(tenure, payout, rate or await settler.rate(), actor, reason)
    return await settler.advance(tenure, payout_id)


async def abandon(settler: Settler, tenure: Tenure, payout_id: int, actor: str, reason: str) -> str:
    """Take a payout back; what happens now, in a sentence."""
    await settler.advance(tenure, payout_id, only_looking=True)
    payout = await find(settler, tenure, payout_id)
    if payout.state not in store.UNPAID:
        raise DeskError(f"payout {payout_id}: is {payout.state}; it cannot be taken back")
    if not any(version.out for version in payout.versions):
        wallet = settler.means.wallet
        for coin in payout.versions[0].inputs if payout.versions else ():
            if await wallet.spender_in_mempool(coin) or (
                not await wallet.in_chain(coin) and not await _spent_elsewhere(settler, payout)
            ):
                raise DeskError(
                    f"payout {payout_id}: this database never gave it out, and its coin {coin} is being "
                    f"spent: was the database restored from a backup? Try again when that is mined"
                )
        await settler.store_released(tenure, payout, None, actor, f"abandoned: {reason}")
        return "it was never signed nor given out: what it was to pay is payable again"
    if payout.cancelling:
        return (
            "it is being taken back already; the transaction that does so waits to be signed or mined: "
            f"`dmpool payouts status {payout_id}`"
        )
    if await _spent_elsewhere(settler, payout):
        note = f"abandoned, its coins were spent elsewhere {MATURITY} blocks ago: {reason}"
        await settler.store_released(tenure, payout, None, actor, note)
        return "its coins were spent elsewhere for good: what it was to pay is payable again"
    await settler.replace(tenure, payout, await settler.rate(), "cancel", actor, reason)
    problem = await settler.advance(tenure, payout_id)
    return (
        f"somebody may have its signed transaction, so one that takes the coins back must be mined first and "
        f"become {MATURITY} blocks deep; if the payment is mined instead, it was paid"
        + (f". Now: {problem}" if problem else "")
    )


async def _spent_elsewhere(settler: Settler, payout: Payout) -> bool:
    """Whether another transaction has taken the coins that all versions spend, for good.

    Raises DeskError while it could still leave the chain.
    """
    wallet = settler.means.wallet
    for coin in payout.versions[0].inputs:
        if await wallet.in_chain(coin):
            continue
        spender = await wallet.spender_in_chain(coin)
        if spender is None:
            raise DeskError(
                f"payout {payout.id}: coin {coin} is spent, and the wallet does not know by what; let the "
                f"node run rescanblockchain on it"
            )
        if not pays_none_of(spender[2], [(due.script, due.amount_sat) for due in payout.payments]):
            raise DeskError(
                f"payout {payout.id}: {spender[0]}, which spent coin {coin}, makes its payments: the miners "
                f"were paid by a transaction that the database does not know (restored from a backup, or "
                f"signed twice elsewhere); nothing may be paid again"
            )
        if spender[1] < MATURITY:
            raise DeskError(
                f"payout {payout.id}: coin {coin} was spent by {spender[0]}, {spender[1]} blocks deep; "
                f"before it is {MATURITY} deep a reorganisation could bring the payout's transaction back"
            )
        return True
    return False


def binary(psbt: str) -> bytes:
    """A PSBT as the file that signers read."""
    return base64.b64decode(psbt)
