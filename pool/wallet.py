"""The pool's wallet on its bitcoind: coins, drafts of transactions, and where a transaction stands.

A translator like `pool.bitcoind`: it decides nothing and keeps nothing. All amounts are integer satoshis and
all fee rates integer satoshis for 1000 virtual bytes; the node's decimals are turned into them exactly.

Coins that the wallet chooses are at least as deep in the chain as a coinbase must be: no reorganisation up to
maturity takes the ground from under a payout, and none spends what another payout may still replace.

Sources: Bitcoin Core's RPC documentation (wallet, rawtransactions, fee estimation), `src/rpc/protocol.h`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from payouts.block_state import MATURITY
from pool.bitcoind import Bitcoind, RpcError
from pool.node import NodeError

COIN: Final = 100_000_000
"""Satoshis in a bitcoin."""
_WALLET: Final = -4
_NOT_FOUND: Final = -5
_INVALID: Final = -8
_LOCKED: Final = -13
_NO_WALLET: Final = -18
_MISSING_INPUTS: Final = -25
_REJECTED: Final = -26
_IN_CHAIN: Final = -27
_KNOWN: Final = frozenset({"txn-already-in-mempool", "txn-already-known"})
_NO_INPUTS: Final = frozenset({"missing-inputs", "bad-txns-inputs-missingorspent"})


class WalletError(NodeError):
    """The wallet cannot do what was asked; the text says what to do."""


class NotEnoughCoins(WalletError):
    """The wallet has not enough coins that are deep enough."""


class Refused(WalletError):
    """The node does not take a transaction."""


class CoinTaken(Refused):
    """A coin of the transaction is not there: another transaction has spent it."""


class Place(NamedTuple):
    """Where a transaction is that the wallet knows.

    `confirmations` is at least 1 in the chain, 0 outside it, negative when the chain has another one that
    spends the same coin, so many blocks deep. The block is given in the chain only, with its own time.
    """

    confirmations: int
    block_hash: str | None
    height: int | None
    time_us: int | None
    raw: bytes


class Balance(NamedTuple):
    """Satoshis of the wallet; what an unconfirmed payout spends is not in it any more."""

    trusted: int
    pending: int
    immature: int


def coin(text: str) -> dict[str, object]:
    """A coin written "txid:output", as RPC has it."""
    txid, _, number = text.partition(":")
    return {"txid": txid, "vout": int(number)}


def bitcoins(amount_sat: int) -> str:
    """Satoshis written as bitcoin, with 8 places."""
    return f"{amount_sat // COIN}.{amount_sat % COIN:08}"


def _satoshis(value: Any) -> int:
    return int(Decimal(value) * COIN)


class Wallet:
    """One wallet of a node by its name; every method raises NodeError."""

    def __init__(self, node: Bitcoind, name: str) -> None:
        self.node = node
        self.name = name

    async def prepare(self, address: str) -> None:
        """Check node and wallet, load the wallet if the node has not, and that `address` is the wallet's."""
        await self.node.check()
        try:
            info = await self._call("getwalletinfo")
        except RpcError as error:
            if error.code != _NO_WALLET:
                raise
            await self._load()
            info = await self._call("getwalletinfo")
        if info.get("scanning"):
            raise WalletError(f"{self._who}: is rescanning the chain; wait for it")
        known = await self._call("getaddressinfo", address)
        if not known.get("iswitness"):
            raise WalletError(
                f"{self._who}: {address} (pool.address) is not native segwit, so a payment's txid is not "
                f"known before it is signed; take a bc1 address"
            )
        if not (known.get("ismine") or known.get("iswatchonly")) or not known.get("solvable"):
            raise WalletError(
                f"{self._who}: does not know how to spend from {address} (pool.address); give it the "
                f"descriptor of that address with importdescriptors, or correct settlement.wallet"
            )

    async def _load(self) -> None:
        try:
            await self.node.call("loadwallet", self.name)
        except RpcError as error:
            if "already load" in error.message.lower():
                return
            raise WalletError(
                f"{self._who}: the node has no such wallet ({error.message}); make it with createwallet and "
                f"give it the descriptor of pool.address, or correct settlement.wallet"
            ) from None

    async def balance(self) -> Balance:
        """What is in the wallet."""
        mine = (await self._call("getbalances"))["mine"]
        return Balance(*(_satoshis(mine[key]) for key in ("trusted", "untrusted_pending", "immature")))

    async def deep_sat(self) -> int:
        """The sum of the coins that a payout may be made of, now."""
        coins = await self._call("listunspent", MATURITY)
        return sum(_satoshis(one["amount"]) for one in coins)

    # Coins

    async def reserve(self, coins: Iterable[str], freed: Iterable[str]) -> None:
        """Keep the wallet from choosing `coins` for anything, and let it choose `freed` again.

        The wallet forgets this when it is unloaded, so it is asked for before every choice.
        """
        locked = {f"{one['txid']}:{one['vout']}" for one in await self._call("listlockunspent")}
        for text in sorted(set(coins) - locked):
            await self._lock(text, unlock=False)
        for text in sorted(set(freed) & locked):
            await self._lock(text, unlock=True)

    async def _lock(self, text: str, *, unlock: bool) -> None:
        try:
            await self._call("lockunspent", unlock, [coin(text)])
        except RpcError as error:
            if error.code != _INVALID:  # spent already: it cannot be chosen
                raise

    async def in_chain(self, text: str) -> bool:
        """Whether a coin is unspent in the chain, whatever the mempool says."""
        one = coin(text)
        return await self.node.call("gettxout", one["txid"], one["vout"], False) is not None

    async def spender_in_mempool(self, text: str) -> str | None:
        """The txid of the unconfirmed transaction that spends a coin."""
        found = await self.node.call("gettxspendingprevout", [coin(text)])
        txid = found[0].get("spendingtxid")
        return None if txid is None else str(txid)

    async def spender_in_chain(self, text: str) -> tuple[str, int, bytes] | None:
        """The wallet's transaction in the chain that spends a coin, and how deep it is. It takes long."""
        wanted = coin(text)
        listed = await self._call("listsinceblock", "", 1, True)
        sent = {one["txid"] for one in listed["transactions"] if one["category"] == "send"}
        for txid in sorted(sent):
            found = await self._call("gettransaction", txid, True, True)
            spent = found["decoded"]["vin"]
            if found["confirmations"] > 0 and any(
                one.get("txid") == wanted["txid"] and one.get("vout") == wanted["vout"] for one in spent
            ):
                return txid, int(found["confirmations"]), bytes.fromhex(found["hex"])
        return None

    async def sent_since(self, block_hash: str) -> dict[str, set[str]]:
        """Addresses that the wallet's transactions after a block pay, by txid; of all for an empty hash."""
        try:
            listed = await self._call("listsinceblock", block_hash, 1, True, False)
        except RpcError as error:
            if error.code != _NOT_FOUND:
                raise
            listed = await self._call("listsinceblock", "", 1, True, False)
        paid: dict[str, set[str]] = {}
        for one in listed["transactions"]:
            if one["category"] == "send" and one["confirmations"] >= 0:
                paid.setdefault(one["txid"], set()).add(one.get("address", ""))
        return paid

    # Drafts and signatures

    async def fund(
        self,
        payments: Sequence[tuple[str, int]],
        change_address: str,
        rate: int,
        coins: Sequence[str] = (),
    ) -> str:
        """An unsigned PSBT that pays (address, satoshis) in this order, change last; see the head.

        It spends all of `coins` and what more is needed. Raises NotEnoughCoins.
        """
        options = {
            "add_inputs": True,
            "minconf": MATURITY,
            "changeAddress": change_address,
            "changePosition": len(payments),
            "fee_rate": _sat_vb(rate),
            "replaceable": True,
        }
        outputs = [{address: bitcoins(amount)} for address, amount in payments]
        return await self._funded([coin(text) for text in coins], outputs, options)

    async def sweep(self, coins: Sequence[str], amount_sat: int, address: str, rate: int) -> str:
        """An unsigned PSBT that sends `coins`, worth `amount_sat`, to one address, less the fee."""
        options = {
            "add_inputs": False,
            "changeAddress": address,
            "fee_rate": _sat_vb(rate),
            "replaceable": True,
            "subtractFeeFromOutputs": [0],
        }
        return await self._funded([coin(text) for text in coins], [{address: bitcoins(amount_sat)}], options)

    async def _funded(
        self, inputs: list[dict[str, object]], outputs: list[dict[str, str]], options: dict[str, object]
    ) -> str:
        try:
            made = await self._call("walletcreatefundedpsbt", inputs, outputs, 0, options)
        except RpcError as error:
            if error.code != _WALLET:
                raise
            if "Insufficient funds" in error.message or "preselected coins" in error.message:
                raise NotEnoughCoins(
                    f"{self._who}: not enough coins that are {MATURITY} blocks deep; they are awaited"
                ) from None
            raise WalletError(f"{self._who}: cannot make the transaction: {error.message}") from None
        return str(made["psbt"])

    async def sign(self, psbt: str) -> str:
        """The PSBT with the signatures that this wallet's keys can give."""
        try:
            signed = await self._call("walletprocesspsbt", psbt, True, "DEFAULT")
        except RpcError as error:
            if error.code == _LOCKED:
                raise WalletError(
                    f"{self._who}: is locked; unlock it with `bitcoin-cli -rpcwallet={self.name} "
                    f"walletpassphrase PASSPHRASE SECONDS`"
                ) from None
            raise
        return str(signed["psbt"])

    async def combine(self, psbts: Sequence[str]) -> str:
        """One PSBT with the signatures of all; raises WalletError where they are not of one transaction."""
        try:
            return str(await self.node.call("combinepsbt", list(psbts)))
        except RpcError as error:
            raise WalletError(f"{self.node.name} cannot read these PSBTs: {error.message}") from None

    async def finalize(self, psbt: str) -> bytes | None:
        """The transaction ready for the network; None while signatures are missing."""
        try:
            made = await self.node.call("finalizepsbt", psbt, True)
        except RpcError as error:
            raise WalletError(f"{self.node.name} cannot read this PSBT: {error.message}") from None
        return bytes.fromhex(made["hex"]) if made["complete"] else None

    # The network

    async def require_valid(self, raw: bytes) -> None:
        """Raises Refused or CoinTaken when the node would not take a transaction; one it has is fine."""
        (verdict,) = await self.node.call("testmempoolaccept", [raw.hex()])
        reason = verdict.get("reject-reason", "")
        if verdict.get("allowed") or reason in _KNOWN:
            return
        text = verdict.get("reject-details") or reason
        raise (CoinTaken if reason in _NO_INPUTS else Refused)(f"{self.node.name} refuses it: {text}")

    async def send(self, raw: bytes) -> None:
        """Give a transaction to the network; one that is known or mined already is fine.

        Raises CoinTaken or Refused.
        """
        try:
            await self.node.call("sendrawtransaction", raw.hex())
        except RpcError as error:
            if error.code == _IN_CHAIN:
                return
            if error.code == _MISSING_INPUTS and error.message in _NO_INPUTS:
                raise CoinTaken(f"{self.node.name} refuses it: {error.message}") from None
            if error.code in (_MISSING_INPUTS, _REJECTED):
                raise Refused(f"{self.node.name} refuses it: {error.message}") from None
            raise

    async def place(self, txid: str) -> Place | None:
        """Where a transaction is; None when the wallet never saw it."""
        try:
            found = await self._call("gettransaction", txid)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        confirmations, raw = int(found["confirmations"]), bytes.fromhex(found["hex"])
        if confirmations < 1:
            return Place(confirmations, None, None, None, raw)
        height = int(found["blockheight"])
        return Place(confirmations, found["blockhash"], height, int(found["blocktime"]) * 1_000_000, raw)

    async def fees_in_mempool(self, txid: str) -> int | None:
        """Fees of an unconfirmed transaction and all that spend from it, in satoshis; None: not there."""
        try:
            entry = await self.node.call("getmempoolentry", txid)
        except RpcError as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return _satoshis(entry["fees"]["descendant"])

    async def estimate(self, blocks: int) -> int | None:
        """The node's estimate to be mined within so many blocks; None when it has seen too little."""
        found = await self.node.call("estimatesmartfee", blocks)
        return _satoshis(found["feerate"]) if "feerate" in found else None

    async def least_rate(self) -> int:
        """What a transaction must pay to be let into the node's mempool now."""
        info = await self.node.call("getmempoolinfo")
        return max(_satoshis(info["mempoolminfee"]), _satoshis(info["minrelaytxfee"]))

    async def least_raise(self) -> int:
        """By how much a replacement must pay more (BIP125, rule 4)."""
        return _satoshis((await self.node.call("getmempoolinfo"))["incrementalrelayfee"])

    async def _call(self, method: str, *params: object) -> Any:
        return await self.node.call(method, *params, wallet=self.name)

    @property
    def _who(self) -> str:
        return f"wallet {self.name!r} of {self.node.name}"


def _sat_vb(rate: int) -> str:
    return f"{rate // 1000}.{rate % 1000:03}"
