"""Records one by one: what cannot be is refused, and the message names the record and the remedy."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.centre import Centre
from register.device import Device
from register.event import Event, canonical
from register.identity import Kind, check_digit
from register.miner import Contact, Miner
from register.payout_address import PayoutAddress, address_at
from register.person import Person, Role, token_hash, whose
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.proposal import Proposal
from register.records import KINDS, decode
from register.register import Register
from tests.register_world import register_of

DAY = dt.date(2026, 6, 1)
MINER = Miner(1, "alatau", "ТОО «Алатау Майнинг»", "940140000385", "kk", (Contact("Айгүл", "a@alatau.kz"),))
CENTRE = Centre("ekb-1", "Hall 1", "Ekibastuz", "940140000385", "Alatau LLP", "lease", "contract 5", 5000)
DEVICE = Device(
    "KZ-1", "Bitmain", "S17", "SN1", "s17", 56_000, 2520, "940140000385", 1, "ekb-1", DAY, None, "rack 3"
)
WALLET = PayoutAddress(1, 1, "wallet", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", 5)
DEPOSIT = msgspec.structs.replace(
    WALLET, purpose="exchange_deposit", exchange="Exchange", licensor="AFSA", exchange_licence="AFSA-A-1"
)
ACCREDITATION = Accreditation("A-1", DAY, dt.date(2029, 6, 1), "Ministry")
SITE = Site("ala-1", "Almaty", "KZ", ("stratum", "backup"))
PROTOCOL = TestProtocol("P-1", DAY, "STS", "1.4.0", "abc")
REQUIREMENT = Requirement("R-1", "Text", "Rules p. 3", DAY, "evidence.pdf", "0" * 64)
PERSON = Person("anna.k", Role.OPERATOR, token_hash("secret"))


def check(record: Any) -> None:
    match record:
        case Site():
            record.check(production=True)
        case PayoutAddress():
            record.check("regtest", ("AFSA",))
        case _:
            record.check()


@pytest.mark.parametrize(
    "record",
    [MINER, CENTRE, DEVICE, WALLET, DEPOSIT, ACCREDITATION, SITE, PROTOCOL, REQUIREMENT, PERSON],
    ids=lambda record: type(record).__name__,
)
def test_right_records_are_taken_and_read_back(record: msgspec.Struct) -> None:
    check(record)
    (kind,) = (kind for kind, type_ in KINDS.items() if type_ is type(record))
    assert decode(kind, canonical(record)) == record


@pytest.mark.parametrize(
    ("record", "changes", "message"),
    [
        (MINER, {"name": ""}, "use 1 to 32"),
        (MINER, {"name": "a.b"}, "no dot"),
        (MINER, {"name": "a" * 33}, "use 1 to 32"),
        (MINER, {"name": "алатау"}, "use 1 to 32"),
        (MINER, {"name": "alatau\n"}, "use 1 to 32"),
        (MINER, {"title": ""}, "miner alatau: title"),
        (MINER, {"title": "x" * 201}, "1 to 200 printable"),
        (MINER, {"title": "x\x00"}, "printable"),
        (MINER, {"bin": "940140000386"}, "miner alatau: .*should be 5"),
        (MINER, {"bin": "940150000384"}, r"non-resident.*O-02"),
        (MINER, {"language": "de"}, "one of en, ru, kk"),
        (MINER, {"payout_threshold_sat": 9_999}, "satoshis: give 10000 to 10000000000, or 0"),
        (MINER, {"payout_threshold_sat": -1}, "0 for the pool's own"),
        (MINER, {"payout_threshold_sat": 10**10 + 1}, "miner alatau: payout threshold of 10000000001"),
        (MINER, {"contacts": (Contact("A"),) * 11}, "keep up to 10"),
        (MINER, {"contacts": (Contact("A"),)}, "needs an e-mail address or a phone"),
        (MINER, {"contacts": (Contact("A", "a@b"),)}, "must look like"),
        (MINER, {"contacts": (Contact("A", phone="call me"),)}, r"write it like \+7"),
        (MINER, {"contacts": (Contact("", "a@b.kz"),)}, "contact"),
        (CENTRE, {"code": "a b"}, "data centre: code 'a b'"),
        (CENTRE, {"title": ""}, "data centre ekb-1: title"),
        (CENTRE, {"address": "x" * 301}, "1 to 300"),
        (CENTRE, {"legal_basis": "gift"}, "one of ownership, lease, other"),
        (CENTRE, {"document": ""}, "document"),
        (CENTRE, {"declared_power_kw": -1}, "out of range"),
        (CENTRE, {"holder_bin": "1"}, "ekb-1: holder: BIN/IIN '1'"),
        (DEVICE, {"registry_number": ""}, "registry number"),
        (DEVICE, {"serial_number": "№ 5"}, "serial number"),
        (DEVICE, {"worker": "a b"}, "worker name 'a b'"),
        (DEVICE, {"worker": ""}, "worker name"),
        (DEVICE, {"nominal_ghs": 0}, "nominal hashrate of 0 GH/s"),
        (DEVICE, {"nominal_w": 0}, "nominal power of 0 W"),
        (DEVICE, {"owner_bin": "940140000386"}, "KZ-1: owner"),
        (DEVICE, {"excluded_on": dt.date(2026, 5, 31)}, "before it was included"),
        (DEVICE, {"place": "x" * 101}, "place"),
        (DEVICE, {"model": " S17"}, "model"),
        (WALLET, {"address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}, "regtest"),
        (WALLET, {"purpose": "gift"}, "one of wallet, exchange_deposit"),
        (WALLET, {"exchange": "X"}, "a wallet has no exchange"),
        (DEPOSIT, {"licensor": "NBK"}, "not eligible; licensor must be one of AFSA"),
        (DEPOSIT, {"exchange": ""}, "exchange"),
        (DEPOSIT, {"exchange_licence": ""}, "exchange licence"),
        (ACCREDITATION, {"number": ""}, "accreditation: number"),
        (ACCREDITATION, {"valid_to": dt.date(2026, 5, 31)}, "before its issue"),
        (SITE, {"country": "Kazakhstan"}, "must be two letters"),
        (SITE, {"country": "DE"}, "in Kazakhstan"),
        (SITE, {"roles": ()}, "roles must be of"),
        (SITE, {"roles": ("stratum", "kitchen")}, "kitchen"),
        (PROTOCOL, {"version": ""}, "test protocol P-1: version"),
        (PROTOCOL, {"laboratory": ""}, "laboratory"),
        (REQUIREMENT, {"evidence_sha256": "0"}, "64 hex digits"),
        (REQUIREMENT, {"met_on": None}, "give both or neither"),
        (REQUIREMENT, {"evidence": ""}, "give both or neither"),
        (PERSON, {"name": "Anna"}, "use 2 to 32 of a-z"),
        (PERSON, {"name": "a"}, "use 2 to 32"),
        (PERSON, {"role": Role.SYSTEM}, "auditor, operator or compliance"),
        (PERSON, {"token_sha256": "secret"}, "64 hex digits"),
    ],
)
def test_impossible_records(record: msgspec.Struct, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(msgspec.structs.replace(record, **changes))


def test_o02_a_miner_is_a_legal_entity_or_an_entrepreneur_of_kazakhstan() -> None:
    assert MINER.kind is Kind.LEGAL_ENTITY
    entrepreneur = msgspec.structs.replace(MINER, bin="061211600012")
    entrepreneur.check()
    assert entrepreneur.kind is Kind.INDIVIDUAL_ENTREPRENEUR
    for digit, what in (("1", "branch"), ("2", "representation")):
        number = next(
            number
            for number in (f"9401{4}{digit}{serial:05}{check}" for serial in range(3) for check in range(10))
            if is_number(number)
        )
        with pytest.raises(ValueError, match=f"{what}.*digit 6 is {digit}.*O-02"):
            msgspec.structs.replace(MINER, bin=number).check()


def is_number(number: str) -> bool:
    return check_digit(number[:11]) == int(number[11])


# Hardware units in time


def days(first: int, last: int | None) -> Device:
    start = DAY + dt.timedelta(days=first)
    end = None if last is None else DAY + dt.timedelta(days=last)
    return msgspec.structs.replace(DEVICE, included_on=start, excluded_on=end)


SPAN = st.integers(0, 12).flatmap(lambda first: st.tuples(st.just(first), st.none() | st.integers(first, 14)))


@given(SPAN, SPAN)
def test_o07_two_units_overlap_when_both_are_registered_on_some_day(
    one: tuple[int, int | None], two: tuple[int, int | None]
) -> None:
    together = any(
        all(first <= day and (last is None or day < last) for first, last in (one, two)) for day in range(20)
    )
    assert days(*one).overlaps(days(*two)) is together


# People


def test_a_token_tells_who_and_a_revoked_one_nobody() -> None:
    people = [PERSON, Person("bota", Role.COMPLIANCE, token_hash("old"), True)]
    assert whose("secret", people) == PERSON
    assert whose("old", people) is None
    assert whose("", people) is None


# What is read back


def test_bodies_of_another_kind_or_none_are_refused() -> None:
    with pytest.raises(ValueError, match="record kind 'ship' is unknown; a newer dmpool may have written it"):
        decode("ship", "{}")
    with pytest.raises(ValueError, match="device record cannot be read"):
        decode("device", canonical(MINER))


def test_a_register_takes_only_what_it_knows_and_only_the_next_event() -> None:
    register = register_of("altai")
    with pytest.raises(ValueError, match="record kind 'ship' has no place"):
        register.put("ship", "1", CENTRE)
    body = canonical(register.miner("altai"))
    event = Event(
        register.seq + 2, 1, "a", "operator", "r", "miner", "1", "changed", body, register.sha256, ""
    )
    with pytest.raises(ValueError, match="event 6 does not follow event 4"):
        register.apply(event)
    with pytest.raises(ValueError, match="event 5 does not follow event 4"):
        register.apply(msgspec.structs.replace(event, seq=5, previous="0" * 64))


def test_every_kind_has_its_place() -> None:
    register = Register()
    proposal = Proposal(1, "address", "1.1", "entered", canonical(WALLET), "", "anna", "why")
    kinds = {
        "miner": ("1", MINER, register.miners),
        "centre": ("ekb-1", CENTRE, register.centres),
        "device": ("KZ-1", DEVICE, register.devices),
        "address": ("1.1", WALLET, register.addresses),
        "accreditation": ("A-1", ACCREDITATION, register.accreditations),
        "site": ("ala-1", SITE, register.sites),
        "protocol": ("P-1", PROTOCOL, register.protocols),
        "requirement": ("R-1", REQUIREMENT, register.requirements),
        "person": ("anna.k", PERSON, register.people),
        "proposal": ("1", proposal, register.proposals),
    }
    for kind, (key, record, records) in kinds.items():
        register.put(kind, key, record)
        assert list(records.values()) == [record]
    other = Register()
    other.become(register)
    other.put("centre", "ekb-2", msgspec.structs.replace(CENTRE, code="ekb-2"))
    assert sorted(other.centres) == ["ekb-1", "ekb-2"]


def test_o31_payments_go_to_the_newest_address_in_effect() -> None:
    first = msgspec.structs.replace(WALLET, effective_us=10)
    second = msgspec.structs.replace(WALLET, number=2, effective_us=20)
    never = msgspec.structs.replace(WALLET, number=3, effective_us=30, withdrawn_us=25)
    held = [never, second, first]
    for at_us, number in ((9, None), (10, 1), (19, 1), (20, 2), (40, 2)):
        found = address_at(held, "wallet", at_us)
        assert (found.number if found else None) == number
    assert address_at(held, "exchange_deposit", 40) is None
    gone = msgspec.structs.replace(second, withdrawn_us=35)
    assert address_at([first, gone], "wallet", 34) == gone
    assert address_at([first, gone], "wallet", 35) is None
