"""What the digest tells of a day: each thing once, the weightiest first, and nothing that is in order."""

import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.centre import Centre
from register.clerk import Clerk, Terms
from register.digest import Digest, Note, NoteKind, digest
from register.licence import Act, Licence
from register.miner import Miner
from register.payout_address import PayoutAddress
from register.person import Actor, Role
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.register import Register
from register.sighting import Seen, Sighting, SightingKind
from tests.register_world import RULES, at, clerk_of, register_of, suspend

TODAY = dt.date(2026, 6, 1)
NOON = at(TODAY, 12)
DAY = dt.timedelta(days=1)
VERSION = "1.0"
WALLETS = ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x")


def in_order(last: dt.date = dt.date(2028, 12, 31)) -> Register:
    """A register about which there is nothing to tell."""
    register = register_of("altai", last=last, accredited=(dt.date(2026, 1, 1), None))
    clerk = clerk_of(register)
    clerk.put_protocol(TestProtocol("P-1", dt.date(2026, 1, 1), "STS", VERSION))
    clerk.put_site(Site("ala-1", "Almaty", "KZ", ("stratum",)))
    clerk.put_requirement(Requirement("R-1", "Text", "Rules", dt.date(2026, 1, 1), "proof.pdf"))
    clerk.enter_address(PayoutAddress(1, 0, "wallet", WALLETS[0], 0))
    return register


def of(register: Register, at_us: int = NOON, seen: tuple[Seen, ...] = (), version: str = VERSION) -> Digest:
    return digest(register, RULES, at_us, seen, version)


def only(register: Register, at_us: int = NOON) -> Note:
    (note,) = of(register, at_us).notes
    return note


def test_nothing_is_told_of_what_is_in_order() -> None:
    register = in_order()
    told = of(register)
    assert told == Digest(TODAY, NOON, register.seq, register.sha256, ())
    assert set(told.counts()) == set(NoteKind)
    assert set(told.counts().values()) == {0}


@pytest.mark.parametrize(
    ("left", "bracket"), [(91, 0), (90, 90), (61, 90), (60, 60), (31, 60), (30, 30), (1, 30), (0, 30)]
)
def test_o04_a_licence_is_warned_of_in_the_nearest_bracket(left: int, bracket: int) -> None:
    register = in_order(TODAY + left * DAY)
    found = of(register).of(NoteKind.LICENCE_ENDING)
    assert [(note.subject, note.bracket, note.days_left) for note in found] == (
        [("L-altai", bracket, left)] if bracket else []
    )


def test_o04_no_warning_when_a_following_licence_takes_over_the_day_after() -> None:
    register = in_order(dt.date(2026, 6, 30))
    gap = Licence("L-2", 1, 1, TODAY, dt.date(2026, 7, 2), dt.date(2027, 6, 1))
    with_gap = clerk_of(register, NOON)
    with_gap.enter_licence(gap)
    assert only(register).kind is NoteKind.LICENCE_ENDING
    with_gap.act_on_licence("L-2", Act("ended", "E", dt.date(2026, 7, 2)))
    with_gap.enter_licence(msgspec.structs.replace(gap, number="L-3", valid_from=dt.date(2026, 7, 1)))
    assert of(register).of(NoteKind.LICENCE_ENDING) == []


def test_o04_an_end_by_an_act_to_come_is_warned_of_too() -> None:
    register = in_order()
    clerk_of(register, NOON).act_on_licence("L-altai", Act("ended", "E", dt.date(2026, 6, 21)))
    note = only(register)
    assert (note.kind, note.until, note.days_left) == (NoteKind.LICENCE_ENDING, dt.date(2026, 6, 20), 19)


def test_what_ended_is_told_of_for_thirty_days_and_the_miner_without_a_licence_for_ever() -> None:
    register = in_order()
    clerk_of(register, NOON).act_on_licence("L-altai", Act("revoked", "court 1", dt.date(2026, 6, 2)))
    for day, kinds in (
        (dt.date(2026, 6, 2), [NoteKind.LICENCE_ENDED, NoteKind.NO_LICENCE]),
        (dt.date(2026, 7, 2), [NoteKind.LICENCE_ENDED, NoteKind.NO_LICENCE]),
        (dt.date(2026, 7, 3), [NoteKind.NO_LICENCE]),
    ):
        told = of(register, at(day, 1))
        assert [note.kind for note in told.notes] == kinds
    ended = of(register, at(dt.date(2026, 6, 2))).notes[0]
    assert (ended.detail, ended.since, ended.until) == ("revoked", dt.date(2026, 6, 2), TODAY)


