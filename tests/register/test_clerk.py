"""Who writes the register: every change has an actor and a reason, and what contradicts it is refused."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from register.centre import Centre
from register.clerk import Clerk, ReasonError, TakenError, Terms
from register.device import DeviceError
from register.event import FIRST, verify
from register.licence import Act, Licence, LicenceError
from register.miner import Miner, MinerError
from register.payout_address import PayoutAddress
from register.person import Actor, Person, PersonError, Role, token_hash
from register.pool_data import Accreditation, PoolDataError, Requirement, Site, TestProtocol
from register.register import Register, UnknownRecord
from register.sighting import Sighting, SightingKind
from tests.register_world import RULES, at, clerk_of, enter_unit, register_of, rules_with, suspend

NOW = at(dt.date(2026, 6, 1), 12)
WALLET = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x"


def clerk(register: Register, role: Role = Role.COMPLIANCE, *, production: bool = False) -> Clerk:
    return Clerk(register, Terms(RULES, "regtest", production), Actor("anna", role), "as asked", NOW)


def test_o12_every_event_says_who_why_and_what() -> None:
    register = register_of("altai")
    before = register.seq
    writer = clerk(register, Role.OPERATOR)
    writer.change_miner(msgspec.structs.replace(register.miner("altai"), title="ТОО «Алтай»"))
    (event,) = writer.events
    assert (event.seq, event.actor, event.role, event.reason) == (before + 1, "anna", "operator", "as asked")
    assert (event.kind, event.key, event.action, event.at_us) == ("miner", "1", "changed", NOW)
    assert "ТОО «Алтай»" in event.body


def test_the_events_of_a_clerk_are_a_chain_even_when_the_clock_stands_or_goes_back() -> None:
    register = Register()
    events = []
    for now_us in (NOW, NOW, NOW - 10_000_000):
        writer = Clerk(register, Terms(RULES, "regtest"), Actor("anna", Role.COMPLIANCE), "why", now_us)
        writer.enter_miner(Miner(0, f"m{len(events)}", "Title", "940140000385"))
        events += writer.events
    assert verify(events)[:2] == (3, register.sha256)
    assert register.sha256 != FIRST
    assert [event.at_us for event in events] == [NOW, NOW + 1, NOW + 2]
    assert sorted(register.miners) == [1, 2, 3]


@pytest.mark.parametrize("reason", ["", " ", "x\n", "x" * 301])
def test_a_change_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(ReasonError, match="reason"):
        Clerk(Register(), Terms(RULES, "regtest"), Actor("anna", Role.COMPLIANCE), reason, NOW)


WRITES: dict[str, Callable[[Clerk], object]] = {
    "miner": lambda it: it.enter_miner(Miner(0, "new", "New LLP", "940140000385")),
    "centre": lambda it: it.enter_centre(
        Centre("dc-9", "Hall 9", "Ekibastuz", "940140000385", "Host LLP", "lease", "contract 9")
    ),
    "device": lambda it: it.exclude_device("altai-s17", dt.date(2026, 7, 1)),
    "address": lambda it: it.enter_address(PayoutAddress(1, 0, "wallet", WALLET, 0)),
    "site": lambda it: it.put_site(Site("ala-1", "Almaty", "KZ", ("stratum",))),
    "licence": lambda it: it.act_on_licence("L-altai", Act("revoked", "court 1", dt.date(2026, 6, 1))),
    "accreditation": lambda it: it.put_accreditation(Accreditation("A-1", dt.date(2026, 1, 1))),
    "protocol": lambda it: it.put_protocol(TestProtocol("P-1", dt.date(2026, 1, 1), "STS", "1.0")),
    "requirement": lambda it: it.put_requirement(Requirement("R-1", "Text", "Rules p. 1")),
    "person": lambda it: it.put_person(Person("bota", Role.COMPLIANCE, token_hash("t"))),
    "sighting": lambda it: it.sight(Sighting(SightingKind.OVERRATE, dt.date(2026, 6, 1), 1, "s17", NOW)),
}
MAY = {
    Role.AUDITOR: set[str](),
    Role.OPERATOR: {"miner", "centre", "device", "address", "site"},
    Role.COMPLIANCE: set(WRITES) - {"sighting"},
    Role.SYSTEM: {"sighting"},
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("role", Role)
def test_each_role_writes_what_is_its_own_and_nothing_else(role: Role, kind: str) -> None:
    register = register_of("altai")
    writer = clerk(register, role)
    if kind in MAY[role]:
        WRITES[kind](writer)
        assert [event.kind for event in writer.events] == [kind]
        return
    state = register.seq, register.sha256
    with pytest.raises(PersonError, match=f"the role {role} may not write {kind} records"):
        WRITES[kind](writer)
    assert writer.events == []
    assert (register.seq, register.sha256) == state


def test_names_and_numbers_are_entered_once() -> None:
    register = register_of("altai")
    writer = clerk(register)
    with pytest.raises(MinerError, match="an account of that name exists"):
        writer.enter_miner(register.miner("altai"))
    for enter, record in (
        (writer.enter_centre, register.centre("altai-dc")),
        (writer.enter_licence, register.licence("L-altai")),
        (writer.enter_device, register.device("altai-s17")),
    ):
        with pytest.raises(TakenError, match="in the register already"):
            enter(record)  # type: ignore[operator]
    WRITES["protocol"](writer)
    with pytest.raises(TakenError, match="test protocol P-1"):
        WRITES["protocol"](writer)


def test_account_and_id_of_a_miner_never_change() -> None:
    register = register_of("altai")
    for change in ({"name": "other"}, {"id": 7}):
        with pytest.raises(MinerError, match="never change"):
            clerk(register).change_miner(msgspec.structs.replace(register.miner("altai"), **change))


def test_what_is_not_there_is_named_with_the_way_to_look() -> None:
    writer = clerk(register_of("altai"))
    centre = msgspec.structs.replace(writer.register.centre("altai-dc"), code="none")
    with pytest.raises(UnknownRecord, match=r"data centre 'none': .* `dmpool centres list`"):
        writer.change_centre(centre)
    with pytest.raises(UnknownRecord, match="licence 'none'"):
        writer.act_on_licence("none", Act("ended", "E", dt.date(2026, 7, 1)))
    with pytest.raises(UnknownRecord, match="hardware unit 'none'"):
        writer.exclude_device("none", dt.date(2026, 7, 1))
    with pytest.raises(MinerError, match="no miner with id 9; enter the miner first"):
        writer.enter_address(PayoutAddress(9, 0, "wallet", WALLET, 0))


# Licences


def new_licence(first: dt.date, last: dt.date, **changes: Any) -> Licence:
    usual: dict[str, Any] = {"number": "L-2", "miner_id": 1, "subtype": 1, "issued_on": first}
    return Licence(**(usual | changes), valid_from=first, valid_to=last)


def test_terms_of_licences_of_one_miner_do_not_overlap() -> None:
    register = register_of("altai", last=dt.date(2026, 12, 31))
    for first, last in (
        (dt.date(2026, 12, 31), dt.date(2027, 12, 31)),
        (dt.date(2025, 6, 1), dt.date(2026, 1, 1)),
        (dt.date(2026, 3, 1), dt.date(2026, 4, 1)),
    ):
        with pytest.raises(LicenceError, match="overlaps licence L-altai of the same miner"):
            clerk(register).enter_licence(new_licence(first, last))
    clerk(register).enter_licence(new_licence(dt.date(2027, 1, 1), dt.date(2028, 1, 1)))


def test_o11_after_a_revocation_a_new_licence_may_begin_and_the_old_one_not_come_back() -> None:
    register = register_of("altai")
    clerk(register).act_on_licence("L-altai", Act("revoked", "court 1", dt.date(2026, 8, 1)))
    with pytest.raises(LicenceError, match="from 2026-07-31 to 2026-07-31"):
        clerk(register).enter_licence(new_licence(dt.date(2026, 7, 31), dt.date(2028, 1, 1)))
    clerk(register).enter_licence(new_licence(dt.date(2026, 8, 1), dt.date(2028, 1, 1)))
    with pytest.raises(LicenceError, match="overlaps licence L-2"):
        clerk(register).correct_licence(msgspec.structs.replace(register.licence("L-altai"), acts=()))


def test_o12_what_was_entered_wrongly_is_corrected_by_a_new_version() -> None:
    register = register_of("altai", "saryarqa")
    suspend(register, "altai", dt.date(2026, 7, 1), dt.date(2026, 8, 31), NOW)
    writer = clerk(register)
    right = Act("suspended", "S-2", dt.date(2026, 7, 10), 1, dt.date(2026, 8, 31))
    writer.correct_licence(msgspec.structs.replace(register.licence("L-altai"), acts=(right,)))
    assert [event.action for event in writer.events] == ["changed"]
    (act,) = register.licence("L-altai").acts
    assert act == msgspec.structs.replace(right, entered_us=NOW)
    with pytest.raises(LicenceError, match="stays with its miner"):
        writer.correct_licence(msgspec.structs.replace(register.licence("L-altai"), miner_id=2))
    wrong = (Act("resumed", "R", dt.date(2026, 7, 10)),)
    with pytest.raises(LicenceError, match="is not suspended"):
        writer.correct_licence(msgspec.structs.replace(register.licence("L-altai"), acts=wrong))


def test_a_licence_is_entered_without_acts_and_with_its_term() -> None:
    register = register_of("altai", last=dt.date(2026, 2, 1))
    first, last = dt.date(2026, 6, 1), dt.date(2029, 6, 1)
    act = Act("ended", "E", dt.date(2027, 1, 1))
    with pytest.raises(LicenceError, match="entered without acts"):
        clerk(register).enter_licence(new_licence(first, last, acts=(act,)))
    with pytest.raises(LicenceError, match="O-04"):
        clerk(register).enter_licence(new_licence(first, dt.date(2029, 6, 2)))
    with pytest.raises(MinerError, match="no miner with id 5"):
        clerk(register).enter_licence(new_licence(first, last, miner_id=5))


def test_o09_an_act_carries_when_it_was_heard_of() -> None:
    register = register_of("altai")
    suspend(register, "altai", dt.date(2026, 5, 1), dt.date(2026, 7, 1), NOW)
    assert register.licence("L-altai").acts[0].entered_us == NOW


def test_o05_subtype_1_needs_a_centre_of_its_own() -> None:
    register = register_of("altai")
    miner = clerk(register).enter_miner(Miner(0, "new", "New LLP", "940140000385"))
    first = new_licence(dt.date(2026, 6, 1), dt.date(2029, 6, 1), miner_id=miner.id)
    with pytest.raises(
        LicenceError, match=r"of the miner's own \(O-05\); enter one whose holder is 940140000385"
    ):
        clerk(register).enter_licence(first)
    WRITES["centre"](clerk(register))
    clerk(register).enter_licence(first)


# Hardware units


def hosted() -> tuple[Register, Any]:
    """A miner of subtype II beside one that has a centre; and a right unit of the former."""
    register = register_of("altai")
    miner = clerk(register).enter_miner(Miner(0, "guest", "Guest LLP", "940140000385"))
    clerk(register).enter_licence(
        new_licence(dt.date(2026, 1, 1), dt.date(2028, 1, 1), miner_id=miner.id, subtype=2)
    )
    unit = msgspec.structs.replace(
        register.device("altai-s17"),
        registry_number="G-1",
        serial_number="G-1",
        miner_id=miner.id,
        owner_bin=miner.bin,
        contract="hosting 5",
    )
    return register, unit


def test_o06_a_unit_of_subtype_2_is_its_own_in_anothers_centre_by_a_contract() -> None:
    register, unit = hosted()
    clerk(register).enter_device(unit)
    own = Centre("own", "Own hall", "Almaty", "940140000385", "Guest LLP", "ownership", "deed")
    clerk(register).enter_centre(own)
    for change, message in (
        ({"owner_bin": register.miner("altai").bin}, "must be its own"),
        ({"contract": ""}, "needs the number of its hosting contract"),
        ({"centre": "own"}, "must stand in another subject's data centre"),
    ):
        with pytest.raises(DeviceError, match=rf"hardware unit G-1 .* {message}.*\(O-06\)"):
            clerk(register).change_device(msgspec.structs.replace(unit, **change))


def test_o06_is_asked_of_all_units_when_such_a_licence_is_entered() -> None:
    register = register_of("altai", last=dt.date(2026, 6, 30))
    second = new_licence(dt.date(2026, 7, 1), dt.date(2028, 1, 1), subtype=2)
    with pytest.raises(DeviceError, match="licence L-2: hardware unit altai-s17 of a miner of subtype II"):
        clerk(register).enter_licence(second)
    clerk(register).exclude_device("altai-s17", dt.date(2026, 7, 1))
    clerk(register).enter_licence(second)
    # Until then the licence of today decides, not the one to come.
    enter_unit(clerk_of(register, NOW), "altai", "s19", included_on=dt.date(2026, 6, 1))
    with pytest.raises(DeviceError, match="O-06"):
        enter_unit(clerk_of(register, NOW), "altai", "s21", included_on=dt.date(2026, 7, 1))


def test_o01_a_unit_stands_in_a_known_centre_of_a_known_miner() -> None:
    register = register_of("altai")
    unit = msgspec.structs.replace(
        register.device("altai-s17"), registry_number="N", serial_number="N", worker="n"
    )
    with pytest.raises(DeviceError, match=r"data centre 'none' is unknown; enter it first \(O-01\)"):
        clerk(register).enter_device(msgspec.structs.replace(unit, centre="none"))
    with pytest.raises(MinerError, match="hardware unit N: there is no miner with id 9"):
        clerk(register).enter_device(msgspec.structs.replace(unit, miner_id=9))


def test_o07_no_two_units_share_make_and_serial_number_on_one_day() -> None:
    register = register_of("altai", "saryarqa")
    twin = msgspec.structs.replace(
        register.device("altai-s17"),
        registry_number="T",
        manufacturer="BITMAIN",
        worker="t",
        miner_id=2,
        centre="saryarqa-dc",
    )
    with pytest.raises(DeviceError, match="stands under registry number altai-s17 already; exclude that one"):
        clerk(register).enter_device(twin)
    clerk(register).exclude_device("altai-s17", dt.date(2026, 7, 1))
    clerk(register).enter_device(msgspec.structs.replace(twin, included_on=dt.date(2026, 7, 1)))
    with pytest.raises(DeviceError, match="stands under registry number T"):
        clerk(register).exclude_device("altai-s17", dt.date(2026, 7, 2))
    clerk(register).exclude_device("altai-s17", dt.date(2026, 6, 30))


def test_o07_a_name_is_one_units_on_any_day() -> None:
    register = register_of("altai", "saryarqa")
    for worker in ("S17", "altai-S17"):
        with pytest.raises(DeviceError, match="choose another worker name"):
            clerk(register).enter_device(
                msgspec.structs.replace(
                    register.device("altai-s17"), registry_number="N", serial_number="N", worker=worker
                )
            )
    # Of another account it is another unit's.
    assert register.device("saryarqa-s17").worker == "s17"


def test_o07_a_transfer_moves_the_unit_with_all_its_names() -> None:
    register = register_of("altai", "saryarqa", units={"saryarqa": []})
    unit = register.device("altai-s17")
    writer = clerk(register)
    writer.change_device(msgspec.structs.replace(unit, miner_id=2, centre="saryarqa-dc"))
    assert writer.events[0].action == "transferred"
    assert list(register.devices_of(1)) == []
    assert [one.registry_number for one in register.devices_of(2)] == ["altai-s17"]
    assert register.units_named(1, "s17") == register.units_named(1, "altai-s17") == ()
    assert register.units_named(2, "s17") == register.units_named(2, "altai-s17") != ()


# The pool's own data


def test_o22_in_production_every_site_is_in_kazakhstan() -> None:
    backup = Site("fra-1", "Frankfurt", "DE", ("backup",))
    clerk(register_of()).put_site(backup)
    with pytest.raises(PoolDataError, match=r"backups included, is in Kazakhstan .* O-22"):
        clerk(register_of(), production=True).put_site(backup)


def test_o21_an_accreditation_has_the_term_of_the_rule_where_one_is_known() -> None:
    rules = rules_with(("term_years = 0", "term_years = 2"))
    for last in (None, dt.date(2028, 1, 2)):
        with pytest.raises(PoolDataError, match="is given for 2 years; its last day is 2028-01-01"):
            clerk_of(Register(), NOW, rules).put_accreditation(Accreditation("A", dt.date(2026, 1, 1), last))
    writer = clerk_of(Register(), NOW, rules)
    writer.put_accreditation(Accreditation("A", dt.date(2026, 1, 1), dt.date(2028, 1, 1)))
    writer.put_accreditation(Accreditation("A", dt.date(2026, 1, 1), dt.date(2027, 1, 1)))
    assert [event.action for event in writer.events] == ["entered", "changed"]


def test_a_sighting_becomes_one_event() -> None:
    register = register_of("altai")
    ledger = Clerk(register, Terms(RULES, "regtest"), Actor("ledger", Role.SYSTEM), "seen at work", NOW)
    seen = Sighting(SightingKind.DUPLICATE, dt.date(2026, 6, 1), 1, "s17", NOW)
    assert ledger.sight(seen)
    assert not ledger.sight(msgspec.structs.replace(seen, first_us=NOW + 5))
    assert [event.key for event in ledger.events] == ["2026-06-01/duplicate/1/s17"]
