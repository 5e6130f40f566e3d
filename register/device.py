"""A hardware unit: a hardware-software complex for digital mining, as the state register has it (O-06, O-07).

Its worker name is what the firmware sends behind the account: `account.worker`. A unit also answers to its
registry number, whatever the case of the letters; within one account each of these names one unit at a time.

The fields of the state register's own record were not seen (Q-14); these are ours, after regulation.md 5.4.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

import msgspec

from register.fields import code_of, day_of, text_of
from register.identity import InvalidIdentity, identify

_WORKER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LARGEST_GHS: Final = 10**9
_LARGEST_W: Final = 10**6


class DeviceError(ValueError):
    """The hardware unit cannot be as given. The message names the unit, the value and the remedy."""


class Device(msgspec.Struct, frozen=True, gc=False):
    """One hardware unit; it is a registered one from 00:00 of `included_on` until 00:00 of `excluded_on`."""

    registry_number: str
    manufacturer: str
    model: str
    serial_number: str
    worker: str
    """The worker name in its firmware."""
    nominal_ghs: int
    """Nominal hashrate in 10^9 hashes a second."""
    nominal_w: int
    owner_bin: str
    """BIN or IIN of its owner."""
    miner_id: int
    centre: str
    """Code of the data centre where it stands."""
    included_on: dt.date
    excluded_on: dt.date | None = None
    place: str = ""
    """Hall, rack."""
    contract: str = ""
    """Number of the hosting contract (subtype II)."""

    @property
    def names(self) -> frozenset[str]:
        """What it answers to, in small letters."""
        return frozenset((self.worker.lower(), self.registry_number.lower()))

    @property
    def make(self) -> tuple[str, str]:
        """Manufacturer and serial number: no two units share them."""
        return self.manufacturer.lower(), self.serial_number.lower()

    def overlaps(self, other: Device) -> bool:
        """Whether both are registered on some day."""
        first = max(self.included_on, other.included_on)
        return all(one.excluded_on is None or first < one.excluded_on for one in (self, other))

    def check(self) -> None:
        """Raises DeviceError when this cannot be a hardware unit."""
        code_of("hardware unit", "registry number", self.registry_number, DeviceError)
        where = f"hardware unit {self.registry_number}"
        for name in ("manufacturer", "model"):
            text_of(where, name, getattr(self, name), DeviceError, 64)
        code_of(where, "serial number", self.serial_number, DeviceError)
        if not _WORKER.fullmatch(self.worker):
            raise DeviceError(
                f"{where}: worker name {self.worker[:70]!r} must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' "
                f"and '-'"
            )
        if not 1 <= self.nominal_ghs <= _LARGEST_GHS:
            raise DeviceError(
                f"{where}: nominal hashrate of {self.nominal_ghs} GH/s must be 1 to {_LARGEST_GHS}"
            )
        if not 1 <= self.nominal_w <= _LARGEST_W:
            raise DeviceError(f"{where}: nominal power of {self.nominal_w} W must be 1 to {_LARGEST_W}")
        try:
            identify(self.owner_bin)
        except InvalidIdentity as error:
            raise DeviceError(f"{where}: owner: {error}") from error
        day_of(where, "included_on", self.included_on, DeviceError)
        if self.excluded_on is not None:
            day_of(where, "excluded_on", self.excluded_on, DeviceError)
        if self.excluded_on is not None and self.excluded_on < self.included_on:
            raise DeviceError(
                f"{where}: excluded on {self.excluded_on}, before it was included on {self.included_on}"
            )
        text_of(where, "place", self.place, DeviceError, 100, empty=True)
        text_of(where, "contract", self.contract, DeviceError, 100, empty=True)