def test_o09_a_suspension_is_told_of_the_day_before_while_it_lasts_and_until_it_is_resumed() -> None:
    register = in_order()
    last = dt.date(2026, 7, 14)
    suspend(register, "altai", dt.date(2026, 6, 2), last, NOON)
    note = only(register)
    assert (note.kind, note.since, note.until, note.days_left, note.reason_code) == (
        NoteKind.SUSPENSION_TOMORROW,
        dt.date(2026, 6, 2),
        last,
        1,
        2,
    )
    note = only(register, at(dt.date(2026, 7, 10)))
    assert (note.kind, note.until, note.days_left, note.reason_code) == (NoteKind.SUSPENDED, last, 4, 2)
    note = only(register, at(dt.date(2026, 7, 15)))
    assert (note.kind, note.until, note.days_left) == (NoteKind.AWAITING_RESUMPTION, last, None)
    clerk_of(register, at(dt.date(2026, 7, 16))).act_on_licence(
        "L-altai", Act("resumed", "R", dt.date(2026, 7, 16))
    )
    assert of(register, at(dt.date(2026, 7, 17))).notes == ()


def test_a_licence_that_begins_tomorrow() -> None:
    register = in_order(TODAY)
    clerk_of(register, NOON).enter_licence(Licence("L-2", 1, 1, TODAY, TODAY + DAY, dt.date(2028, 1, 1)))
    note = only(register)
    assert (note.kind, note.subject, note.since) == (NoteKind.LICENCE_TOMORROW, "L-2", TODAY + DAY)


def test_what_a_miner_lacks() -> None:
    """O-05, O-06: the register says what is so, and the digest what is wrong with it."""
    register = in_order()
    clerk = clerk_of(register, NOON)
    guest = clerk.enter_miner(Miner(0, "guest", "Guest LLP", "940140000385"))
    clerk.enter_licence(Licence("G", guest.id, 2, TODAY, TODAY, dt.date(2028, 1, 1)))
    unit = register.device("altai-s17")
    for number in ("G-2", "G-1"):
        names = {"registry_number": number, "serial_number": number, "worker": number}
        right = {"miner_id": guest.id, "owner_bin": guest.bin, "contract": "5"}
        clerk.enter_device(msgspec.structs.replace(unit, **names, **right))
    clerk.enter_miner(Miner(0, "empty", "Empty LLP", "940140000385"))
    told = of(register)
    assert [(note.kind, note.account) for note in told.notes] == [
        (NoteKind.NO_LICENCE, "empty"),
        (NoteKind.NO_WALLET, "guest"),
    ]
    # The hall is sold to the guest: now altai has no centre, and the guest's hardware stands in its own.
    clerk.change_centre(msgspec.structs.replace(register.centre("altai-dc"), holder_bin=guest.bin))
    told = of(register)
    assert [
        (note.kind, note.account, note.count) for note in told.of(NoteKind.NO_OWN_CENTRE, NoteKind.NOT_HOSTED)
    ] == [
        (NoteKind.NO_OWN_CENTRE, "altai", 0),
        (NoteKind.NOT_HOSTED, "guest", 2),
    ]
    assert told.of(NoteKind.NOT_HOSTED)[0].detail.startswith("G-1 must stand in another subject's")


