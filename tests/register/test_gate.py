"""I6: no licence, no work; and the whole chain of O-01, O-03 and O-07 behind each share."""

import datetime as dt
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.clerk import Clerk
from register.device import Device
from register.event import Event, verify
from register.gate import Admission, Gate, Refusal, RefusalKind
from register.licence import FOREVER_US, Act, Licence
from register.pool_data import Accreditation
from register.records import decode
from register.register import Register
from register.rules import Rules, parse_rules
from tests.register.test_licence import naive_status
from tests.register_world import (
    FIRST,
    LAST,
    RULES,
    RULES_FILE,
    at,
    clerk_of,
    enter_unit,
    register_of,
    suspend,
    unknown_devices,
)

DAY = dt.timedelta(days=1)
START, END = at(FIRST), RULES.day_bounds(LAST)[1]
NOON = at(dt.date(2026, 6, 1), 12)


def ask(register: Register, username: str, at_us: int = NOON, rules: Rules = RULES) -> Admission | Refusal:
    return Gate(register, rules).admit(username, at_us)


def test_o07_a_unit_of_a_licensed_account_is_admitted_by_any_of_its_names() -> None:
    register = register_of("altai", languages={"altai": "kk"})
    licence = register.licence("L-altai")
    expected = Admission(1, "altai", "s17", START, END, licence, "kk", "altai-s17", 56_000, credited=True)
    for username in ("altai.s17", "altai.S17", "altai.altai-s17", "altai.ALTAI-S17"):
        assert ask(register, username) == expected


@pytest.mark.parametrize(
    ("username", "at_us", "kind"),
    [
        ("altai.s17", START - 1, RefusalKind.NOT_YET),
        ("altai.s17", END, RefusalKind.ENDED),
        ("altai.s18", NOON, RefusalKind.UNKNOWN_DEVICE),
        ("altai", NOON, RefusalKind.UNKNOWN_DEVICE),
        ("altai.", NOON, RefusalKind.UNKNOWN_DEVICE),
        ("altai.old", NOON, RefusalKind.NOT_REGISTERED),
        ("Altai.s17", NOON, RefusalKind.UNKNOWN_ACCOUNT),
        ("", NOON, RefusalKind.UNKNOWN_ACCOUNT),
        ("altai.a b", NOON, RefusalKind.MALFORMED),
        ("altai.s17\n", NOON, RefusalKind.MALFORMED),
        ("altai." + "w" * 65, NOON, RefusalKind.MALFORMED),
        ("saryarqa.s17", NOON, RefusalKind.NO_LICENCE),
    ],
)
def test_i6_everything_else_is_refused(username: str, at_us: int, kind: RefusalKind) -> None:
    register = register_of("altai", "saryarqa")
    enter_unit(clerk_of(register), "altai", "old", excluded_on=dt.date(2026, 6, 1))
    register.licences.clear()
    register._licences_of[2].clear()
    answer = ask(register, username, at_us)
    assert isinstance(answer, Refusal)
    assert answer.kind is kind


def test_a_bad_sign_behind_a_known_account_is_that_accounts() -> None:
    register = register_of("altai", languages={"altai": "kk"})
    refused = Refusal(RefusalKind.MALFORMED, "altai", "rig/1", language="kk", miner_id=1)
    assert ask(register, "altai.rig/1") == refused
    assert ask(register, "nobody.rig/1") == Refusal(RefusalKind.UNKNOWN_ACCOUNT, "nobody")


def test_i6_the_licence_holds_to_its_last_microsecond_and_no_longer() -> None:
    register = register_of("altai")
    assert isinstance(ask(register, "altai.s17", START), Admission)
    assert isinstance(ask(register, "altai.s17", END - 1), Admission)


def test_o09_a_suspension_is_told_with_reason_and_term_and_ends_the_admission_before() -> None:
    register = register_of("altai")
    suspend(register, "altai", dt.date(2026, 7, 1), dt.date(2026, 8, 15), NOON)
    before = ask(register, "altai.s17")
    assert isinstance(before, Admission)
    assert before.valid_until_us == at(dt.date(2026, 7, 1))
    during = ask(register, "altai.s17", before.valid_until_us)
    assert during == Refusal(
        RefusalKind.SUSPENDED,
        "altai",
        "s17",
        "L-altai",
        dt.date(2026, 7, 1),
        dt.date(2026, 8, 15),
        2,
        miner_id=1,
    )
    after = ask(register, "altai.s17", at(dt.date(2026, 8, 16)))
    assert isinstance(after, Refusal)
    assert (after.kind, after.until) == (RefusalKind.AWAITING_RESUMPTION, dt.date(2026, 8, 15))


