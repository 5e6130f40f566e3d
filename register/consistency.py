"""What a new version of a record must agree with in the register: what one record alone cannot tell.

Licences of a miner do not overlap in time (a device's work counts under one). A miner of subtype I has a data
centre of its own (O-05); the hardware of a miner of subtype II is its own, in another subject's centre, by a
contract (O-06). A worker name and a make with serial number are one hardware unit's on any day (O-07).

The checks hold when something is entered. What changes around it later (a centre is sold) is told by
`register.digest`, not refused: the register says what is so.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from register.device import Device, DeviceError
from register.licence import Licence, LicenceError
from register.miner import Miner, MinerError
from register.register import Register
from register.rules import Rules


def miner_of(register: Register, miner_id: int, where: str) -> Miner:
    """The miner of a record; raises MinerError."""
    miner = register.miners.get(miner_id)
    if miner is None:
        raise MinerError(f"{where}: there is no miner with id {miner_id}; enter the miner first")
    return miner


def check_licence(register: Register, licence: Licence) -> None:
    """Raises an error when a miner cannot have this licence beside what else the register says."""
    where = f"licence {licence.number}"
    miner = miner_of(register, licence.miner_id, where)
    for other in register.licences_of(miner.id):
        first, last = max(licence.valid_from, other.valid_from), min(licence.last_day, other.last_day)
        if other.number != licence.number and first <= last:
            raise LicenceError(
                f"{where}: overlaps licence {other.number} of the same miner from {first} to {last}; "
                f"end one of them first"
            )
    if licence.subtype == 1:
        if not has_own_centre(register, miner):
            raise LicenceError(
                f"{where}: subtype I needs a data centre of the miner's own (O-05); enter one whose holder "
                f"is {miner.bin} first"
            )
        return
    for device in register.devices_of(miner.id):
        if device.excluded_on is None or device.excluded_on > licence.valid_from:
            _check_hosting(register, device, miner, f"{where}: ")


def check_device(register: Register, rules: Rules, device: Device, today: dt.date) -> None:
    """Raises an error when this hardware unit cannot stand beside what else the register says."""
    where = f"hardware unit {device.registry_number}"
    miner = miner_of(register, device.miner_id, where)
    if device.centre not in register.centres:
        raise DeviceError(f"{where}: data centre {device.centre[:70]!r} is unknown; enter it first (O-01)")
    begins = rules.day_bounds(max(today, device.included_on))[0]
    licence = register.standing(miner, begins, rules).licence
    if licence is not None and licence.subtype == 2:
        _check_hosting(register, device, miner)
    check_alone(register, device)


def check_alone(register: Register, device: Device) -> None:
    """Raises DeviceError when another unit has its make and serial number, or a name of it, on some day."""
    where = f"hardware unit {device.registry_number}"
    for twin in register.twins(device):
        if twin.overlaps(device):
            raise DeviceError(
                f"{where}: {device.manufacturer} {device.serial_number} stands under registry number "
                f"{twin.registry_number} already; exclude that one first"
            )
    for name in device.names:
        for other in register.units_named(device.miner_id, name):
            if other.registry_number != device.registry_number and other.overlaps(device):
                raise DeviceError(
                    f"{where}: the name {name} is that of hardware unit {other.registry_number} of the "
                    f"same miner; choose another worker name"
                )


def has_own_centre(register: Register, miner: Miner) -> bool:
    """Whether a miner has a data centre (O-05)."""
    return any(centre.holder_bin == miner.bin for centre in register.centres.values())


def not_hosted(register: Register, device: Device, miner: Miner) -> Iterator[str]:
    """What is wrong with a hardware unit of a miner of subtype II (O-06); nothing when all is right."""
    if device.owner_bin != miner.bin:
        yield f"must be its own ({miner.bin}), not of {device.owner_bin}"
    centre = register.centres.get(device.centre)
    if centre is None or centre.holder_bin == miner.bin:
        yield f"must stand in another subject's data centre, not in {device.centre}"
    if not device.contract:
        yield "needs the number of its hosting contract"


def _check_hosting(register: Register, device: Device, miner: Miner, where: str = "") -> None:
    for wrong in not_hosted(register, device, miner):
        raise DeviceError(
            f"{where}hardware unit {device.registry_number} of a miner of subtype II {wrong} (O-06)"
        )