def test_what_waits() -> None:
    register = in_order()
    new = clerk_of(register, NOON).enter_address(PayoutAddress(1, 0, "wallet", WALLETS[1], 0))
    terms = Terms(RULES, "regtest", four_eyes=frozenset({"licence_status"}))
    asks = Clerk(register, terms, Actor("anna", Role.COMPLIANCE), "renewed", NOON)
    asks.enter_licence(Licence("L-2", 1, 1, TODAY, dt.date(2029, 1, 1), dt.date(2029, 6, 1)))
    address, proposal = of(register).notes
    assert (address.kind, address.subject, address.account) == (NoteKind.ADDRESS_WAITING, WALLETS[1], "altai")
    assert (address.until_us, address.until, address.detail) == (new.effective_us, TODAY + 3 * DAY, "wallet")
    assert (proposal.kind, proposal.subject, proposal.account) == (NoteKind.PROPOSAL_WAITING, "1", "altai")
    assert (proposal.actor, proposal.detail) == ("anna", "licence L-2 entered: renewed")
    asks.reject(1)
    clerk_of(register, NOON).withdraw_address(new.key)
    assert of(register).notes == ()


def test_o20_to_o24_the_pools_own_data() -> None:
    register = in_order()
    clerk = clerk_of(register, NOON)
    clerk.put_accreditation(Accreditation("A-1", dt.date(2026, 1, 1), TODAY + 45 * DAY))
    clerk.put_site(Site("fra-1", "Frankfurt", "DE", ("backup",)))
    clerk.put_site(Site("old", "Berlin", "DE", ("backup",), closed_on=TODAY))
    clerk.put_requirement(Requirement("R-2", "Show it", "Rules"))
    told = of(register, version="1.1")
    assert [(note.kind, note.subject, note.detail) for note in told.notes] == [
        (NoteKind.ACCREDITATION_ENDING, "A-1", ""),
        (NoteKind.SITE_ABROAD, "fra-1", "DE"),
        (NoteKind.VERSION_NOT_TESTED, "1.1", VERSION),
        (NoteKind.REQUIREMENT_UNMET, "R-2", "Show it"),
    ]
    assert (told.notes[0].bracket, told.notes[0].days_left) == (60, 45)
    later = of(register, at(TODAY + 46 * DAY))
    assert (later.notes[0].kind, later.notes[0].until) == (NoteKind.NOT_ACCREDITED, TODAY + 45 * DAY)
    clerk.put_accreditation(Accreditation("A-2", TODAY + 46 * DAY))
    assert of(register).of(NoteKind.ACCREDITATION_ENDING, NoteKind.NOT_ACCREDITED) == []


def test_of_an_empty_register_the_pool_is_told_of() -> None:
    told = of(Register())
    assert [note.kind for note in told.notes] == [NoteKind.NOT_ACCREDITED, NoteKind.VERSION_NOT_TESTED]


def test_o07_what_was_seen_is_told_with_its_count() -> None:
    seen = tuple(
        Seen(Sighting(kind, TODAY, miner_id, "w1", NOON - 9, "words"), NOON - 5, 7)
        for kind, miner_id in zip(SightingKind, (1, 1, 1, 1, 77), strict=True)
    )
    told = of(in_order(), seen=seen)
    assert [note.kind.value for note in told.notes] == [kind.value for kind in SightingKind]
    first, last = told.notes[0], told.notes[-1]
    assert (first.subject, first.account, first.count, first.last_us) == ("w1", "altai", 7, NOON - 5)
    assert (last.miner_id, last.account, last.detail) == (77, "", "words")


@given(st.permutations(["altai", "saryarqa", "ulytau"]))
def test_the_order_of_notes_does_not_depend_on_that_of_entry(accounts: list[str]) -> None:
    register = register_of(*accounts, last=dt.date(2026, 6, 20))
    kinds = [
        (note.kind, note.account) for note in of(register).of(NoteKind.LICENCE_ENDING, NoteKind.NO_WALLET)
    ]
    assert kinds == [
        (kind, account)
        for kind in (NoteKind.LICENCE_ENDING, NoteKind.NO_WALLET)
        for account in ("altai", "saryarqa", "ulytau")
    ]


def test_a_digest_is_told_as_json_and_read_back() -> None:
    told = of(in_order(TODAY))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Digest) == told


def test_another_subjects_centre_is_no_own_one() -> None:
    register = in_order()
    centre = Centre("far", "Hall", "Almaty", "940140000385", "Other LLP", "lease", "5")
    clerk_of(register, NOON).enter_centre(centre)
    clerk_of(register, NOON).change_centre(
        msgspec.structs.replace(register.centre("altai-dc"), holder_bin="940140000385")
    )
    assert only(register).kind is NoteKind.NO_OWN_CENTRE
