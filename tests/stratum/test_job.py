"""Jobs, read back by others: the coinbase by python-bitcoinlib, the notify line by the tests' own miner."""

import json
from itertools import pairwise

import pytest
from bitcoin.core import (
    CBlock,
    CMutableTransaction,
    CMutableTxIn,
    CMutableTxOut,
    COutPoint,
    CTransaction,
    CTxInWitness,
    CTxWitness,
)
from bitcoin.core.script import OP_TRUE, CScript, CScriptWitness
from hypothesis import given, settings
from hypothesis import strategies as st

import native
from stratum import job as jobs
from stratum.job import (
    COINBASE_LIMIT,
    RENEW_SECONDS,
    SIBLINGS_LIMIT,
    TAG_LIMIT,
    CoinbaseTerms,
    Job,
    JobBook,
    Template,
)
from tests.stratum.fakes import COMMITMENT, MASK, NOW, TERMS, read_notify, sha256d, template

EXTRANONCE1, EXTRANONCE2 = b"\x12\x34\x56\x78", bytes(range(1, 9))
SCRIPTS = {
    "p2pkh": b"\x76\xa9\x14" + bytes(20) + b"\x88\xac",
    "p2sh": b"\xa9\x14" + bytes(20) + b"\x87",
    "p2wpkh": b"\x00\x14" + bytes(20),
    "p2wsh": b"\x00\x20" + bytes(32),
    "p2tr": b"\x51\x20" + bytes(32),
}
HEIGHTS = st.one_of(
    st.integers(1, 300),
    st.sampled_from([0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFFFF, 0x800000]),
    st.integers(1, 2**31 - 1),
)


def make(number: int, source: Template, terms: CoinbaseTerms = TERMS) -> Job:
    return Job(number, source, terms, MASK, native.SeenHashes())


def payment(mark: int, witness: bool) -> CTransaction:
    """A transaction of somebody else, with or without a witness."""
    spend = CMutableTxIn(COutPoint(bytes([mark]) * 32, mark), CScript() if witness else CScript([b"sig"]))
    stack = CTxWitness([CTxInWitness(CScriptWitness([b"signature", b"key"]))]) if witness else CTxWitness()
    pays = [CMutableTxOut(1000 + mark, CScript([OP_TRUE]))]
    return CTransaction.from_tx(CMutableTransaction([spend], pays, nVersion=2, witness=stack))


def with_payments(count: int) -> Template:
    payments = [payment(mark + 1, mark % 2 == 0) for mark in range(count)]
    return template(
        transactions=tuple(one.serialize() for one in payments),
        txids=b"".join(one.GetTxid() for one in payments),
    )


@given(
    height=HEIGHTS,
    number=st.integers(0, 2**32 - 1),
    value=st.integers(0, 21 * 10**14),
    script=st.sampled_from(sorted(SCRIPTS)),
    tag=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=TAG_LIMIT),
    commitment=st.sampled_from([b"", COMMITMENT]),
)
def test_the_coinbase_says_what_it_must(
    height: int, number: int, value: int, script: str, tag: str, commitment: bytes
) -> None:
    source = template(height=height, coinbase_value=value, witness_commitment=commitment)
    job = make(number, source, CoinbaseTerms(SCRIPTS[script], tag.encode()))
    raw = job.coinbase(EXTRANONCE1, EXTRANONCE2)
    assert len(raw) <= COINBASE_LIMIT
    coinbase = CTransaction.deserialize(raw)
    assert coinbase.serialize() == raw
    assert coinbase.is_coinbase()
    assert (coinbase.nVersion, coinbase.nLockTime) == (2, 0)
    (spend,) = coinbase.vin
    assert spend.nSequence == 0xFFFFFFFF
    outputs = [(one.nValue, bytes(one.scriptPubKey)) for one in coinbase.vout]
    assert outputs == [(value, SCRIPTS[script])] + ([(0, commitment)] if commitment else [])
    pushes = list(CScript(spend.scriptSig))
    assert pushes[-1] == EXTRANONCE1 + EXTRANONCE2, "the extranonces are one push, and the last"
    assert pushes[1] == number.to_bytes(4, "big")
    assert pushes[2:-1] == ([tag.encode()] if tag else [])
    assert bytes(spend.scriptSig).startswith(bip34(height))
    assert 2 <= len(spend.scriptSig) <= 100
    assert job.coinbase1.endswith(b"\x0c"), "behind coinbase1 comes the push of twelve bytes"


