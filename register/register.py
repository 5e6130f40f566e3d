"""The register as it stands after some events: records of every kind, and what finds them.

Pure state. `put` takes the newest version of a record, in any order of kinds; who may write, and what, is
decided by `register.clerk` before. A gateway holds one with the kinds that its gate needs, a report one as
it stood on a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from register.centre import Centre
from register.device import Device
from register.event import FIRST, Event
from register.licence import Licence
from register.miner import Miner
from register.payout_address import PayoutAddress, address_at
from register.person import Person
from register.pool_data import Accreditation, Requirement, Site, TestProtocol
from register.proposal import Proposal
from register.records import decode
from register.rules import Rules
from register.sighting import Sighting

_Record = TypeVar("_Record")


class UnknownRecord(ValueError):
    """There is no such record. The message names it and how to look."""


class Standing(NamedTuple):
    """A miner at an instant: with the licence that says most about it, and the wallet that it is paid to."""

    miner: Miner
    licence: Licence | None
    """The one in force; else the last that began; else the next to begin."""
    wallet: PayoutAddress | None


class Register:
    """See the head of this file. `seq`, `sha256` and `at_us` are those of the newest event that it knows."""

    def __init__(self) -> None:
        self.seq = 0
        self.sha256 = FIRST
        self.at_us = 0
        self.miners: dict[int, Miner] = {}
        self.licences: dict[str, Licence] = {}
        self.centres: dict[str, Centre] = {}
        self.devices: dict[str, Device] = {}
        self.addresses: dict[str, PayoutAddress] = {}
        self.accreditations: dict[str, Accreditation] = {}
        self.sites: dict[str, Site] = {}
        self.protocols: dict[str, TestProtocol] = {}
        self.requirements: dict[str, Requirement] = {}
        self.people: dict[str, Person] = {}
        self.proposals: dict[int, Proposal] = {}
        self.sightings: dict[str, Sighting] = {}
        self._accounts: dict[str, Miner] = {}
        self._licences_of: dict[int, dict[str, Licence]] = {}
        self._addresses_of: dict[int, dict[str, PayoutAddress]] = {}
        self._units_of: dict[int, dict[str, tuple[Device, ...]]] = {}
        self._makes: dict[tuple[str, str], tuple[str, ...]] = {}
        self._plain: dict[str, dict[str, Any]] = {
            "centre": self.centres,
            "accreditation": self.accreditations,
            "site": self.sites,
            "protocol": self.protocols,
            "requirement": self.requirements,
            "person": self.people,
            "sighting": self.sightings,
        }

    # Taking in

    def apply(self, event: Event) -> None:
        """Take the next event; raises ValueError when it is not the next or cannot be read."""
        if event.seq != self.seq + 1 or event.previous != self.sha256:
            raise ValueError(f"register event {event.seq} does not follow event {self.seq}")
        self.put(event.kind, event.key, decode(event.kind, event.body))
        self.seq, self.sha256, self.at_us = event.seq, event.sha256, event.at_us

    def put(self, kind: str, key: str, record: msgspec.Struct) -> None:
        """Take a record's newest version."""
        match record:
            case Device():
                self._put_device(record)
            case Miner():
                self.miners[record.id] = self._accounts[record.name] = record
            case Licence():
                self._put_licence(record)
            case PayoutAddress():
                self.addresses[key] = record
                self._addresses_of.setdefault(record.miner_id, {})[key] = record
            case Proposal():
                self.proposals[record.id] = record
            case _:
                records = self._plain.get(kind)
                if records is None:
                    raise ValueError(f"record kind {kind!r} has no place in the register")
                records[key] = record

    def _put_licence(self, licence: Licence) -> None:
        before = self.licences.get(licence.number)
        if before is not None:
            del self._licences_of[before.miner_id][licence.number]
        self.licences[licence.number] = licence
        self._licences_of.setdefault(licence.miner_id, {})[licence.number] = licence

    def _put_device(self, device: Device) -> None:
        number = device.registry_number
        before = self.devices.get(number)
        if before is not None:
            self._forget_names(before)
        self.devices[number] = device
        units = self._units_of.setdefault(device.miner_id, {})
        for name in device.names:
            units[name] = (*units.get(name, ()), device)
        twins = self._makes.get(device.make, ())
        if number not in twins:
            self._makes[device.make] = (*twins, number)

    def _forget_names(self, device: Device) -> None:
        units = self._units_of[device.miner_id]
        for name in device.names:
            rest = tuple(one for one in units[name] if one is not device)
            if rest:
                units[name] = rest
            else:
                del units[name]
        twins = tuple(number for number in self._makes[device.make] if number != device.registry_number)
        if twins:
            self._makes[device.make] = twins
        else:
            del self._makes[device.make]

    def become(self, other: Register) -> None:
        """Hold what another one holds; that one is not to be used any more."""
        vars(self).update(vars(other))

    # Looking up

    def find_miner(self, account: str) -> Miner | None:
        """The miner with an account name."""
        return self._accounts.get(account)

    def miner(self, account: str) -> Miner:
        """The same; raises UnknownRecord."""
        found = self._accounts.get(account)
        if found is None:
            raise UnknownRecord(f"miner {account[:40]!r}: no such account; `dmpool miners list` shows all")
        return found

    def licence(self, number: str) -> Licence:
        """The licence with a number; raises UnknownRecord."""
        return _known(self.licences, number, "licence", "licences")

    def centre(self, code: str) -> Centre:
        """The data centre with a code; raises UnknownRecord."""
        return _known(self.centres, code, "data centre", "centres")

    def device(self, number: str) -> Device:
        """The hardware unit with a registry number; raises UnknownRecord."""
        return _known(self.devices, number, "hardware unit", "devices")

    def licences_of(self, miner_id: int) -> Iterable[Licence]:
        """A miner's licences, in no order."""
        return self._licences_of.get(miner_id, {}).values()

    def addresses_of(self, miner_id: int) -> Iterable[PayoutAddress]:
        """A miner's addresses, whether in effect or not."""
        return self._addresses_of.get(miner_id, {}).values()

    def units_named(self, miner_id: int, name: str) -> tuple[Device, ...]:
        """A miner's hardware units, past ones included, that answer to a worker name in small letters."""
        return self._units_of.get(miner_id, {}).get(name, ())

    def devices_of(self, miner_id: int) -> Iterator[Device]:
        """A miner's hardware units, past ones included."""
        for name, units in self._units_of.get(miner_id, {}).items():
            yield from (one for one in units if name == one.registry_number.lower())

    def twins(self, device: Device) -> Iterator[Device]:
        """Other hardware units of the same manufacturer and serial number."""
        numbers = self._makes.get(device.make, ())
        return (self.devices[number] for number in numbers if number != device.registry_number)

    def standing(self, miner: Miner, at_us: int, rules: Rules) -> Standing:
        """A miner with its licence and wallet at an instant."""
        wallet = address_at(self.addresses_of(miner.id), "wallet", at_us)
        return Standing(miner, self._licence_at(miner.id, at_us, rules), wallet)

    def _licence_at(self, miner_id: int, at_us: int, rules: Rules) -> Licence | None:
        day = rules.day_of(at_us)
        held = sorted(self.licences_of(miner_id), key=lambda one: (one.valid_from, one.number))
        covering = [one for one in held if one.valid_from <= day <= one.last_day]
        begun = [one for one in held if one.valid_from <= day]
        return next(iter(covering[-1:] or begun[-1:] or held[:1]), None)


def _known(records: dict[str, _Record], key: str, what: str, command: str) -> _Record:
    found = records.get(key)
    if found is None:
        raise UnknownRecord(f"{what} {key[:70]!r}: no such record; `dmpool {command} list` shows all")
    return found
