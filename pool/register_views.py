"""The register's records as `/api/v1/register` shows them, and how they are found.

A view is the record itself, as the log of events has it, and what follows from it at an instant: the account
of its miner, where a licence stands, whether an address is in effect. Instants are unix microseconds, days
are days in Kazakhstan. Nothing here reads a database or a clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from register.centre import Centre
from register.device import Device
from register.event import Event
from register.licence import FOREVER_US, Licence, Status
from register.miner import Miner
from register.payout_address import PayoutAddress, address_at
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.proposal import Proposal
from register.register import Register
from register.rules import Rules

DeviceState = Literal["not_yet", "registered", "excluded"]
AddressState = Literal["waiting", "in_effect", "replaced", "withdrawn"]
DEVICE_STATES: Final = ("not_yet", "registered", "excluded")
ADDRESS_STATES: Final = ("waiting", "in_effect", "replaced", "withdrawn")


class LicenceView(Licence, frozen=True, kw_only=True):
    """A licence, and where it stands."""

    account: str
    status: Status
    status_since_us: int | None
    """None: it was never otherwise."""
    status_until_us: int | None
    """None: it stays so unless something is decided."""


class DeviceView(Device, frozen=True, kw_only=True):
    """A hardware unit, and whether it is in the state register (O-07)."""

    account: str
    state: DeviceState


class AddressView(PayoutAddress, frozen=True, kw_only=True):
    """A payout address, and whether it is paid to."""

    key: str
    account: str
    state: AddressState


class EventView(msgspec.Struct, frozen=True):
    """A change. `sha256` is the SHA-256 of the canonical JSON (RFC 8785) of all the other fields."""

    seq: int
    at_us: int
    actor: str
    role: str
    reason: str
    kind: str
    key: str
    action: str
    body: msgspec.Raw
    """The record from then on."""
    previous: str
    sha256: str


class ProposalView(msgspec.Struct, frozen=True):
    """A change that waits, or waited, for a second person."""

    id: int
    kind: str
    key: str
    action: str
    body: msgspec.Raw
    """The record as it will be."""
    base: msgspec.Raw | None
    """The record as it was when this was proposed; null when there was none."""
    actor: str
    reason: str
    state: Literal["waiting", "approved", "rejected"]


View = Callable[[Any, Register, Rules, int], msgspec.Struct]
StateOf = Callable[[Any, Register, Rules, int], str]


@dataclass(frozen=True, slots=True)
class Listing:
    """How the records of a kind are listed: under which name, from where, and what they can be asked by."""

    kind: str
    path: str
    what: str
    record: type[msgspec.Struct]
    shown: type[msgspec.Struct]
    all: Callable[[Register], Iterable[Any]]
    view: View = lambda record, register, rules, at_us: record
    key: str = "key"
    """The field that a record goes by."""
    state: StateOf | None = None
    states: tuple[str, ...] = ()
    of_miner: bool = False


def account_of(register: Register, miner_id: int) -> str:
    """The account behind an id; empty for one that is not known, which only a damaged log has."""
    miner = register.miners.get(miner_id)
    return miner.name if miner else ""


def licence_view(licence: Licence, register: Register, rules: Rules, at_us: int) -> LicenceView:
    """Where it stands at an instant."""
    phase = licence.phase_at(at_us, rules)
    return LicenceView(
        **msgspec.structs.asdict(licence),
        account=account_of(register, licence.miner_id),
        status=phase.status,
        status_since_us=phase.start_us or None,
        status_until_us=None if phase.end_us == FOREVER_US else phase.end_us,
    )


def device_state(device: Device, day: dt.date) -> DeviceState:
    """Whether it is in the state register on a day."""
    if day < device.included_on:
        return "not_yet"
    return "registered" if device.excluded_on is None or day < device.excluded_on else "excluded"


def device_view(device: Device, register: Register, rules: Rules, at_us: int) -> DeviceView:
    """Whether it is registered at an instant."""
    return DeviceView(
        **msgspec.structs.asdict(device),
        account=account_of(register, device.miner_id),
        state=device_state(device, rules.day_of(at_us)),
    )


def address_state(address: PayoutAddress, register: Register, rules: Rules, at_us: int) -> AddressState:
    """Whether payments go to it at an instant."""
    if address.withdrawn_us is not None and address.withdrawn_us <= at_us:
        return "withdrawn"
    if address.effective_us > at_us:
        return "waiting"
    paid = address_at(register.addresses_of(address.miner_id), address.purpose, at_us)
    return "in_effect" if paid is not None and paid.number == address.number else "replaced"


def address_view(address: PayoutAddress, register: Register, rules: Rules, at_us: int) -> AddressView:
    """Whether it is paid to at an instant."""
    return AddressView(
        **msgspec.structs.asdict(address),
        key=address.key,
        account=account_of(register, address.miner_id),
        state=address_state(address, register, rules, at_us),
    )


def proposal_view(proposal: Proposal, register: Register, rules: Rules, at_us: int) -> ProposalView:
    """Its records as JSON and not as texts of it."""
    values = msgspec.structs.asdict(proposal)
    values["body"] = msgspec.Raw(proposal.body.encode())
    values["base"] = msgspec.Raw(proposal.base.encode()) if proposal.base else None
    return ProposalView(**values)


def event_view(event: Event) -> EventView:
    """A change, its record as JSON and not as a text of it."""
    values = msgspec.structs.asdict(event)
    return EventView(**values | {"body": msgspec.Raw(event.body.encode())})


LISTINGS: Final = {
    one.kind: one
    for one in (
        Listing("miner", "miners", "miners", Miner, Miner, lambda r: r.miners.values(), key="name"),
        Listing(
            "licence",
            "licences",
            "licences",
            Licence,
            LicenceView,
            lambda r: r.licences.values(),
            licence_view,
            "number",
            lambda licence, register, rules, at_us: licence.phase_at(at_us, rules).status,
            tuple(Status),
            of_miner=True,
        ),
        Listing(
            "device",
            "devices",
            "hardware units",
            Device,
            DeviceView,
            lambda r: r.devices.values(),
            device_view,
            "registry_number",
            lambda device, register, rules, at_us: device_state(device, rules.day_of(at_us)),
            DEVICE_STATES,
            of_miner=True,
        ),
        Listing(
            "centre", "centres", "data centres", Centre, Centre, lambda r: r.centres.values(), key="code"
        ),
        Listing(
            "address",
            "addresses",
            "payout addresses",
            PayoutAddress,
            AddressView,
            lambda r: r.addresses.values(),
            address_view,
            "key",
            address_state,
            ADDRESS_STATES,
            of_miner=True,
        ),
        Listing(
            "accreditation",
            "accreditations",
            "accreditations of the pool",
            Accreditation,
            Accreditation,
            lambda r: r.accreditations.values(),
            key="number",
        ),
        Listing("site", "sites", "sites of the pool", Site, Site, lambda r: r.sites.values(), key="code"),
        Listing(
            "protocol",
            "protocols",
            "test protocols",
            TestProtocol,
            TestProtocol,
            lambda r: r.protocols.values(),
            key="number",
        ),
        Listing(
            "requirement",
            "requirements",
            "requirements of the accreditation Rules",
            Requirement,
            Requirement,
            lambda r: r.requirements.values(),
            key="code",
        ),
        Listing(
            "proposal",
            "proposals",
            "changes that wait, or waited, for a second person",
            Proposal,
            ProposalView,
            lambda r: r.proposals.values(),
            proposal_view,
            "id",
            lambda proposal, register, rules, at_us: proposal.state,
            ("waiting", "approved", "rejected"),
        ),
    )
}


def order_of(listing: Listing) -> Callable[[Any], Any]:
    """By what the records of a kind are sorted."""
    if listing.kind == "address":
        return lambda address: (address.miner_id, address.number)
    return lambda record: getattr(record, listing.key)


def texts_of(record: msgspec.Struct) -> Iterable[str]:
    """What a search looks through: every text of a record, of its parts too."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            for part in value:
                if isinstance(part, msgspec.Struct):
                    yield from texts_of(part)
                else:
                    yield str(part)


def matches(record: msgspec.Struct, wanted: str) -> bool:
    """Whether a text, in small letters, occurs in a record, whatever the case."""
    return any(wanted in text.lower() for text in texts_of(record))
