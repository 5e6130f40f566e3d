"""Days that no calendar with dated rules can place are refused where they are entered: no gate meets them."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from register.device import DeviceError
from register.licence import Licence, LicenceError
from register.pool_data import Accreditation, PoolDataError, TestProtocol
from tests.register_world import RULES, clerk_of, register_of

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
    assert register.devices[number].excluded_on == clerk_of(register).today
