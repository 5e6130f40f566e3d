"""Changes that wait for a second person: nobody gets round the second pair of eyes."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from register.clerk import Clerk, Terms
from register.licence import Act, Status
from register.payout_address import PayoutAddress
from register.person import Actor, Person, PersonError, Role, token_hash
from register.proposal import FOUR_EYES, ProposalError
from register.register import Register
from tests.register_world import RULES, at, enter_account, register_of, suspend

NOW = at(dt.date(2026, 6, 1), 12)
HOUR = 3_600_000_000
WAIT = 72 * HOUR
ADDRESSES = (
    "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x",
    "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "2N3oefVeg6stiTb5Kh3ozCSkaqmx91FDbsm",
)
BOTH = frozenset(FOUR_EYES)
ANNA, BOTA = Actor("anna", Role.COMPLIANCE), Actor("bota", Role.COMPLIANCE)
OLZHAS = Actor("olzhas", Role.OPERATOR)


def wallet(number: int = 0, **changes: Any) -> PayoutAddress:
    return msgspec.structs.replace(PayoutAddress(1, 0, "wallet", ADDRESSES[number], 0), **changes)


def deposit(number: int = 1) -> PayoutAddress:
    return PayoutAddress(1, 0, "exchange_deposit", ADDRESSES[number], 0, "Exchange", "AFSA", "AFSA-A-1")


def staffed(*accounts: str) -> Register:
    """A register with two officers and an operator."""
    register = register_of(*accounts)
    for actor in (ANNA, BOTA, OLZHAS):
        register.put("person", actor.name, person(actor.name, actor.role))
    return register


def by(register: Register, actor: Actor, now_us: int = NOW, four_eyes: frozenset[str] = BOTH) -> Clerk:
    return Clerk(register, Terms(RULES, "regtest", four_eyes=four_eyes), actor, "as asked", now_us)


def test_a_proposed_address_begins_to_wait_when_it_is_approved() -> None:
    register = staffed("altai")
    by(register, ANNA, four_eyes=frozenset()).enter_address(wallet(0))
    asked = by(register, OLZHAS)
    asked.enter_address(wallet(1))
    assert [(event.kind, event.action) for event in asked.events] == [("proposal", "proposed")]
    assert len(register.addresses) == 1
    decided = by(register, ANNA, NOW + 5 * HOUR)
    decided.approve(1)
    assert [event.kind for event in decided.events] == ["proposal", "address"]
    assert register.addresses["1.2"].effective_us == NOW + 5 * HOUR + WAIT
    with pytest.raises(ProposalError, match="proposal 1: is approved"):
        by(register, BOTA).approve(1)


def test_nobody_approves_what_is_his_own_and_only_officers_do() -> None:
    register = staffed("altai")
    by(register, ANNA).enter_address(wallet(0))
    with pytest.raises(ProposalError, match="is anna's own; another officer must approve"):
        by(register, ANNA).approve(1)
    for role in (Role.OPERATOR, Role.AUDITOR, Role.SYSTEM):
        with pytest.raises(ProposalError, match="is no compliance officer"):
            by(register, Actor("x", role)).approve(1)
        with pytest.raises(ProposalError, match="is no compliance officer"):
            by(register, Actor("x", role)).reject(1)
    with pytest.raises(ProposalError, match=r"proposal 7: is unknown; `dmpool register pending`"):
        by(register, BOTA).approve(7)
    assert register.addresses == {}


def test_a_proposal_is_rejected_by_an_officer_or_taken_back() -> None:
    register = staffed("altai")
    by(register, OLZHAS).enter_address(wallet(0))
    by(register, OLZHAS).reject(1)
    by(register, OLZHAS).enter_address(wallet(0))
    by(register, ANNA).reject(2)
    assert [one.state for one in register.proposals.values()] == ["rejected", "rejected"]
    with pytest.raises(ProposalError, match="is rejected"):
        by(register, ANNA).approve(2)


def test_an_out_of_date_proposal_must_be_made_anew() -> None:
    register = staffed("altai")
    suspend(register, "altai", dt.date(2026, 5, 1), dt.date(2026, 6, 30), NOW - HOUR)
    by(register, ANNA).act_on_licence("L-altai", Act("resumed", "R-1", dt.date(2026, 6, 1)))
    by(register, BOTA).act_on_licence("L-altai", Act("revoked", "court 1", dt.date(2026, 6, 1)))
    with pytest.raises(ProposalError, match="licence L-altai has changed since; propose it anew"):
        by(register, BOTA).approve(1)


def test_a_proposed_address_is_out_of_date_when_another_of_its_purpose_came() -> None:
    register = staffed("altai")
    by(register, OLZHAS).enter_address(wallet(0))
    by(register, OLZHAS).enter_address(deposit(1))
    by(register, OLZHAS).enter_address(wallet(2))
    by(register, ANNA).approve(1)
    by(register, ANNA).approve(2)
    with pytest.raises(ProposalError, match="has changed since"):
        by(register, ANNA).approve(3)
    assert sorted(register.addresses) == ["1.1", "1.2"]


def test_o10_a_resumption_takes_effect_when_it_is_approved() -> None:
    register = staffed("altai")
    suspend(register, "altai", dt.date(2026, 4, 1), dt.date(2026, 5, 15), NOW - HOUR)
    by(register, ANNA).act_on_licence("L-altai", Act("resumed", "R-1", dt.date(2026, 5, 20)))
    licence = register.licence("L-altai")
    assert licence.phase_at(NOW + HOUR, RULES).status is Status.AWAITING_RESUMPTION
    by(register, BOTA, NOW + 2 * HOUR).approve(1)
    phase = register.licence("L-altai").phase_at(NOW + 3 * HOUR, RULES)
    assert (phase.status, phase.start_us) == (Status.RESUMED, NOW + 2 * HOUR)


def test_o09_what_stops_work_or_payments_never_waits() -> None:
    register = staffed("altai")
    by(register, ANNA, four_eyes=frozenset()).enter_address(wallet(0))
    stops = by(register, ANNA)
    stops.act_on_licence("L-altai", Act("suspended", "S", dt.date(2026, 6, 1), 1, dt.date(2026, 7, 1)))
    stops.withdraw_address("1.1")
    stops.act_on_licence("L-altai", Act("revoked", "court 1", dt.date(2026, 6, 2)))
    assert [event.kind for event in stops.events] == ["licence", "address", "licence"]


def test_licences_are_entered_and_corrected_by_two() -> None:
    register = staffed()
    enter_account(by(register, ANNA), "altai", [])
    assert register.licences == {}
    by(register, BOTA).approve(1)
    suspended = by(register, ANNA)
    suspended.act_on_licence("L-altai", Act("suspended", "S", dt.date(2026, 6, 1), 1, dt.date(2026, 7, 1)))
    by(register, ANNA).correct_licence(msgspec.structs.replace(register.licence("L-altai"), acts=()))
    assert register.licence("L-altai").acts
    by(register, BOTA).approve(2)
    assert register.licence("L-altai").acts == ()


@pytest.mark.parametrize(
    ("four_eyes", "waits"),
    [
        (set(), []),
        ({"payout_address"}, ["address"]),
        ({"licence_status"}, ["licence"]),
        (FOUR_EYES, ["licence", "address"]),
    ],
)
def test_only_what_was_set_to_waits(four_eyes: Any, waits: list[str]) -> None:
    register = Register()
    writer = by(register, ANNA, four_eyes=frozenset(four_eyes))
    enter_account(writer, "altai", [])
    writer.enter_address(wallet(0))
    assert [one.kind for one in register.proposals.values()] == waits


# People


def person(name: str, role: Role = Role.COMPLIANCE, token: str = "", *, revoked: bool = False) -> Person:
    return Person(name, role, token_hash(token or name), revoked)


def test_one_officer_always_stays() -> None:
    register = Register()
    start = by(register, Actor("os:root", Role.COMPLIANCE))
    with pytest.raises(PersonError, match="without a compliance officer"):
        start.put_person(person("olzhas", Role.OPERATOR))
    start.put_person(person("anna"))
    by(register, ANNA).put_person(person("olzhas", Role.OPERATOR))
    for gone in (person("anna", revoked=True), person("anna", Role.AUDITOR)):
        with pytest.raises(PersonError, match="without a compliance officer"):
            by(register, ANNA).put_person(gone)
    with pytest.raises(PersonError, match="the token is somebody else's"):
        by(register, ANNA).put_person(person("bota", token="olzhas"))


def test_an_officer_does_not_make_a_second_pair_of_eyes_alone() -> None:
    register = Register()
    by(register, Actor("os:root", Role.COMPLIANCE)).put_person(person("anna"))
    by(register, ANNA).put_person(person("bota"))  # the second officer comes from the first
    for puppet in (person("puppet"), person("bota", token="known to anna")):
        alone = by(register, ANNA)
        alone.put_person(puppet)
        assert [event.action for event in alone.events] == ["proposed"]
        assert register.people.get(puppet.name) != puppet
    by(register, BOTA).approve(1)
    assert register.people["puppet"] == person("puppet")
    # A token of one's own, an auditor, and a revocation need nobody else.
    free = by(register, ANNA)
    free.put_person(person("anna", token="new"))
    free.put_person(person("erlan", Role.AUDITOR))
    free.put_person(person("puppet", revoked=True))
    assert [event.kind for event in free.events] == ["person"] * 3


def test_an_officer_does_not_ask_under_another_name_and_approve() -> None:
    """O-31: an operator of one's own making, or one whose token was stolen, is no second person."""
    register = staffed("altai")
    puppet = by(register, ANNA)
    puppet.put_person(person("puppet", Role.OPERATOR))
    puppet.put_person(person("olzhas", Role.OPERATOR, token="known to anna"))
    assert [event.action for event in puppet.events] == ["proposed", "proposed"]
    by(register, OLZHAS).enter_address(wallet(0))
    by(register, ANNA).put_person(person("olzhas", Role.OPERATOR, revoked=True))
    with pytest.raises(ProposalError, match="may not act any more; reject it"):
        by(register, BOTA).approve(3)
    by(register, Actor("os:root", Role.COMPLIANCE)).enter_address(wallet(1))
    with pytest.raises(ProposalError, match="may not act any more"):
        by(register, BOTA).approve(4)


def test_an_officer_who_revokes_the_other_is_not_two_afterwards() -> None:
    """Whoever stole one token must not come to the powers of two officers by it."""
    register = Register()
    by(register, Actor("os:root", Role.COMPLIANCE)).put_person(person("anna"))
    by(register, ANNA).put_person(person("bota"))
    demoting = by(register, ANNA)
    demoting.put_person(person("bota", Role.AUDITOR))
    assert [event.action for event in demoting.events] == ["proposed"]
    by(register, ANNA).put_person(person("bota", revoked=True))
    puppets = by(register, ANNA)
    puppets.put_person(person("puppet"))
    puppets.put_person(person("erlan", Role.AUDITOR))
    puppets.put_person(person("erlan", Role.COMPLIANCE))
    assert [event.action for event in puppets.events] == ["proposed", "entered", "proposed"]
    with pytest.raises(ProposalError, match="own"):
        by(register, ANNA).approve(2)
