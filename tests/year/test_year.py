"""A year of the pool in simulated time: what is credited is what the register allows, at every instant.

84 licensees and 83,000 hardware units. I6; O-01, O-03 to O-11, O-21, O-31. `tests.year.plot` says what
happens, `tests.year.oracle` who may mine, `tests.year.year` how it is lived.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Final

import msgspec
import pytest

from register.event import FIRST, ChainError, Event, sealed, verify
from register.licence import COVERING
from register.payout_address import PayoutAddress, address_at
from register.person import Person, PersonError, Role, token_hash
from register.proposal import Proposal, ProposalError
from register.records import decode
from register.register import Register
from register.rules import parse_rules
from tests.campaign import extent
from tests.register_world import RULES_FILE
from tests.year.office import Denied, made_up_address
from tests.year.oracle import wall_clock
from tests.year.plot import FARMS, RULES, UNITS, Plot
from tests.year.year import Year, midnight, records_of, us_of

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]
HOUR_US: Final = 3_600_000_000
VICTIM, OTHER = "farm20", "farm21"
"""Whose address a thief wants to change, and who changes its own at the same time."""
STOLEN: Final = us_of(dt.datetime(2026, 9, 25, 20, 0))
"""When the first token was stolen."""


@pytest.fixture(scope="module")
def year() -> Year:
    """The year, lived."""
    plot = Plot(seed=2026, churn=extent(120, 600), crowd=extent(100, 1500))
    rules = parse_rules(RULES_FILE.read_text("utf-8") + RULES)
    made = Year(plot, rules, censuses=extent(2, 30))
    Attack(made)
    made.live()
    return made


class Attack:
    """An address change under attack, beside one that is meant; written into the year's agenda (O-31)."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.office = year.office
        hours = {
            0: self.thief_proposes,
            1: self.thief_cannot_approve,
            3: self.thief_approves_with_a_second_token,
            41: self.owner_has_it_withdrawn,
            42: self.tokens_are_worthless,
        }
        for hour, what in hours.items():
            year.at(STOLEN + hour * HOUR_US, what)
        for hour in range(24 * 12):
            year.at(STOLEN + hour * HOUR_US + 1, self.payments_go_where_they_belong)
        for wait_us in (72 * HOUR_US - 1, 72 * HOUR_US):
            year.at(STOLEN + 3 * HOUR_US + wait_us, self.payments_go_where_they_belong)

    def thief_proposes(self, at_us: int) -> None:
        self.propose("token of dana", VICTIM, "thief", at_us)
        self.propose("token of aigul", OTHER, "meant", at_us)

    def propose(self, token: str, account: str, name: str, at_us: int) -> None:
        miner_id = self.office.register.miner(account).id
        new = PayoutAddress(miner_id, 0, "wallet", made_up_address(name), 0)
        self.office.write(token, "new wallet", at_us, lambda clerk: clerk.enter_address(new))

    def waiting(self) -> list[int]:
        return [one.id for one in self.office.register.proposals.values() if one.state == "waiting"]

    def thief_cannot_approve(self, at_us: int) -> None:
        for number in self.waiting():
            with pytest.raises(ProposalError):
                self.office.write(
                    "token of dana", "urgent", at_us, lambda clerk, number=number: clerk.approve(number)
                )
        (own,) = [one.id for one in self.office.register.proposals.values() if waits_for(one, "aigul")]
        with pytest.raises(ProposalError, match="own"):
            self.office.write("token of aigul", "it is mine", at_us, lambda clerk: clerk.approve(own))
        with pytest.raises(PersonError, match="auditor"):
            self.propose("token of erlan", VICTIM, "thief too", at_us)

    def thief_approves_with_a_second_token(self, at_us: int) -> None:
        """Against two stolen tokens only the waiting period helps."""
        waiting = self.waiting()
        assert len(waiting) == 2
        self.office.approve(at_us, waiting)

    def owner_has_it_withdrawn(self, at_us: int) -> None:
        register = self.office.register
        held = register.addresses_of(register.miner(VICTIM).id)
        (key,) = [one.key for one in held if one.address == made_up_address("thief")]
        assert register.addresses[key].effective_us == STOLEN + 75 * HOUR_US
        self.office.write(
            "token of aigul", "the miner called", at_us, lambda clerk: clerk.withdraw_address(key)
        )
        # Both tokens are stopped by one officer at once; the third one takes the place of the second.
        gone = Person("bolat", Role.COMPLIANCE, token_hash("token of bolat"), revoked=True)
        new = Person("dana", Role.OPERATOR, token_hash("new token of dana"))
        for person in (gone, new):
            self.office.write(
                "token of aigul", "stolen", at_us, lambda clerk, person=person: clerk.put_person(person)
            )
        self.office.second = "token of galym"
        self.office.approve(at_us, self.waiting())
        self.office.second = "token of galym"
        self.office.tokens["dana"] = "new token of dana"

    def tokens_are_worthless(self, at_us: int) -> None:
        for name in ("bolat", "dana"):
            with pytest.raises(Denied):
                self.propose(f"token of {name}", VICTIM, "thief again", at_us)

    def payments_go_where_they_belong(self, at_us: int) -> None:
        """By the register as it stands at this instant."""
        meant = "meant" if at_us >= STOLEN + 75 * HOUR_US else OTHER
        for account, name in ((VICTIM, VICTIM), (OTHER, meant)):
            held = self.office.register.addresses_of(self.office.register.miner(account).id)
            paid = address_at(held, "wallet", at_us)
            if paid is None or paid.address != made_up_address(name):
                self.year.differ(at_us, f"payment to {account}: {paid}, and not the address {name}")


