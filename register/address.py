"""Bitcoin addresses of a chain, turned into the scripts that pay them.

`script_for` knows P2PKH and P2SH (base58check), P2WPKH and P2WSH (bech32, BIP173) and P2TR (bech32m,
BIP350), decoded by embit. An address of another chain is refused by name: money sent to it is lost.

The test chains share their base58 prefixes and, but for regtest, their bech32 prefix: a testnet4 address
cannot be told from a signet one, and this file does not pretend otherwise.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from embit import base58, bech32

Chain = Literal["main", "testnet4", "signet", "regtest"]


class InvalidAddress(ValueError):
    """The text is no address of the chain. The message names address, reason and the prefix expected."""


class _Prefixes(NamedTuple):
    p2pkh: int
    p2sh: int
    hrp: str
    example: str


_TEST: Final = _Prefixes(0x6F, 0xC4, "tb", "'m', 'n', '2' or 'tb1'")
CHAINS: Final[dict[Chain, _Prefixes]] = {
    "main": _Prefixes(0x00, 0x05, "bc", "'1', '3' or 'bc1'"),
    "testnet4": _TEST,
    "signet": _TEST,
    "regtest": _Prefixes(0x6F, 0xC4, "bcrt", "'m', 'n', '2' or 'bcrt1'"),
}
_LONGEST: Final = 90  # BIP173: no bech32 address is longer, and no base58 one comes near


def one_spelling(address: str) -> str:
    """The address as it is kept: bech32 means the same in capitals and in small letters."""
    small = address.lower()
    return small if small.startswith(tuple(f"{known.hrp}1" for known in CHAINS.values())) else address


def script_for(address: str, chain: Chain) -> bytes:
    """The scriptPubKey that pays `address` on `chain`; raises InvalidAddress."""
    expected = CHAINS.get(chain)
    if expected is None:
        raise InvalidAddress(f"chain {chain!r} is unknown; it is one of {', '.join(CHAINS)}")
    if not 1 <= len(address) <= _LONGEST:
        raise _invalid(address, chain, f"it has {len(address)} characters")
    hrp = address[: address.rfind("1")].lower()
    if any(hrp == known.hrp for known in CHAINS.values()):
        return _witness_script(address, hrp, chain, expected)
    return _base58_script(address, chain, expected)


def _witness_script(address: str, hrp: str, chain: Chain, expected: _Prefixes) -> bytes:
    try:
        version, program = bech32.decode(hrp, address)
    except IndexError:  # embit does not guard against an empty data part
        version, program = None, None
    if version is None:
        raise _invalid(address, chain, "its bech32 checksum, case or length is wrong (a mistyped character?)")
    if hrp != expected.hrp:
        raise _invalid(address, chain, f"it is an address for {_chains_of(hrp=hrp)}")
    if version > 1 or (version == 1 and len(program) != 32):
        raise _invalid(
            address, chain, f"witness version {version} with {len(program)} bytes has no known spending rule"
        )
    opcode = 0x00 if version == 0 else 0x50 + version
    return bytes([opcode, len(program), *program])


def _base58_script(address: str, chain: Chain, expected: _Prefixes) -> bytes:
    try:
        payload: bytes = base58.decode_check(address)
    except ValueError:
        raise _invalid(
            address, chain, "it is neither bech32 nor base58 with a right checksum (a mistyped character?)"
        ) from None
    if len(payload) != 21:
        raise _invalid(address, chain, f"it carries {len(payload)} bytes where an address carries 21")
    prefix, digest = payload[0], payload[1:]
    if prefix == expected.p2pkh:
        return b"\x76\xa9\x14" + digest + b"\x88\xac"
    if prefix == expected.p2sh:
        return b"\xa9\x14" + digest + b"\x87"
    other = _chains_of(prefix=prefix)
    raise _invalid(
        address,
        chain,
        f"it is an address for {other}" if other else f"its version byte {prefix} is no bitcoin address",
    )


def _chains_of(*, hrp: str | None = None, prefix: int | None = None) -> str:
    return " or ".join(
        name for name, known in CHAINS.items() if known.hrp == hrp or prefix in (known.p2pkh, known.p2sh)
    )


def _invalid(address: str, chain: Chain, reason: str) -> InvalidAddress:
    return InvalidAddress(
        f"address {address[:_LONGEST]!r}: {reason}; on {chain} an address begins with {CHAINS[chain].example}"
    )