def test_o21_work_counts_only_while_the_pool_is_accredited() -> None:
    register = register_of("altai", accredited=(dt.date(2026, 3, 1), dt.date(2026, 9, 30)))
    answer = ask(register, "altai.s17")
    assert isinstance(answer, Admission)
    assert (answer.valid_from_us, answer.valid_until_us) == (
        at(dt.date(2026, 3, 1)),
        at(dt.date(2026, 10, 1)),
    )
    for outside in (at(dt.date(2026, 3, 1)) - 1, at(dt.date(2026, 10, 1))):
        refused = ask(register, "altai.s17", outside)
        assert isinstance(refused, Refusal)
        assert refused.kind is RefusalKind.NOT_ACCREDITED


@pytest.mark.parametrize(("mode", "credited"), [("quarantine", False), ("monitor", True)])
def test_o07_a_stranger_is_let_in_where_the_rule_says_so(mode: str, credited: bool) -> None:
    rules = unknown_devices(mode)
    register = register_of("altai")
    enter_unit(clerk_of(register), "altai", "new", included_on=dt.date(2026, 6, 2))
    stranger = ask(register, "altai.s99", rules=rules)
    assert isinstance(stranger, Admission)
    assert (stranger.device, stranger.nominal_ghs, stranger.worker) == (None, 0, "s99")
    assert (stranger.credited, stranger.valid_until_us) == (credited, END)
    # A unit that is registered from tomorrow on is a stranger today, and asked for again then.
    early = ask(register, "altai.new", rules=rules)
    assert isinstance(early, Admission)
    assert (early.device, early.credited, early.valid_until_us) == (None, credited, at(dt.date(2026, 6, 2)))
    later = ask(register, "altai.new", early.valid_until_us, rules)
    assert isinstance(later, Admission)
    assert (later.device, later.credited) == ("altai-new", True)


def test_o04_a_following_licence_takes_over_at_midnight() -> None:
    register = register_of("altai", last=dt.date(2026, 6, 30))
    follows = Licence("L-2", 1, 1, dt.date(2026, 6, 1), dt.date(2026, 7, 1), dt.date(2029, 6, 1))
    gate = Gate(register, RULES)
    first = gate.admit("altai.s17", NOON)
    assert isinstance(first, Admission)
    clerk_of(register, NOON).enter_licence(follows)
    gate.forget("licence", 1)
    second = gate.admit("altai.s17", first.valid_until_us)
    assert isinstance(second, Admission)
    assert (first.licence.number, second.licence.number) == ("L-altai", "L-2")
    assert second.valid_from_us == first.valid_until_us


def test_what_was_derived_is_forgotten_when_told() -> None:
    register = register_of("altai", accredited=(FIRST, None))
    gate = Gate(register, RULES)
    assert isinstance(gate.admit("altai.s17", NOON), Admission)
    suspend(register, "altai", dt.date(2026, 6, 1), dt.date(2026, 8, 1), NOON - 1)
    gate.forget("licence", 1)
    assert isinstance(gate.admit("altai.s17", NOON), Refusal)
    gate.forget("licence")
    assert isinstance(gate.admit("altai.s17", NOON), Refusal)
    clerk_of(register, NOON).put_accreditation(Accreditation("A-1", FIRST, dt.date(2026, 5, 31)))
    gate.forget("accreditation")
    answer = gate.admit("altai.s17", NOON)
    assert isinstance(answer, Refusal)
    assert answer.kind is RefusalKind.NOT_ACCREDITED


@given(st.text(max_size=300))
def test_strangers_are_refused_and_the_answer_stays_short(username: str) -> None:
    answer = Gate(ALTAI, RULES).admit(username, NOON)
    assert isinstance(answer, Refusal)
    assert len(answer.account) + len(answer.worker) <= 104


ALTAI = register_of("altai")


# Against an oracle that works everything out from the records, by the calendar, each time anew