def waits_for(proposal: Proposal, actor: str) -> bool:
    return proposal.state == "waiting" and proposal.actor == actor


def test_i6_every_share_of_the_year_is_credited_exactly_if_the_register_allows_it(year: Year) -> None:
    told = "\n".join(year.differences)
    assert not year.differences, f"where the pool and the law part:\n{told}"


def test_the_year_was_full(year: Year) -> None:
    """The test of the test: it would prove nothing if nothing had happened."""
    assert len(year.plot.farms) == len(year.office.register.miners) == FARMS
    assert len(year.office.register.devices) >= UNITS
    subtype_1 = [farm for farm in year.plot.farms if farm.subtype == 1]
    assert (
        round(100 * len(subtype_1) / FARMS) == round(100 * sum(farm.size for farm in subtype_1) / UNITS) == 38
    )
    print(f"{len(year.office.log)} events, shares {dict(year.fates)}, admissions {dict(year.admissions)}")
    assert min(year.fates[fate] for fate in ("credited", "quarantined", "refused")) > 100
    assert min(year.admissions[fate] for fate in ("credited", "quarantined", "refused")) > 0
    assert set(year.gateway.refusals) >= {
        *("unknown_account", "pool_not_accredited", "no_licence", "licence_ended", "licence_suspended"),
        *("licence_awaiting_resumption", "licence_revoked", "unknown_device", "device_not_registered"),
    }
    actions = {(one.kind, one.action) for one in year.office.log}
    assert actions >= {
        *(("device", action) for action in ("entered", "changed", "transferred", "excluded")),
        *(("licence", action) for action in ("entered", "suspended", "resumed", "ended", "revoked")),
        *(("address", action) for action in ("entered", "withdrawn")),
        *(("proposal", action) for action in ("proposed", "approved")),
        *(("accreditation", action) for action in ("entered", "changed")),
    }


def test_credited_shares_add_up_by_miner_and_month(year: Year) -> None:
    names = {miner.id: miner.name for miner in year.office.register.miners.values()}
    credited = Counter(
        {(names[miner_id], month): n for (miner_id, month), n in year.gateway.recorder.credited.items()}
    )
    assert credited == year.expected


