"""An output of a transaction: what it weighs, and from which sum the network relays it.

Dust is as Bitcoin Core has it (policy/policy.cpp, GetDustThreshold): what it would cost at 3000 satoshis for
1000 virtual bytes to create the output and to spend it.
"""

from __future__ import annotations

from typing import Final

DUST_RATE: Final = 3
"""Satoshis for a virtual byte: Bitcoin Core's -dustrelayfee by default."""
WITNESS_SCALE: Final = 4
"""Weight of a byte that is no witness."""
_SPEND: Final = 32 + 4 + 1 + 107 + 4
"""Bytes of an input that spends by a signature: outpoint, length, script, sequence."""
_SPEND_WITNESS: Final = 32 + 4 + 1 + 107 // WITNESS_SCALE + 4
_OP_1: Final = 0x51
_OP_16: Final = 0x60


def output_size(script: bytes) -> int:
    """Bytes of an output in a transaction: value, length of the script, script."""
    length = len(script)
    return 8 + (1 if length < 0xFD else 3 if length <= 0xFFFF else 5) + length


def output_weight(script: bytes) -> int:
    """What an output adds to the weight of a transaction."""
    return WITNESS_SCALE * output_size(script)


def dust_sat(script: bytes) -> int:
    """The least that can be paid to a script: an output of less is not relayed."""
    spend = _SPEND_WITNESS if is_witness_program(script) else _SPEND
    return DUST_RATE * (output_size(script) + spend)


def is_witness_program(script: bytes) -> bool:
    """Whether a script is native segwit: its signatures are no part of the txid (BIP141)."""
    if not 4 <= len(script) <= 42 or script[1] + 2 != len(script):
        return False
    return script[0] == 0 or _OP_1 <= script[0] <= _OP_16