class Verdict(NamedTuple):
    """What matters of an answer."""

    kind: str
    device: str | None = None
    licence: str = ""
    credited: bool = False


def naive_verdict(register: Register, rules: Rules, username: str, at_us: int) -> Verdict:
    day = rules.day_of(at_us)
    account, _, worker = username.partition(".")
    miners = [one for one in register.miners.values() if one.name == account]
    if not miners:
        return Verdict("unknown_account")
    if re.fullmatch(r"[A-Za-z0-9._-]{0,64}", worker) is None:
        return Verdict("malformed")
    held = register.accreditations.values()
    if held and not any(
        one.issued_on <= day and (one.valid_to is None or day <= one.valid_to) for one in held
    ):
        return Verdict("pool_not_accredited")
    licences = [one for one in register.licences.values() if one.miner_id == miners[0].id]
    stands = {one.number: naive_status(one, at_us, rules).value for one in licences}
    covering = [number for number, status in stands.items() if status in ("in_force", "resumed")]
    if not covering:
        begun = sorted((one.valid_from, one.number) for one in licences if stands[one.number] != "not_yet")
        if not licences:
            return Verdict("no_licence")
        number = begun[-1][1] if begun else min((one.valid_from, one.number) for one in licences)[1]
        return Verdict(f"licence_{stands[number]}", licence=number)
    units = [
        one
        for one in register.devices.values()
        if one.miner_id == miners[0].id
        and worker.lower() in (one.worker.lower(), one.registry_number.lower())
    ]
    for unit in units:
        if unit.included_on <= day and (unit.excluded_on is None or day < unit.excluded_on):
            return Verdict("admitted", unit.registry_number, covering[0], True)
    mode = rules.on("unknown_device", day).text("mode")
    if mode == "strict":
        return Verdict("device_not_registered" if units else "unknown_device")
    return Verdict("admitted", None, covering[0], mode == "monitor")


def verdict_of(answer: Admission | Refusal) -> Verdict:
    if isinstance(answer, Refusal):
        return Verdict(answer.kind.value, licence=answer.licence)
    return Verdict("admitted", answer.device, answer.licence.number, answer.credited)


ROW = '\n[[unknown_device]]\neffective_from = {}\nmode = "{}"\nsource = "test"\nconfidence = "assumed"\n'
TURNS = (("2026-05-01", "quarantine"), ("2026-07-01", "strict"), ("2026-09-01", "monitor"))
TURNING = parse_rules(RULES_FILE.read_text("utf-8") + "".join(ROW.format(*turn) for turn in TURNS))
ACCOUNTS = ("altai", "saryarqa")
WORKERS = ("w1", "w2", "W3")
STEP = st.tuples(
    st.sampled_from(["enter", "change", "exclude", "act", "licence", "accredit"]),
    st.integers(0, 24 * 40),  # hours that pass before
    st.sampled_from((1, 2)),
    st.integers(0, 5),
    st.integers(-30, 60),
    st.integers(0, 120),
)
STEPS = st.lists(STEP, max_size=14)


def live(steps: list[tuple[Any, ...]], rules: Rules) -> tuple[Register, list[Event], int]:
    """A register after some months of a clerk who errs now and then; with its events, and the time then."""
    register = register_of(*ACCOUNTS, rules=rules, first=FIRST, last=dt.date(2026, 9, 30))
    events: list[Event] = []
    now_us = at(FIRST)
    for number, (what, hours, miner_id, pick, offset, length) in enumerate(steps):
        now_us += hours * 3_600_000_000
        clerk = clerk_of(register, now_us, rules)
        on = rules.day_of(now_us) + offset * DAY
        with suppress(ValueError):
            act(clerk, str(what), number, miner_id, pick, on, length)
        events += clerk.events
    return register, events, now_us