def test_what_was_mined_before_an_act_was_heard_of_stays_lawful(year: Year) -> None:
    """O-09: an act for today does not reach back to midnight, however late the register is asked."""
    seen = 0
    for step in year.plot.steps:
        if step.verb != "act":
            continue
        heard_us, licence = us_of(step.when), year.office.register.licence(step.about["number"])
        if licence.acts[0].on == step.about["on"] == wall_clock(heard_us).date():
            assert licence.phase_at(heard_us - 1, year.rules).status in COVERING, str(step)
            assert licence.phase_at(heard_us, year.rules).status not in COVERING, str(step)
            seen += 1
    assert seen >= 4


def test_o31_at_no_instant_does_a_payment_go_to_the_thief(year: Year) -> None:
    """By the log alone: at each instant that an address names, and each hour of the two weeks around."""
    versions = [
        (event.at_us, address)
        for event in year.office.log
        if event.kind == "address" and isinstance(address := decode("address", event.body), PayoutAddress)
    ]
    victim = year.office.register.miner(VICTIM).id
    mine = [(at_us, address) for at_us, address in versions if address.miner_id == victim]
    assert made_up_address("thief") in {address.address for _, address in mine}
    named = {instant for _, one in mine for instant in (one.effective_us, one.withdrawn_us) if instant}
    hours = range(STOLEN - 100 * HOUR_US, STOLEN + 240 * HOUR_US, HOUR_US)
    for at_us in sorted({*hours, *(instant + by for instant in named for by in (-1, 0, 1))}):
        known = {one.key: one for written_us, one in mine if written_us <= at_us}
        paid = address_at(known.values(), "wallet", at_us)
        assert (paid.address if paid else None) in (None, made_up_address(VICTIM))


def test_the_chain_of_events_holds(year: Year) -> None:
    register = year.office.register
    assert verify(year.office.log)[:2] == (register.seq, register.sha256)


def test_a_change_to_any_one_event_is_found(year: Year) -> None:
    """Also when it was given the hash that fits: then the next event tells, or who kept the last hash."""
    log = year.office.log
    every = extent(50, 1)
    kept = log[-1].sha256
    for index, event in enumerate(log):
        if event.kind == "device" and index % every:
            continue
        before = (
            event.seq - 1,
            log[index - 1].sha256 if index else FIRST,
            log[index - 1].at_us if index else 0,
        )
        forged = forge(event, index)
        with pytest.raises(ChainError, match=f"event {event.seq}"):
            verify([forged], before)
        again = sealed(forged)
        if index + 1 < len(log):
            with pytest.raises(ChainError):
                verify([again, log[index + 1]], before)
        else:
            assert verify([again], before)[1] != kept
    with pytest.raises(ChainError):
        verify([*log[:1000], *log[1001:]])


def forge(event: Event, index: int) -> Event:
    """The event with another content: one of its fields at a time, in turn."""
    change = (
        {"at_us": event.at_us + 1},
        {"actor": event.actor + "x"},
        {"role": "operator" if event.role == "compliance" else "compliance"},
        {"reason": event.reason + "."},
        {"key": event.key + "0"},
        {"action": event.action + "ed"},
        {"body": event.body[:-1] + ',"z":1}'},
    )[index % 7]
    return msgspec.structs.replace(event, **change)


def test_the_register_of_a_past_day_is_what_it_was_on_that_day(year: Year) -> None:
    past = Register()
    events = iter(year.office.log)
    event = next(events, None)
    for day, copy in sorted(year.copies.items()):
        until = midnight(day + dt.timedelta(days=1))
        while event is not None and event.at_us < until:
            past.apply(event)
            event = next(events, None)
        now = records_of(past)
        for kind, records in copy.items():
            assert now[kind].keys() == records.keys(), f"{kind} on {day}"
            wrong = [key for key, record in records.items() if now[kind][key] != record]
            assert wrong == [], f"{kind} on {day}"
    assert event is None