def bip34(height: int) -> bytes:
    """The height as `CScript() << nHeight` of Bitcoin Core writes it, by BIP34 and its small-number form."""
    if height <= 16:
        return bytes([0x50 + height])
    size = height.bit_length() // 8 + 1  # one bit is the sign's
    return bytes([size]) + height.to_bytes(size, "little")


@pytest.mark.parametrize(
    ("height", "push"), [(1, "51"), (16, "60"), (17, "0111"), (128, "028000"), (227_835, "03fb7903")]
)
def test_bip34_height(height: int, push: str) -> None:
    assert bip34(height).hex() == push
    raw = make(1, template(height=height)).coinbase(EXTRANONCE1, EXTRANONCE2)
    assert CTransaction.deserialize(raw).vin[0].scriptSig.hex().startswith(push)


@pytest.mark.parametrize("commitment", [b"", COMMITMENT])
@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_q21_q60_the_largest_coinbase_fits_every_firmware(script: str, commitment: bytes) -> None:
    largest = template(height=2**31 - 1, coinbase_value=21 * 10**14, witness_commitment=commitment)
    job = make(2**32 - 1, largest, CoinbaseTerms(SCRIPTS[script], b"t" * TAG_LIMIT))
    assert len(job.coinbase(EXTRANONCE1, EXTRANONCE2)) <= 250


def test_a_coinbase_over_the_limit_is_an_error_that_names_the_remedy() -> None:
    with pytest.raises(ValueError, match="shorten the pool tag"):
        make(1, template(), CoinbaseTerms(SCRIPTS["p2tr"], b"t" * 90))


@given(
    payments=st.integers(0, 9),
    number=st.integers(0, 2**32 - 1),
    nonce=st.integers(0, 2**32 - 1),
    ahead=st.integers(0, 7200),
    rolled=st.integers(0, 2**16 - 1),
    version=st.sampled_from([0x20000000, 0x20000004, 0x3FFFFFFF, -0x60000000]),
)
def test_the_miner_and_the_pool_build_the_same_header(
    payments: int, number: int, nonce: int, ahead: int, rolled: int, version: int
) -> None:
    """The miner's side is built from the wire alone; the pool's side comes out of the C core."""
    changed = with_payments(payments)
    source = template(transactions=changed.transactions, txids=changed.txids, version=version)
    job = make(number, source)
    wire = read_notify(json.loads(job.notify)["params"])
    bits = rolled << 13
    ntime = source.current_time + ahead
    header = wire.header(EXTRANONCE1, EXTRANONCE2, ntime, nonce, bits)
    flags, pool_header, pool_hash = job.core.check(
        EXTRANONCE1, EXTRANONCE2.hex(), f"{ntime:08x}", f"{nonce:x}", f"{bits:08x}", b"\xff" * 32
    )
    assert flags == native.MEETS_SHARE
    assert pool_header == header
    assert pool_hash == sha256d(header)


@given(payments=st.integers(0, 40))
@settings(max_examples=30)
def test_i9_the_block_is_a_block(payments: int) -> None:
    source = with_payments(payments)
    job = make(77, source)
    wire = read_notify(json.loads(job.notify)["params"])
    header = wire.header(EXTRANONCE1, EXTRANONCE2, wire.ntime, 5)
    raw = job.block(header, EXTRANONCE1, EXTRANONCE2)
    block = CBlock.deserialize(raw)
    assert block.serialize() == raw
    assert block.get_header().serialize() == header
    assert block.calc_merkle_root() == block.hashMerkleRoot == header[36:68]
    assert block.hashPrevBlock == source.previous_block
    assert [one.serialize() for one in block.vtx[1:]] == list(source.transactions)
    coinbase = block.vtx[0]
    assert coinbase.wit.vtxinwit[0].scriptWitness.stack == (bytes(32),), "BIP141's reserved value"
    assert coinbase.GetTxid() == sha256d(job.coinbase(EXTRANONCE1, EXTRANONCE2)), (
        "the witness is not in the txid"
    )