def act(clerk: Clerk, what: str, number: int, miner_id: int, pick: int, on: dt.date, length: int) -> None:
    register = clerk.register
    account = register.miners[miner_id].name
    devices = list(register.devices.values())
    device = devices[pick % len(devices)]
    licences = list(register.licences.values())
    until = on + length * DAY
    match what:
        case "enter":
            new = msgspec.structs.replace(
                device,
                registry_number=f"R-{number}",
                serial_number=f"R-{number}",
                worker=WORKERS[pick % 3],
                miner_id=miner_id,
                centre=f"{account}-dc",
                included_on=on,
                excluded_on=until if length > 60 else None,
            )
            clerk.enter_device(new)
        case "change":
            clerk.change_device(
                msgspec.structs.replace(device, miner_id=miner_id, worker=WORKERS[pick % 3], excluded_on=None)
            )
        case "exclude":
            clerk.exclude_device(device.registry_number, until)
        case "act":
            kinds = ("suspended", "suspended", "resumed", "resumed", "ended", "revoked")
            kind: Any = kinds[pick]
            suspension = {"reason_code": 1, "until": on + (30 + length) * DAY} if pick < 2 else {}
            clerk.act_on_licence(licences[length % len(licences)].number, Act(kind, "N", on, **suspension))
        case "licence":
            clerk.enter_licence(Licence(f"N-{number}", miner_id, 1, on, on, until))
        case _:
            clerk.put_accreditation(Accreditation(f"A-{pick}", on - 90 * DAY, until if length > 30 else None))


def instants(register: Register, now_us: int, hours: list[int]) -> Iterator[int]:
    """From now on: some at random, and both sides of each midnight of a record."""
    days = {one for unit in register.devices.values() for one in (unit.included_on, unit.excluded_on) if one}
    for licence in register.licences.values():
        days |= {licence.valid_from, licence.valid_to + DAY, *(act.on for act in licence.acts)}
        days |= {act.until + DAY for act in licence.acts if act.until}
    for midnight in (at(day) for day in days):
        yield from (one for one in (midnight - 1, midnight) if one >= now_us)
    yield from (now_us + hour * 3_600_000_000 for hour in hours)


@given(STEPS, st.lists(st.integers(0, 24 * 400), max_size=6))
def test_i6_the_gate_says_what_the_records_say(steps: list[tuple[Any, ...]], hours: list[int]) -> None:
    """O-01, O-03, O-07, O-21; and an admission holds as long as it says, and no longer unasked."""
    register, _, now_us = live(steps, TURNING)
    gate = Gate(register, TURNING)
    usernames = [f"{account}.{worker}" for account in ACCOUNTS for worker in ("w1", "w3", "s17", "R-1", "")]
    for at_us in sorted(set(instants(register, now_us, hours))):
        for username in usernames:
            answer = gate.admit(username, at_us)
            expected = naive_verdict(register, TURNING, username, at_us)
            assert verdict_of(answer) == expected
            if isinstance(answer, Admission):
                assert answer.valid_from_us <= at_us < answer.valid_until_us
                for edge in (answer.valid_from_us, min(answer.valid_until_us, FOREVER_US // 2) - 1):
                    if edge >= now_us:
                        assert naive_verdict(register, TURNING, username, edge) == expected


@given(STEPS)
def test_a_register_kept_up_to_date_is_the_one_read_anew(steps: list[tuple[Any, ...]]) -> None:
    """I8, O-12: the log is the register; what a follower holds is what a newcomer reads."""
    register, events, _ = live(steps, RULES)
    first = register_of(*ACCOUNTS, rules=RULES, first=FIRST, last=dt.date(2026, 9, 30))
    start = (first.seq, first.sha256, first.at_us)
    for event in events:
        first.apply(event)
    assert verify(events, start)[:2] == (register.seq, register.sha256)
    newest = {("miner", str(one.id)): one for one in register.miners.values()} | {
        (event.kind, event.key): decode(event.kind, event.body) for event in events
    }
    fresh = Register()
    kept = register_of(*ACCOUNTS, rules=RULES, first=FIRST, last=dt.date(2026, 9, 30))
    for kind, records in (("device", kept.devices), ("licence", kept.licences), ("centre", kept.centres)):
        for key, record in records.items():
            newest.setdefault((kind, key), record)
    for (kind, key), record in sorted(newest.items()):
        fresh.put(kind, key, record)
    for one in (first, fresh):
        assert indexes(one) == indexes(register)


def indexes(register: Register) -> dict[str, Any]:
    """All that a register holds, without the order of what has none."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if one != {}}
        if isinstance(value, tuple):
            return sorted(value, key=lambda one: one.registry_number if isinstance(one, Device) else one)
        return value

    return {
        name: plain(value) for name, value in vars(register).items() if name not in ("seq", "sha256", "at_us")
    }
