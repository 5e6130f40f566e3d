"""Addresses: the published vectors of BIP173 and BIP350, base58 of each chain, and wrong chains by name."""

import hashlib

import pytest
from bitcoin import base58 as reference_base58
from hypothesis import given
from hypothesis import strategies as st

from register.address import CHAINS, Chain, InvalidAddress, script_for


@pytest.mark.parametrize(
    ("address", "chain", "script"),
    [
        # BIP173, BIP350
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "main",
            "0014751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "testnet4",
            "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
        (
            "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
            "signet",
            "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "signet",
            "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "main",
            "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
        # the coinbase of the genesis block, and a well-known P2SH
        (
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "main",
            "76a91462e907b15cbf27d5425399ebf6f0fb50ebb88f1888ac",
        ),
        ("3P14159f73E4gFr7JterCCQh9QjiTjiZrG", "main", "a914e9c3dd0c07aac76179ebc76a6c78d4d67c6c160a87"),
    ],
)
def test_known_addresses(address: str, chain: Chain, script: str) -> None:
    assert script_for(address, chain).hex() == script


@pytest.mark.parametrize(
    "address",
    [
        # BIP350: wrong checksum constant for the version, in both directions, and other defects
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
        "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
        "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
        "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
        "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
        "bc1pw5dgrnzv",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
        "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
        "bc1gmk9yu",
        "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
        # BIP350: valid bech32m of later witness versions, which nothing can spend by a known rule
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "BC1SW50QGDZ25J",
        "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
        # base58
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7Divf",
        "1",
        "",
        "bc1",
        "1" * 26,
        "q" * 91,
        "адрес",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\n",
    ],
)
def test_invalid_addresses_are_refused_on_every_chain(address: str) -> None:
    for chain in CHAINS:
        with pytest.raises(InvalidAddress, match="an address begins with"):
            script_for(address, chain)


@pytest.mark.parametrize(
    ("address", "chain", "named", "expected"),
    [
        ("bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x", "main", "regtest", "'1', '3' or 'bc1'"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "regtest", "main", "'bcrt1'"),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "testnet4", "main", "'tb1'"),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "main",
            "testnet4 or signet",
            "'bc1'",
        ),
    ],
)
def test_an_address_of_another_chain_is_refused_by_name(
    address: str, chain: Chain, named: str, expected: str
) -> None:
    with pytest.raises(InvalidAddress, match=f"an address for {named}") as caught:
        script_for(address, chain)
    assert address in str(caught.value)
    assert expected in str(caught.value)


def test_unknown_chain() -> None:
    with pytest.raises(InvalidAddress, match="'testnet3' is unknown"):
        script_for("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "testnet3")  # type: ignore[arg-type]


@given(st.binary(min_size=20, max_size=20), st.sampled_from(sorted(CHAINS)))
def test_base58_agrees_with_python_bitcoinlib(digest: bytes, chain: Chain) -> None:
    for version, script in (
        (CHAINS[chain].p2pkh, b"\x76\xa9\x14" + digest + b"\x88\xac"),
        (CHAINS[chain].p2sh, b"\xa9\x14" + digest + b"\x87"),
    ):
        payload = bytes([version]) + digest
        checksum = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
        assert script_for(reference_base58.encode(payload + checksum), chain) == script


@given(st.text(max_size=100))
def test_any_text_gives_a_script_or_a_clear_refusal(text: str) -> None:
    try:
        script = script_for(text, "main")
    except InvalidAddress:
        return
    assert len(script) in (22, 23, 25, 34)