def test_a_block_without_commitment_has_no_witness() -> None:
    job = make(1, template(witness_commitment=b""))
    raw = job.block(bytes(80), EXTRANONCE1, EXTRANONCE2)
    assert raw == bytes(80) + b"\x01" + job.coinbase(EXTRANONCE1, EXTRANONCE2)


def test_more_than_252_transactions_are_counted_in_three_bytes() -> None:
    raw = payment(1, witness=False).serialize()
    job = make(1, template(transactions=(raw,) * 300, txids=bytes(32) * 300))
    assert job.block(bytes(80), EXTRANONCE1, EXTRANONCE2)[80:83] == b"\xfd\x2d\x01"


def test_q13_q52_mask_bits_of_the_job_version_are_zero() -> None:
    """So that OR, XOR, addition and BIP310's replacement all give the same header."""
    job = make(1, template(version=0x3FFFFFFF))
    wire = read_notify(json.loads(job.notify)["params"])
    assert wire.version & MASK == 0
    assert wire.version == 0x3FFFFFFF & ~MASK


def test_q14_q60_the_notify_line_stays_under_4_kib() -> None:
    payments = with_payments(1)
    many = template(transactions=payments.transactions * 16000, txids=payments.txids * 16000)
    job = make(2**32 - 1, many, CoinbaseTerms(SCRIPTS["p2tr"], b"t" * TAG_LIMIT))
    (params,) = [json.loads(job.notify_clean)["params"]]
    assert len(params[4]) == 14
    assert len(job.notify_clean) < 4096


def test_the_two_notify_lines_differ_in_clean_jobs_only() -> None:
    job = make(0xABC, template())
    plain, clean = json.loads(job.notify), json.loads(job.notify_clean)
    assert (plain["params"].pop(), clean["params"].pop()) == (False, True)
    assert plain == clean
    assert plain["params"][0] == job.id == "abc"


def test_ntime_window_is_wide() -> None:
    """Q-63: at least 127 s ahead of any job; here two hours, and back to the node's mintime."""
    job = make(1, template())
    outcomes = {}
    for at in (int(NOW) - 3601, int(NOW) - 3600, int(NOW) + 7200, int(NOW) + 7201):
        flags, _, _ = job.core.check(EXTRANONCE1, "00" * 8, f"{at:08x}", "0", None, b"\xff" * 32)
        outcomes[at - int(NOW)] = bool(flags & native.NTIME_OUTSIDE)
    assert outcomes == {-3601: True, -3600: False, 7200: False, 7201: True}


def test_q53_q72_every_job_has_a_new_id_even_of_one_template() -> None:
    book = JobBook(0xFFFFFFFE, MASK)
    made = [book.add(template(), TERMS)[0] for _ in range(5)]
    assert len({job.id for job in made}) == 5
    assert all(len(job.id) <= 8 for job in made)
    assert len({job.coinbase1 for job in made}) == 5, "the search spaces are apart"


def test_growing_ids() -> None:
    book = JobBook(0x6000, MASK)
    numbers = [int(book.add(template(height), TERMS)[0].id, 16) for height in (1, 1, 2, 3)]
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))


def test_clean_only_on_a_new_tip() -> None:
    book = JobBook(1, MASK)
    heights = [1, 1, 2, 2, 2, 3]
    assert [book.add(template(height), TERMS)[1] for height in heights] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_sibling_tip_is_clean_work_and_leaves_the_worth_of_the_work_before() -> None:
    """Late shares are credited as long as the height is the same (peers 1.4)."""
    book = JobBook(1, MASK)
    first, _ = book.add(template(5), TERMS)
    _, clean = book.add(template(5, previous_block=bytes(32)), TERMS)
    assert clean
    assert not first.stale
    book.add(template(6), TERMS)
    assert first.stale
    assert book.find(first.id) is first


