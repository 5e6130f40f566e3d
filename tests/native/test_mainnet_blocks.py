"""The C core against real blocks: their headers, coinbases and transaction ids are facts written down here.

Every fact proves itself: a header that is remembered wrongly does not hash to a block hash with its zeros,
and a transaction id that is remembered wrongly does not fold to the merkle root.
"""

from typing import NamedTuple

import pytest
from bitcoin.core import CBlockHeader, CTransaction, uint256_from_compact

import native

pytestmark = pytest.mark.usefixtures("implementation")


class Block(NamedTuple):
    name: str
    version: int
    previous: str
    merkle_root: str
    time: int
    bits: int
    nonce: int
    hash: str

    def header(self) -> bytes:
        header: bytes = CBlockHeader(
            nVersion=self.version,
            hashPrevBlock=internal(self.previous),
            hashMerkleRoot=internal(self.merkle_root),
            nTime=self.time,
            nBits=self.bits,
            nNonce=self.nonce,
        ).serialize()
        return header


def internal(display: str) -> bytes:
    """A hash as explorers print it, in the order in which it is hashed."""
    return bytes.fromhex(display)[::-1]


GENESIS_ROOT = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
NO_BLOCK = "00" * 32

GENESIS = Block(
    "genesis", 1, NO_BLOCK, GENESIS_ROOT, 1231006505, 0x1D00FFFF, 2083236893,
    "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
)  # fmt: skip
BLOCK_1 = Block(
    "1", 1, GENESIS.hash, "0e3e2357e806b6cdb1f70b54c3a3a17b6714ee1f0e68bebb44a74b1efd512098",
    1231469665, 0x1D00FFFF, 2573394689,
    "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048",
)  # fmt: skip
BLOCK_170 = Block(
    "170", 1, "000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55",
    "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff", 1231731025, 0x1D00FFFF, 1889418792,
    "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
)  # fmt: skip
BLOCK_100000 = Block(
    "100000", 1, "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250",
    "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766", 1293623863, 0x1B04864C, 274148111,
    "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506",
)  # fmt: skip
BLOCK_125552 = Block(
    "125552", 1, "00000000000008a3a41b85b8b29ad444def299fee21793cd8b9e567eab02cd81",
    "2b12fcf1b09288fcaff797d71e950e71ae42b91e8bdb2304758dfcffc2b620e3", 1305998791, 0x1A44B9F2, 2504433986,
    "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
)  # fmt: skip
BLOCK_840000 = Block(
    "840000", 0x2A5FE000, "0000000000000000000172014ba58d66455762add0512355ad651207918494ab",
    "031b417c3a1828ddf3d6527fc210daafcc9218e81f98257f88d4d43bd7a5894f", 1713571767, 0x17034219, 3932395645,
    "0000000000000000000320283a032748cef8227873ff4872689bf23f1cda83a5",
)  # fmt: skip
TESTNET3 = Block(
    "testnet3 genesis", 1, NO_BLOCK, GENESIS_ROOT, 1296688602, 0x1D00FFFF, 414098458,
    "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
)  # fmt: skip
SIGNET = Block(
    "signet genesis", 1, NO_BLOCK, GENESIS_ROOT, 1598918400, 0x1E0377AE, 52613770,
    "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
)  # fmt: skip
REGTEST = Block(
    "regtest genesis", 1, NO_BLOCK, GENESIS_ROOT, 1296688602, 0x207FFFFF, 2,
    "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
)  # fmt: skip
BLOCKS = [GENESIS, BLOCK_1, BLOCK_170, BLOCK_100000, BLOCK_125552, BLOCK_840000, TESTNET3, SIGNET, REGTEST]

COINBASES = {
    "genesis": (
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104"
        "455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f"
        "6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130"
        "b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5f"
        "ac00000000"
    ),
    "170": (
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ffff001d0102"
        "ffffffff0100f2052a01000000434104d46c4968bde02899d2aa0963367c7a6ce34eec332b32e42e5f3407e052d64ac625da"
        "6f0718e7b302140434bd725706957c092db53805b821a85b23a7ac61725bac00000000"
    ),
    "100000": (
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff08044c86041b020602"
        "ffffffff0100f2052a010000004341041b0e8c2567c12536aa13357b79a073dc4444acb83c4ec7a0e2f99dd7457516c5817242"
        "da796924ca4e99947d087fedf9ce467cb9f7c6287078f801df276fdf84ac00000000"
    ),
}

TXIDS = {
    "genesis": [GENESIS_ROOT],
    "1": [BLOCK_1.merkle_root],
    "170": [
        "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082",
        "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
    ],
    "100000": [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ],
}

by_name = {block.name: block for block in BLOCKS}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.name)
def test_header_hash(block: Block) -> None:
    assert native.sha256d(block.header()) == internal(block.hash)


@pytest.mark.parametrize("name", TXIDS)
def test_merkle_root(name: str) -> None:
    txids = [internal(txid) for txid in TXIDS[name]]
    branches = native.merkle_branches(b"".join(txids[1:]))
    assert native.merkle_root(txids[0], branches) == internal(by_name[name].merkle_root)


@pytest.mark.parametrize("name", COINBASES)
def test_coinbase_txid(name: str) -> None:
    coinbase = bytes.fromhex(COINBASES[name])
    assert (
        native.sha256d(coinbase) == internal(TXIDS[name][0]) == CTransaction.deserialize(coinbase).GetTxid()
    )


@pytest.mark.parametrize("at", [36, 42, 63, 64, 65, 90, 100])
@pytest.mark.parametrize("name", COINBASES)
def test_the_real_block_is_found_by_its_submit(name: str, at: int) -> None:
    """A job cut out of the real block, wherever the extranonces lie, sees the real block in its submit."""
    block, coinbase = by_name[name], bytes.fromhex(COINBASES[name])
    target = uint256_from_compact(block.bits).to_bytes(32, "big")
    job = native.Job(
        coinbase1=coinbase[:at],
        coinbase2=coinbase[at + 10 :],
        extranonce2_size=6,
        branches=native.merkle_branches(b"".join(internal(txid) for txid in TXIDS[name][1:])),
        previous_block=internal(block.previous),
        version=block.version,
        bits=block.bits,
        network_target=target,
        version_mask=0,
        ntime_min=block.time,
        ntime_max=block.time,
    )
    extranonce1, extranonce2 = coinbase[at : at + 4], coinbase[at + 4 : at + 10].hex()
    fields = (extranonce1, extranonce2, f"{block.time:08x}", f"{block.nonce:08x}", None, target)
    assert job.check(*fields) == (
        native.MEETS_SHARE | native.MEETS_NETWORK,
        block.header(),
        internal(block.hash),
    )


def test_version_rolling_as_in_block_840000() -> None:
    """That block's miner had rolled the version: 0x20000000 and bits from the mask make its header."""
    block = BLOCK_840000
    job = native.Job(
        coinbase1=b"",
        coinbase2=b"",
        extranonce2_size=1,
        branches=b"",
        previous_block=internal(block.previous),
        version=0x20000000,
        bits=block.bits,
        network_target=bytes(32),
        version_mask=0x1FFFE000,
        ntime_min=block.time,
        ntime_max=block.time,
    )
    rolled = f"{block.version & 0x1FFFE000:08x}"
    flags, header, _ = job.check(b"", "00", f"{block.time:08x}", f"{block.nonce:08x}", rolled, bytes(32))
    assert flags == 0
    assert header[:36] == block.header()[:36]
    assert header[68:] == block.header()[68:]
