"""Outputs as the network sees them: the dust limits that Bitcoin Core is known for, and weights."""

import pytest

from payouts.output import dust_sat, output_weight
from register.address import script_for

P2PKH = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
P2SH = "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm"
P2WPKH = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
P2WSH = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"
P2TR = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"


@pytest.mark.parametrize(
    ("address", "dust", "size"),
    [(P2PKH, 546, 34), (P2SH, 540, 32), (P2WPKH, 294, 31), (P2WSH, 330, 43), (P2TR, 330, 43)],
)
def test_dust_and_weight_of_each_kind_of_address(address: str, dust: int, size: int) -> None:
    script = script_for(address, "regtest")
    assert dust_sat(script) == dust
    assert output_weight(script) == 4 * size


def test_a_long_script_has_a_longer_length_and_is_no_witness_program() -> None:
    assert output_weight(b"\x51" * 300) == 4 * (8 + 3 + 300)
    assert dust_sat(b"\x51" * 300) == 3 * (311 + 148)
    assert dust_sat(b"\x51") == 3 * (10 + 148)