def test_a_tip_that_flips_for_ever_does_not_pile_up_work() -> None:
    book = JobBook(1, MASK)
    jobs = [book.add(template(5, previous_block=bytes([side]) * 32), TERMS)[0] for side in [1, 2] * 20]
    assert sum(book.find(job.id) is job for job in jobs) == SIBLINGS_LIMIT
    assert book.oldest_number == jobs[-SIBLINGS_LIMIT].number


def test_a_fresh_job_is_the_same_work_under_a_new_number() -> None:
    book = JobBook(0x10, MASK)
    with pytest.raises(RuntimeError, match="no job was ever made"):
        book.fresh(-1, 0.0)
    first, _ = book.add(template(5, txids=bytes(range(32)) * 3), TERMS)
    assert book.fresh(-1, 0.0) is first, "who has seen none takes the current one"
    fresh = book.fresh(first.number, 0.0)
    assert fresh.number == first.number + 1
    assert book.current is fresh
    assert book.find(fresh.id) is fresh
    assert (fresh.template, fresh.branches, fresh.seen) == (first.template, first.branches, first.seen)
    assert fresh.coinbase1 != first.coinbase1, "another search space"
    assert book.fresh(first.number, 0.0) is fresh, "all who need one share it"
    assert fresh.notify.replace(fresh.id.encode(), b"") != first.notify.replace(first.id.encode(), b"")


def test_fresh_jobs_are_made_now_and_then_only() -> None:
    book = JobBook(0x10, MASK)
    first, _ = book.add(template(5), TERMS)
    assert book.may_renew(first.number, 100.0)
    fresh = book.fresh(first.number, 100.0)
    assert not book.may_renew(fresh.number, 101.2)
    assert book.may_renew(first.number, 101.2), "there is one already that it does not know"
    assert book.may_renew(fresh.number, 100.0 + RENEW_SECONDS)
    assert book.may_renew(fresh.number, 99.0), "a clock that went back does not stop it"
    assert book.find(first.id) is first


def test_jobs_live_for_two_heights() -> None:
    book = JobBook(1, MASK)
    assert book.current is None
    assert book.oldest_number == 0
    old, newer = book.add(template(1), TERMS)[0], book.add(template(1), TERMS)[0]
    assert not old.stale
    middle, _ = book.add(template(2), TERMS)
    assert old.stale
    assert newer.stale
    assert not middle.stale
    assert (book.find(old.id), book.find(middle.id), book.current) == (old, middle, middle)
    book.add(template(3), TERMS)
    assert book.find(old.id) is None
    assert book.find(newer.id) is None
    assert book.find(middle.id) is middle
    assert book.oldest_number == middle.number


def test_hashes_seen_are_kept_by_height() -> None:
    book = JobBook(1, MASK)
    one, two = book.add(template(1), TERMS)[0], book.add(template(1), TERMS)[0]
    three, _ = book.add(template(2), TERMS)
    assert one.seen is two.seen
    assert three.seen is not one.seen


def test_a_height_without_a_block_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "JOBS_LIMIT", 3)
    book = JobBook(1, MASK)
    made = [book.add(template(1), TERMS)[0] for _ in range(5)]
    assert [book.find(job.id) is not None for job in made] == [False, False, True, True, True]
    assert book.oldest_number == made[2].number
    book.add(template(2), TERMS)
    book.add(template(3), TERMS)
    assert all(book.find(job.id) is None for job in made)


def test_a_transaction_is_kept_once_however_many_templates_carry_it() -> None:
    book = JobBook(1, MASK)
    one, two = (
        book.add(template(transactions=(bytes(bytearray(b"raw")),), txids=bytes(32)), TERMS)[0]
        for _ in range(2)
    )
    assert one.template.transactions[0] is two.template.transactions[0]


def test_a_template_that_makes_no_job_changes_nothing() -> None:
    book = JobBook(1, MASK)
    job, _ = book.add(template(1), TERMS)
    with pytest.raises(ValueError, match="tag"):
        book.add(template(2), CoinbaseTerms(SCRIPTS["p2tr"], b"t" * 90))
    assert not job.stale
    assert book.current is job
