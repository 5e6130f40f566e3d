"""A register in a few lines, entered by the clerk as people enter it: for every test that needs one.

`register_of("altai", "saryarqa", units={"altai": ["s17"]})` has these accounts with ids 1, 2 and on, each
with a licence of subtype I (`L-altai`), a data centre of its own (`altai-dc`) and hardware units. What a test
changes later it does with `clerk_of(register, now_us)` and the methods of `Clerk`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

from register.centre import Centre
from register.clerk import Clerk, Terms
from register.device import Device
from register.identity import check_digit
from register.licence import Act, Licence
from register.miner import Language, Miner
from register.person import Actor, Role
from register.pool_data import Accreditation
from register.register import Register
from register.rules import Rules, load_rules, parse_rules

RULES_FILE = Path(__file__).parents[1] / "configs" / "rules.toml"
RULES = load_rules(RULES_FILE)
FIRST, LAST = dt.date(2026, 1, 1), dt.date(2028, 12, 31)
"""The term of a licence, unless told otherwise."""
ENTERED_US = RULES.day_bounds(FIRST)[0]
TESTER = Actor("tester", Role.COMPLIANCE)
UNITS = ("s17",)


def register_of(
    *accounts: str,
    rules: Rules = RULES,
    units: Mapping[str, Sequence[str]] | None = None,
    first: dt.date = FIRST,
    last: dt.date = LAST,
    languages: Mapping[str, Language] | None = None,
    accredited: tuple[dt.date, dt.date | None] | None = None,
) -> Register:
    """See above; `units` and `languages` by account, `accredited` the pool's first and last day."""
    register = Register()
    clerk = clerk_of(register, rules.day_bounds(first)[0], rules)
    if accredited is not None:
        clerk.put_accreditation(Accreditation("A-1", accredited[0], accredited[1]))
    for name in accounts:
        enter_account(
            clerk,
            name,
            (units or {}).get(name, UNITS),
            first=first,
            last=last,
            language=(languages or {}).get(name, "en"),
        )
    return register


def clerk_of(register: Register, now_us: int = ENTERED_US, rules: Rules = RULES) -> Clerk:
    """Who changes a register at an instant; the changes are in it at once."""
    return Clerk(register, Terms(rules, "regtest"), TESTER, "for a test", now_us)


def enter_account(
    clerk: Clerk,
    name: str,
    units: Sequence[str] = UNITS,
    *,
    first: dt.date = FIRST,
    last: dt.date = LAST,
    language: Language = "en",
) -> Miner:
    """A miner with centre, licence and hardware units."""
    number = bin_number(len(clerk.register.miners) + 1)
    miner = clerk.enter_miner(Miner(0, name, f"{name} LLP", number, language))
    clerk.enter_centre(
        Centre(f"{name}-dc", f"{name}, hall 1", "Ekibastuz", number, f"{name} LLP", "ownership", "deed 1")
    )
    clerk.enter_licence(Licence(f"L-{name}", miner.id, 1, first, first, last))
    for worker in units:
        enter_unit(clerk, name, worker, included_on=first)
    return miner


def enter_unit(
    clerk: Clerk,
    account: str,
    worker: str,
    *,
    included_on: dt.date = FIRST,
    excluded_on: dt.date | None = None,
    nominal_ghs: int = 56_000,
) -> Device:
    """A hardware unit `account-worker` of an account, in the account's own centre."""
    miner = clerk.register.miner(account)
    device = Device(
        registry_number=f"{account}-{worker}",
        manufacturer="Bitmain",
        model="S17",
        serial_number=f"{account}-{worker}",
        worker=worker,
        nominal_ghs=nominal_ghs,
        nominal_w=2520,
        owner_bin=miner.bin,
        miner_id=miner.id,
        centre=f"{account}-dc",
        included_on=included_on,
        excluded_on=excluded_on,
    )
    clerk.enter_device(device)
    return device


def suspend(register: Register, account: str, on: dt.date, until: dt.date, now_us: int) -> None:
    """Suspend the licence `L-account`, entered at an instant."""
    act = Act("suspended", "S-1", on, reason_code=2, until=until)
    clerk_of(register, now_us).act_on_licence(f"L-{account}", act)


def rules_with(*replaced: tuple[str, str]) -> Rules:
    """The shipped rules with some words of the file replaced."""
    text = RULES_FILE.read_text("utf-8")
    for old, new in replaced:
        assert old in text, old
        text = text.replace(old, new)
    return parse_rules(text)


def unknown_devices(mode: str) -> Rules:
    """The shipped rules, but for what becomes of workers that are no hardware units."""
    return rules_with(('mode = "strict"', f'mode = "{mode}"'))


def bin_number(number: int) -> str:
    """The `number`th of the made-up BINs of legal entities that have a check digit."""
    found = 0
    for serial in range(100_000):
        first_eleven = f"240140{serial:05}"
        digit = check_digit(first_eleven)
        found += digit is not None
        if found == number:
            return f"{first_eleven}{digit}"
    raise ValueError(f"there is no {number}th number")


def at(day: dt.date, hour: int = 0) -> int:
    """An instant of a day in Kazakhstan, in unix microseconds."""
    return RULES.day_bounds(day)[0] + hour * 3_600_000_000
