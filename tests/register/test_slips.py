"""What a review found a register must not allow: absurd days, acts that block or rewrite, late tokens."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from register.clerk import TakenError
from register.device import DeviceError
from register.licence import Act, Licence, LicenceError, Status
from register.miner import Miner, MinerError
from register.person import Actor, Person, PersonError, Role, require_current, token_hash
from register.pool_data import Accreditation, PoolDataError, TestProtocol
from register.rules import RulesError, parse_rules
from tests.register_world import RULES, RULES_FILE, at, clerk_of, register_of

ABSURD = [dt.date(1, 1, 1), dt.date(2009, 1, 2), dt.date(2200, 1, 1), dt.date(9999, 12, 31)]


@pytest.mark.parametrize("day", ABSURD, ids=str)
def test_i10_absurd_days_are_refused(day: dt.date) -> None:
    register = register_of("altai", units={"altai": ["s17"]})
    device = next(iter(register.devices.values()))
    clerk = clerk_of(register)
    for name in ("included_on", "excluded_on"):
        with pytest.raises(DeviceError, match=f"{name}|excluded on"):
            clerk.change_device(msgspec.structs.replace(device, **{name: day}))
    licence = Licence("KZ-99", 1, 1, day, day, day)
    with pytest.raises(LicenceError, match="must be a day from 2009-01-03 to 2199-12-31"):
        licence.check(RULES)
    for record in (Accreditation("A", day), TestProtocol("P", day, "lab", "1")):
        with pytest.raises(PoolDataError, match="must be a day"):
            record.check()


def test_o07_an_exclusion_that_took_effect_is_not_taken_back_by_a_change() -> None:
    """An old list of hardware that is read in again must not bring an excluded unit back to work."""
    register = register_of("altai", units={"altai": ["s17"]})
    number = next(iter(register.devices))
    before = register.devices[number]
    clerk_of(register).exclude_device(number, clerk_of(register).today)
    with pytest.raises(DeviceError, match="no change takes that"):
        clerk_of(register).change_device(before)
    later = clerk_of(register).today + dt.timedelta(days=400)
    with pytest.raises(DeviceError, match="no change takes that"):
        clerk_of(register).exclude_device(number, later)
    with pytest.raises(DeviceError, match="no change takes that"):
        clerk_of(register).change_device(msgspec.structs.replace(before, excluded_on=later))
    assert register.devices[number].excluded_on == clerk_of(register).today


def test_o09_what_is_still_to_come_does_not_hold_up_a_suspension() -> None:
    """A planned end, a planned suspension or a planned resumption: work stops today all the same."""
    day = dt.date(2026, 6, 1)
    until = dt.date(2026, 8, 1)
    ended = Act("ended", "E-1", dt.date(2026, 12, 31))
    planned = Act("suspended", "S-1", dt.date(2026, 9, 1), 2, dt.date(2026, 11, 1))
    now = Act("suspended", "S-2", day, 1, until)
    for acts, kept in (((ended,), ("S-2", "E-1")), ((planned,), ("S-2",))):
        register = register_of("altai")
        for act in acts:
            clerk_of(register, at(day, 9)).act_on_licence("L-altai", act)
        licence = clerk_of(register, at(day, 12)).act_on_licence("L-altai", now)
        assert tuple(one.number for one in licence.acts) == kept
        assert licence.phase_at(at(day, 13), RULES).status is Status.SUSPENDED
        assert licence.phase_at(at(day, 11), RULES).status is Status.IN_FORCE
    register = register_of("altai")
    clerk_of(register, at(day, 9)).act_on_licence("L-altai", now)
    with pytest.raises(LicenceError, match="is suspended already"):
        clerk_of(register, at(day, 12)).act_on_licence("L-altai", msgspec.structs.replace(now, number="S-3"))
    # And what was ordered in the morning may be resumed, and ordered anew, in the afternoon.
    clerk_of(register, at(day, 13)).act_on_licence("L-altai", Act("resumed", "R-1", day))
    licence = clerk_of(register, at(day, 14)).act_on_licence(
        "L-altai", msgspec.structs.replace(now, number="S-3")
    )
    statuses = [licence.phase_at(at(day, hour), RULES).status for hour in (8, 10, 13, 15)]
    assert statuses == [Status.IN_FORCE, Status.SUSPENDED, Status.RESUMED, Status.SUSPENDED]


def test_a_slip_in_the_number_of_an_act_does_not_rewrite_the_past() -> None:
    """O-12: since when a suspension was known stays as it was when its number is put right."""
    first, later = dt.date(2026, 6, 1), dt.date(2026, 6, 20)
    register = register_of("altai")
    act = Act("suspended", "S-l", first, 1, dt.date(2026, 8, 1))
    wrong = clerk_of(register, at(first, 9)).act_on_licence("L-altai", act)
    right = msgspec.structs.replace(wrong.acts[0], number="S-1", entered_us=0)
    clerk_of(register, at(later, 12)).correct_licence(msgspec.structs.replace(wrong, acts=(right,)))
    licence = register.licence("L-altai")
    assert (licence.acts[0].number, licence.acts[0].entered_us) == ("S-1", at(first, 9))
    assert licence.phases(RULES)[:3] == [
        msgspec.structs.replace(one, act=one.act and licence.acts[0]) for one in wrong.phases(RULES)[:3]
    ]


def test_who_was_revoked_meanwhile_does_not_write() -> None:
    """A token is judged again when its change is written, behind all waiting."""
    people = {"anna": Person("anna", Role.OPERATOR, token_hash("t"))}
    anna = Actor("anna", Role.OPERATOR, token_hash("t"))
    require_current(anna, people)
    require_current(Actor("os:root", Role.COMPLIANCE), {})
    require_current(Actor("ledger", Role.SYSTEM), people)
    for actor, message in (
        (Actor("os:root", Role.COMPLIANCE), "may not act"),
        (Actor("anna", Role.COMPLIANCE, anna.token_sha256), "may not act as compliance"),
        (Actor("anna", Role.OPERATOR, token_hash("old")), "was replaced"),
    ):
        with pytest.raises(PersonError, match=message):
            require_current(actor, people)
    gone = {"anna": msgspec.structs.replace(people["anna"], revoked=True)}
    with pytest.raises(PersonError, match="may not act"):
        require_current(anna, gone)


@pytest.mark.parametrize("day", ["2008-12-31", "2200-01-01"])
def test_a_rule_of_a_day_out_of_reach_ends_the_start(day: str) -> None:
    text = RULES_FILE.read_text("utf-8").replace("effective_from = 2024-03-01", f"effective_from = {day}", 1)
    with pytest.raises(RulesError, match="must be a day from"):
        parse_rules(text)
    late = RULES_FILE.read_text("utf-8").replace("effective_from = 2009-01-03", "effective_from = 2010-01-01")
    with pytest.raises(RulesError, match="timezone says nothing of 2009-01-03"):
        parse_rules(late)
    with pytest.raises(RulesError, match="says nothing of 2009-06-01"):
        RULES.require(dt.date(2009, 6, 1))
    RULES.require(dt.date(2026, 11, 24))


def test_a_key_is_taken_in_whatever_case_of_letters() -> None:
    """One unit, or one licence, is not entered twice by a slip of the shift key."""
    register = register_of("altai", units={"altai": ["s17"]})
    device = next(iter(register.devices.values()))
    clerk = clerk_of(register)
    again = msgspec.structs.replace(
        device, registry_number=device.registry_number.swapcase(), serial_number="other", worker="other"
    )
    for _ in range(2):
        with pytest.raises(TakenError, match="is in the register already"):
            clerk.enter_device(again)
    new = msgspec.structs.replace(again, registry_number="NEW-1")
    clerk.enter_device(new)
    with pytest.raises(TakenError, match="hardware unit new-1"):
        clerk.enter_device(msgspec.structs.replace(new, registry_number="new-1"))
    with pytest.raises(MinerError, match="an account of that name exists"):
        clerk.enter_miner(Miner(0, "ALTAI", "Another LLP", "940140000385"))
