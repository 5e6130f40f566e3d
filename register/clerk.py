"""Who writes the register: each change is checked against all that stands, and becomes an event.

A `Clerk` works for one actor, with one reason, on one register, which it brings along as it writes; the
caller stores `events` all together or throws clerk and register away. It has no clock and no database.

What was set to need a second pair of eyes becomes a proposal first; another compliance officer's `approve`
makes it a change. What stops work or payments (a suspension, a withdrawn address) never waits for one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from register.address import Chain, one_spelling
from register.centre import Centre
from register.consistency import check_alone, check_device, check_licence, miner_of
from register.device import Device, DeviceError
from register.event import Event, canonical, sealed
from register.fields import text_of
from register.licence import Act, Licence, LicenceError, months_later
from register.miner import Miner, MinerError
from register.payout_address import PayoutAddress, PayoutAddressError
from register.person import Actor, Person, PersonError, Role
from register.pool_data import Accreditation, PoolDataError, Requirement, Site, TestProtocol
from register.proposal import Proposal, ProposalError, needs_second
from register.records import decode
from register.register import Register
from register.rules import Rules
from register.sighting import Sighting

REASON_LIMIT = 300
_HOUR_US = 3_600_000_000


class ReasonError(ValueError):
    """A change without a reason. Every change has an actor and a reason."""


class TakenError(ValueError):
    """The record is there already. The message names it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By what the register is kept."""

    rules: Rules
    chain: Chain
    production: bool = False
    four_eyes: frozenset[str] = frozenset()
    """Of `register.proposal.FOUR_EYES`."""


class Clerk:
    """See the head of this file. Every method raises a ValueError that names the record and the remedy."""

    def __init__(self, register: Register, terms: Terms, actor: Actor, reason: str, now_us: int) -> None:
        text_of(f"change by {actor.name}", "reason", reason, ReasonError, REASON_LIMIT)
        self.register = register
        self.events: list[Event] = []
        self._terms = terms
        self._actor = actor
        self._reason = reason
        self._now_us = now_us
        self._approving = False
        self._folded: dict[str, set[str]] = {}
        """Keys that are taken, by kind, in one case of letters."""

    @property
    def today(self) -> dt.date:
        """The day in Kazakhstan."""
        return self._terms.rules.day_of(self._now_us)

    # Miners and data centres

    def enter_miner(self, miner: Miner) -> Miner:
        """A new miner; its id is given here, whatever `miner.id` says."""
        miner.check()
        names = (one.name for one in self.register.miners.values())
        if miner.name.casefold() in {one.casefold() for one in names}:
            raise MinerError(f"miner {miner.name}: an account of that name exists; choose another name")
        new = msgspec.structs.replace(miner, id=max(self.register.miners, default=0) + 1)
        self._write("miner", str(new.id), "entered", new)
        return new

    def change_miner(self, miner: Miner) -> None:
        """A miner's title, number, language, contacts or payout threshold anew; account and id stay."""
        before = self.register.miners.get(miner.id)
        if before is None or before.name != miner.name:
            raise MinerError(f"miner {miner.name}: account and id of a miner never change; enter a new one")
        miner.check()
        self._write("miner", str(miner.id), "changed", miner)

    def enter_centre(self, centre: Centre) -> None:
        """A new data centre."""
        centre.check()
        self._free("centre", "data centre", centre.code, self.register.centres, "changed")
        self._write("centre", centre.code, "entered", centre)

    def change_centre(self, centre: Centre) -> None:
        """A data centre anew; its code stays."""
        self.register.centre(centre.code)
        centre.check()
        self._write("centre", centre.code, "changed", centre)

    # Licences

    def enter_licence(self, licence: Licence) -> None:
        """A new licence of a miner that is in the register."""
        licence.check(self._terms.rules)
        if licence.acts:
            raise LicenceError(f"licence {licence.number}: is entered without acts; add them one by one")
        self._free("licence", "licence", licence.number, self.register.licences, "acted on")
        check_licence(self.register, licence)
        self._write("licence", licence.number, "entered", licence)

    def correct_licence(self, licence: Licence) -> None:
        """A licence as it should have been entered, its acts included; number and miner stay.

        For what was entered wrongly, or taken back by who decided it: it needs the second person that a
        resumption needs.
        """
        before = self.register.licence(licence.number)
        if before.miner_id != licence.miner_id:
            raise LicenceError(f"licence {licence.number}: stays with its miner; enter another licence")
        licence.check(self._terms.rules)
        right = msgspec.structs.replace(licence, acts=())
        # A slip in the number of an act does not change since when it is known.
        known = {(act.kind, act.on): act.entered_us for act in before.acts}
        for act in licence.acts:
            entered_us = known.get((act.kind, act.on), self._now_us)
            right = right.with_act(msgspec.structs.replace(act, entered_us=entered_us), self._terms.rules)
        check_licence(self.register, right)
        self._write("licence", licence.number, "changed", right)

    def act_on_licence(self, number: str, act: Act) -> Licence:
        """A suspension, resumption, end or revocation; in effect from now on, or from a day to come."""
        act = msgspec.structs.replace(act, entered_us=self._now_us)
        licence = self.register.licence(number).with_act(act, self._terms.rules)
        self._write("licence", number, act.kind, licence)
        return licence

    # Hardware units

    def enter_device(self, device: Device) -> None:
        """A new hardware unit."""
        self._free("device", "hardware unit", device.registry_number, self.register.devices, "changed")
        device.check()
        check_device(self.register, self._terms.rules, device, self.today)
        self._write("device", device.registry_number, "entered", device)

    def change_device(self, device: Device) -> None:
        """A hardware unit anew: another place, worker name, or miner (a transfer)."""
        before = self.register.device(device.registry_number)
        device.check()
        self._require_excluded(before, device)
        check_device(self.register, self._terms.rules, device, self.today)
        action = "changed" if before.miner_id == device.miner_id else "transferred"
        self._write("device", device.registry_number, action, device)

    def exclude_device(self, number: str, on: dt.date) -> None:
        """The unit leaves the state register: from 00:00 of that day it is no longer registered."""
        before = self.register.device(number)
        device = msgspec.structs.replace(before, excluded_on=on)
        device.check()
        self._require_excluded(before, device)
        check_alone(self.register, device)
        self._write("device", number, "excluded", device)

    def _require_excluded(self, before: Device, after: Device) -> None:
        """An exclusion that took effect is not taken back, by an old list of hardware say."""
        excluded = before.excluded_on
        if excluded is None or excluded > self.today:
            return
        if after.excluded_on is None or after.excluded_on > excluded:
            raise DeviceError(
                f"hardware unit {after.registry_number}: was excluded on {excluded}; no change takes that "
                f"back: enter it under the registry number of its new inclusion"
            )

    # Addresses

    def enter_address(self, address: PayoutAddress) -> PayoutAddress:
        """A new address; number and waiting period are given here. The first of its purpose holds at once."""
        miner = miner_of(self.register, address.miner_id, f"address {address.address[:90]}")
        rules, day = self._terms.rules, self.today
        sale = rules.find("mandatory_sale", day)
        held = list(self.register.addresses_of(miner.id))
        # Withdrawn ones count too: who takes the old address away does not get the new one in sooner.
        waits = any(one.purpose == address.purpose for one in held)
        hours = rules.on("address_change", day).integer("waiting_hours") if waits else 0
        new = msgspec.structs.replace(
            address,
            address=one_spelling(address.address),
            number=max((one.number for one in held), default=0) + 1,
            effective_us=self._now_us + hours * _HOUR_US,
            withdrawn_us=None,
        )
        new.check(self._terms.chain, sale.texts("licensors") if sale else ())
        for other in self.register.addresses.values():
            if other.address == new.address and other.withdrawn_us is None:
                whose = "it already" if other.miner_id == new.miner_id else "another miner"
                raise PayoutAddressError(f"address {new.address}: {whose} has it; give another one")
        self._write("address", new.key, "entered", new)
        return new

    def withdraw_address(self, key: str) -> None:
        """An address not to be used. If it is the one in effect, payments stop until another one is."""
        address = self.register.addresses.get(key)
        if address is None or address.withdrawn_us is not None:
            raise PayoutAddressError(
                f"address {key[:40]!r}: there is none in use; `dmpool miners show` tells"
            )
        self._write("address", key, "withdrawn", msgspec.structs.replace(address, withdrawn_us=self._now_us))

    # The pool's own data, and people

    def put_accreditation(self, accreditation: Accreditation) -> None:
        """A new accreditation, or one with another last day."""
        accreditation.check()
        row = self._terms.rules.find("accreditation", accreditation.issued_on)
        years = row.integer("term_years") if row else 0
        latest = months_later(accreditation.issued_on, 12 * years)
        if years and (accreditation.valid_to is None or accreditation.valid_to > latest):
            raise PoolDataError(
                f"accreditation {accreditation.number}: is given for {years} years; its last day is {latest} "
                f"or before"
            )
        self._put("accreditation", accreditation.number, accreditation, self.register.accreditations)

    def put_site(self, site: Site) -> None:
        """A new site, or one anew."""
        site.check(production=self._terms.production)
        self._put("site", site.code, site, self.register.sites)

    def put_protocol(self, protocol: TestProtocol) -> None:
        """A test protocol; one that was entered stays as it is."""
        protocol.check()
        self._free("protocol", "test protocol", protocol.number, self.register.protocols, "changed")
        self._write("protocol", protocol.number, "entered", protocol)

    def put_requirement(self, requirement: Requirement) -> None:
        """A requirement of the accreditation Rules, or its evidence."""
        requirement.check()
        self._put("requirement", requirement.code, requirement, self.register.requirements)

    def put_person(self, person: Person) -> None:
        """A person with a new role, or token, or revoked. One compliance officer always stays."""
        person.check()
        officers = self._officers() - {person.name}
        if not _officer(person) and not officers:
            raise PersonError(
                f"person {person.name}: without a compliance officer nobody could keep the register; "
                f"enter one first"
            )
        if any(
            one.token_sha256 == person.token_sha256 and one.name != person.name
            for one in self.register.people.values()
        ):
            raise PersonError(f"person {person.name}: the token is somebody else's; make a new one")
        self._put("person", person.name, person, self.register.people)

    # Two pairs of eyes

    def approve(self, proposal_id: int) -> Proposal:
        """Make a proposed change; raises ProposalError when it is out of date or the actor's own."""
        proposal = self._waiting(proposal_id)
        if proposal.actor == self._actor.name:
            raise ProposalError(
                f"proposal {proposal_id}: is {proposal.actor}'s own; another officer must approve"
            )
        if self._base_of(proposal.kind, proposal.key, decode(proposal.kind, proposal.body)) != proposal.base:
            raise ProposalError(
                f"proposal {proposal_id}: {proposal.kind} {proposal.key} has changed since; propose it anew"
            )
        if self._actor.role is not Role.COMPLIANCE:
            raise ProposalError(f"proposal {proposal_id}: {self._actor.name} is no compliance officer")
        asked = self.register.people.get(proposal.actor)
        if asked is None or asked.revoked:
            raise ProposalError(
                f"proposal {proposal_id}: {proposal.actor}, who asked for it, may not act any more; reject it"
            )
        self._decide(proposal, "approved")
        self._approving = True
        try:
            record = decode(proposal.kind, proposal.body)
            match record:
                case PayoutAddress():
                    self.enter_address(record)  # its waiting begins now
                case Licence() if proposal.action == "entered":
                    self.enter_licence(record)
                case Licence() if proposal.action == "changed":
                    self.correct_licence(record)
                case Licence():
                    self.act_on_licence(proposal.key, record.acts[-1])  # heard of now
                case Person():
                    self.put_person(record)
        finally:
            self._approving = False
        return proposal

    def reject(self, proposal_id: int) -> Proposal:
        """Turn a proposal down, or take back one's own."""
        proposal = self._waiting(proposal_id)
        if self._actor.role is not Role.COMPLIANCE and self._actor.name != proposal.actor:
            raise ProposalError(f"proposal {proposal_id}: {self._actor.name} is no compliance officer")
        self._decide(proposal, "rejected")
        return proposal

    # The program's own

    def sight(self, sighting: Sighting) -> bool:
        """Note what was seen; False when it was noted before."""
        if sighting.key in self.register.sightings:
            return False
        self._write("sighting", sighting.key, "seen", sighting)
        return True

    # What is looked at

    def _waiting(self, proposal_id: int) -> Proposal:
        proposal = self.register.proposals.get(proposal_id)
        if proposal is None or proposal.state != "waiting":
            state = "unknown" if proposal is None else proposal.state
            raise ProposalError(
                f"proposal {proposal_id}: is {state}; `dmpool register pending` shows what waits"
            )
        return proposal

    def _base_of(self, kind: str, key: str, record: msgspec.Struct) -> str:
        """What a proposal goes out from: the record as it is, or a miner's newest address of the purpose."""
        base: msgspec.Struct | None
        match record:
            case PayoutAddress(miner_id=miner_id, purpose=purpose):
                held = (one for one in self.register.addresses_of(miner_id) if one.purpose == purpose)
                base = max(held, key=lambda one: one.number, default=None)
            case Person():
                base = self.register.people.get(key)
            case _:
                base = self.register.licences.get(key)
        return canonical(base) if base is not None else ""

    def _officers(self) -> set[str]:
        return {one.name for one in self.register.people.values() if _officer(one)}

    def _waits(self, kind: str, action: str, record: msgspec.Struct) -> bool:
        """Whether a change waits for a second person."""
        if self._approving:
            return False
        if isinstance(record, Person):
            return bool(self._terms.four_eyes) and self._alters_writers(record)
        return needs_second(kind, action, self._terms.four_eyes)

    def _alters_writers(self, person: Person) -> bool:
        """Whether somebody else becomes one who may ask or approve, or an officer is one no more.

        Who could be the second pair of eyes is one officer's to make only while there was never another one:
        or one officer need only enter, or revoke, another name to be two. Revoking itself never waits.
        """
        people = self.register.people
        before = people.get(person.name)
        if person.name == self._actor.name or person.revoked:
            return False
        others = {one.name for one in people.values() if one.role is Role.COMPLIANCE} - {self._actor.name}
        demoted = before is not None and _officer(before) and not _officer(person)
        return bool(others) and (person.role in (Role.OPERATOR, Role.COMPLIANCE) or demoted)

    def _free(self, kind: str, what: str, key: str, known: Iterable[str], how: str) -> None:
        """Raises TakenError when a record has this key, in whatever case of letters."""
        folded = self._folded.get(kind)
        if folded is None:
            folded = self._folded[kind] = {one.casefold() for one in known}
        if key.casefold() in folded:
            raise TakenError(f"{what} {key}: is in the register already; it can be {how}, not entered again")

    # How it is written

    def _decide(self, proposal: Proposal, state: Literal["approved", "rejected"]) -> None:
        decided = msgspec.structs.replace(proposal, state=state)
        self._append("proposal", str(proposal.id), state, canonical(decided))

    def _put(self, kind: str, key: str, record: msgspec.Struct, known: Container[str]) -> None:
        self._write(kind, key, "changed" if key in known else "entered", record)

    def _write(self, kind: str, key: str, action: str, record: msgspec.Struct) -> None:
        body = canonical(record)
        self._actor.require(kind)
        if self._waits(kind, action, record):
            number = max(self.register.proposals, default=0) + 1
            base = self._base_of(kind, key, record)
            proposal = Proposal(number, kind, key, action, body, base, self._actor.name, self._reason)
            self._append("proposal", str(number), "proposed", canonical(proposal))
            return
        self._append(kind, key, action, body)

    def _append(self, kind: str, key: str, action: str, body: str) -> None:
        register = self.register
        event = sealed(
            Event(
                seq=register.seq + 1,
                at_us=max(self._now_us, register.at_us + 1),
                actor=self._actor.name,
                role=self._actor.role.value,
                reason=self._reason,
                kind=kind,
                key=key,
                action=action,
                body=body,
                previous=register.sha256,
                sha256="",
            )
        )
        register.apply(event)
        self.events.append(event)
        if kind in self._folded:
            self._folded[kind].add(key.casefold())


def _officer(person: Person) -> bool:
    return person.role is Role.COMPLIANCE and not person.revoked
