"""The register at the gate of the sessions: names as firmwares send them, and what a miner is told."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.gatekeeper import RegisterGatekeeper
from pool.sightings import Sightings
from register.catalogue import day_text, text
from register.gate import Gate, RefusalKind
from register.licence import Act, Licence
from register.miner import LANGUAGES, Language, Miner
from register.pool_data import Accreditation
from register.register import Register
from register.rules import Rules
from stratum.interfaces import Denied, Worker
from stratum.limits import AccountLimits
from stratum.workers import Workers
from tests.register_world import (
    FIRST,
    LAST,
    RULES,
    at,
    clerk_of,
    enter_unit,
    register_of,
    suspend,
    unknown_devices,
)

DAY = dt.date(2026, 9, 1)
NOON = at(DAY, 12)
NOTICE_DAYS = RULES.on("licence_warning", DAY).integer("miner_notice_days")


class Desk:
    """A gatekeeper over a register that a test changes."""

    def __init__(self, register: Register, rules: Rules = RULES) -> None:
        self.register = register
        self.gate = Gate(register, rules)
        self.refusals: Counter[str] = Counter()
        self.sightings = Sightings(register, rules)
        self.keeper = RegisterGatekeeper(self.gate, self.refusals, self.sightings, rules)

    def changed(self) -> None:
        self.keeper.changed([("licence", 0), ("accreditation", 0)])

    def told(self, username: str = "altai.s17", now_us: int = NOON) -> str:
        verdict = self.keeper.admit(username, now_us)
        assert isinstance(verdict, Denied), verdict
        return verdict.text

    def worker(self, username: str = "altai.s17", now_us: int = NOON) -> Worker:
        verdict = self.keeper.admit(username, now_us)
        assert isinstance(verdict, Worker), verdict
        return verdict

    def notices(self, username: str = "altai.s17", now_us: int = NOON) -> list[str]:
        return self.keeper.notices_for(username, now_us)


def test_i6_a_worker_carries_what_the_register_says_of_it() -> None:
    desk = Desk(register_of("saryarqa", "altai"))
    start, end = at(FIRST), at(LAST + dt.timedelta(days=1))
    worker = desk.worker("altai.S17")
    assert worker == Worker("altai.S17", 2, "s17", start, end, "altai", unit=desk.sightings.unit("altai-s17"))
    assert worker.unit is desk.worker("altai.ALTAI-S17").unit, "one unit, under whatever name"
    desk.changed()
    assert desk.worker().generation == desk.keeper.generation == 1
    assert not desk.refusals


# Names as they come


@pytest.mark.parametrize("sent", ["altai.rack7-12", "altai%2Erack7-12", "altai.rack7%2d12"])
def test_q43_a_name_with_characters_as_hex_codes_is_the_name(sent: str) -> None:
    desk = Desk(register_of("altai", units={"altai": ["rack7-12"]}))
    worker = desk.worker(sent)
    assert (worker.username, worker.miner_id, worker.name) == (sent, 1, "rack7-12")
    assert not desk.refusals


def test_a_percent_sign_that_codes_nothing_known_is_refused_once() -> None:
    desk = Desk(register_of("altai"))
    assert "not in the register" in desk.told("alt%61j.x")
    assert desk.refusals == {"unknown_account": 1}


def test_a_coded_name_of_a_known_account_is_told_what_concerns_it() -> None:
    desk = Desk(register_of("altai"))
    assert "altai" in desk.told("altai%2Erig99")
    assert desk.refusals == {"unknown_device": 1}


@pytest.mark.parametrize(("length", "cut"), [(63, True), (80, True), (127, True), (64, False), (30, False)])
def test_q43_a_name_that_the_firmware_may_have_cut_is_said_to_be_so(length: int, cut: bool) -> None:
    assert (f"cut the name at {length} characters" in Desk(register_of()).told("a" * length)) is cut


@given(st.text(max_size=130))
def test_i10_whatever_a_stranger_sends_he_is_told_in_one_short_plain_line(username: str) -> None:
    desk = Desk(register_of())
    told = desk.told(username)
    assert len(told) <= 200
    assert told.isprintable()
    assert not set(told) & {'"', "\\"}


# Who is known


def test_only_strangers_are_strangers() -> None:
    desk = Desk(register_of("altai"))
    suspend(desk.register, "altai", DAY, DAY.replace(month=11), at(DAY))
    desk.changed()
    for username, known, word in (
        ("nobody.s17", False, "unknown_account"),
        ("altai.s17", True, "licence_suspended"),
    ):
        verdict = desk.keeper.admit(username, NOON)
        assert isinstance(verdict, Denied)
        assert (verdict.known, verdict.misnamed, verdict.word) == (known, False, word), username
    assert desk.refusals == {"unknown_account": 1, "licence_suspended": 1}


def test_who_knows_an_account_and_makes_up_machines_is_told_apart() -> None:
    desk = Desk(register_of("altai"))
    clerk_of(desk.register, NOON).exclude_device("altai-s17", DAY)
    for username, known in (("altai.rig99", False), ("altai.s 17", False), ("altai.s17", True)):
        verdict = desk.keeper.admit(username, NOON)
        assert isinstance(verdict, Denied)
        assert (verdict.known, verdict.misnamed) == (known, not known), username


@pytest.mark.parametrize("sent", ["altai.rig/1", "altai.зал1", "altai%2Erig%2F1", "altai.rig%201"])
def test_a_bad_sign_in_the_name_of_a_known_accounts_machine_is_told_in_its_language(sent: str) -> None:
    desk = Desk(register_of("altai", languages={"altai": "kk"}))
    assert "64 таңбаға дейін" in desk.told(sent)
    assert desk.refusals == {"malformed": 1}
    assert desk.sightings.drain() == []


def test_looking_again_counts_nowhere() -> None:
    desk = Desk(register_of("altai"))
    for username in ("altai.rig99", "nobody", "altai.s17"):
        desk.keeper.look(username, NOON)
    assert not desk.refusals
    assert desk.sightings.drain() == []


# What is told


def register_in(kind: RefusalKind, language: Language) -> Register:
    """A register by which `altai.s17` is refused for this reason on DAY."""
    day = dt.timedelta(days=1)
    given = {"languages": {"altai": language}}
    match kind:
        case RefusalKind.NOT_ACCREDITED:
            return register_of("altai", accredited=(FIRST, DAY - day), **given)  # type: ignore[arg-type]
        case RefusalKind.NOT_YET:
            return register_of("altai", first=DAY + day, **given)  # type: ignore[arg-type]
        case RefusalKind.NO_LICENCE:
            register = Register()
            clerk_of(register).enter_miner(Miner(0, "altai", "Altai LLP", "940140000385", language))
            return register
        case RefusalKind.UNKNOWN_DEVICE:
            return register_of("altai", units={"altai": []}, **given)  # type: ignore[arg-type]
        case RefusalKind.ENDED:
            return register_of("altai", last=DAY - day, **given)  # type: ignore[arg-type]
    register = register_of("altai", **given)  # type: ignore[arg-type]
    clerk = clerk_of(register, at(DAY - 70 * day))
    match kind:
        case RefusalKind.SUSPENDED:
            suspend(register, "altai", DAY - day, DAY + 59 * day, at(DAY - day))
        case RefusalKind.AWAITING_RESUMPTION:
            suspend(register, "altai", DAY - 60 * day, DAY - day, at(DAY - 60 * day))
        case RefusalKind.REVOKED:
            clerk.act_on_licence("L-altai", Act("revoked", "C-1", DAY - day))
        case RefusalKind.NOT_REGISTERED:
            clerk.exclude_device("altai-s17", DAY - day)
    return register


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "kind", sorted(set(RefusalKind) - {RefusalKind.MALFORMED, RefusalKind.UNKNOWN_ACCOUNT})
)
def test_o03_o09_each_refusal_is_told_in_the_accounts_language(kind: RefusalKind, language: Language) -> None:
    desk = Desk(register_in(kind, language))
    told = desk.told()
    assert desk.refusals == {kind.value: 1}
    fixed = text(language, f"refusal.{kind.value}", **dict.fromkeys(
        ("account", "worker", "licence", "day", "until", "reason_code"), "|"
    )).split("|")  # fmt: skip
    assert all(part in told for part in fixed), told
    assert len(told) <= 200


def test_o09_a_suspension_is_told_with_its_reason_and_its_term() -> None:
    desk = Desk(register_in(RefusalKind.SUSPENDED, "ru"))
    told = desk.told()
    assert "L-altai" in told
    assert "основание 2" in told
    for day in (dt.date(2026, 8, 31), dt.date(2026, 10, 30)):
        assert day_text("ru", day) in told


def test_an_account_without_a_unit_behind_it_is_told_how_to_write_it() -> None:
    assert "altai.name" in Desk(register_of("altai")).told("altai")


def test_nothing_of_another_account_is_told() -> None:
    """A name that is another's unit is refused in the same words as one that is nobody's."""
    desk = Desk(register_of("altai", "saryarqa"))
    foreign = desk.told("altai.saryarqa-s17")
    assert foreign == desk.told("altai.saryarqa-s18").replace("s18", "s17")
    assert [one.sighting.kind.value for one in desk.sightings.drain()] == ["foreign", "unregistered"]


# Notices


@pytest.mark.parametrize(
    ("days_left", "told"), [(NOTICE_DAYS + 1, False), (NOTICE_DAYS - 1, True), (0, True)]
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_o04_an_account_is_told_of_the_end_of_its_licence(
    language: Language, days_left: int, told: bool
) -> None:
    desk = Desk(register_of("altai", languages={"altai": language}))
    notices = desk.notices(now_us=at(LAST - dt.timedelta(days=days_left)))
    wanted = text(language, "notice.licence_ends", licence="L-altai", day=LAST, account="altai")
    assert notices == ([wanted] if told else [])


def test_o04_a_licence_that_is_followed_by_another_ends_for_nobody() -> None:
    desk = Desk(register_of("altai"))
    follows = LAST + dt.timedelta(days=1)
    licence = Licence("L-2", 1, 1, LAST, follows, follows + dt.timedelta(days=700))
    clerk_of(desk.register).enter_licence(licence)
    desk.changed()
    assert desk.notices(now_us=at(LAST)) == []
    suspend_on = follows + dt.timedelta(days=5)
    act = Act("suspended", "S-2", suspend_on, 3, suspend_on + dt.timedelta(days=60))
    clerk_of(desk.register, at(LAST)).act_on_licence("L-2", act)
    desk.changed()
    (notice,) = desk.notices(now_us=at(LAST))
    assert notice.startswith(f"suspension of licence L-2 from {day_text('en', suspend_on)}")


def test_o09_a_suspension_to_come_is_told_before_it_begins() -> None:
    desk = Desk(register_of("altai", languages={"altai": "kk"}))
    begins, until = DAY + dt.timedelta(days=NOTICE_DAYS - 2), DAY + dt.timedelta(days=90)
    suspend(desk.register, "altai", begins, until, NOON)
    desk.changed()
    (notice,) = desk.notices()
    assert "лицензияның қолданысын тоқтата тұру" in notice
    assert day_text("kk", begins) in notice
    assert day_text("kk", until) in notice


@pytest.mark.parametrize(("mode", "credited"), [("monitor", True), ("quarantine", False)])
def test_o07_who_is_let_in_without_being_a_unit_is_told_so(mode: str, credited: bool) -> None:
    desk = Desk(register_of("altai"), unknown_devices(mode))
    worker = desk.worker("altai.rig99")
    assert worker.credited is credited
    assert worker.unit is None
    (notice,) = desk.notices("altai.rig99")
    assert notice.startswith("rig99 is no hardware-software complex of account altai")
    assert ("not credited" in notice) is not credited
    assert desk.notices() == []


def test_o07_a_unit_that_is_to_come_is_let_in_when_its_day_comes() -> None:
    desk = Desk(register_of("altai"), unknown_devices("quarantine"))
    tomorrow = DAY + dt.timedelta(days=1)
    enter_unit(clerk_of(desk.register, NOON), "altai", "new", included_on=tomorrow)
    before = desk.worker("altai.new")
    assert (before.credited, before.valid_until_us) == (False, at(tomorrow))
    assert desk.worker("altai.new", at(tomorrow)).credited


def test_o21_without_an_accreditation_in_force_nobody_works() -> None:
    desk = Desk(register_of("altai"))
    desk.worker()
    clerk_of(desk.register).put_accreditation(Accreditation("A-1", FIRST, DAY - dt.timedelta(days=1)))
    desk.changed()
    assert "accreditation" in desk.told()


@pytest.mark.parametrize("mode", ["monitor", "quarantine"])
def test_o07_a_unit_that_leaves_the_register_while_it_works_is_told_and_seen_each_day(mode: str) -> None:
    desk = Desk(register_of("altai"), unknown_devices(mode))
    workers = Workers(desk.keeper, AccountLimits(10, 10.0, 10))
    worker = workers.authorise("altai.s17", NOON / 1e6, 0.0)
    assert isinstance(worker, Worker)
    tomorrow = DAY + dt.timedelta(days=1)
    clerk_of(desk.register, NOON, unknown_devices(mode)).exclude_device("altai-s17", tomorrow)
    desk.changed()
    for hour in range(49):
        assert workers.refusal(worker, NOON + hour * 3_600_000_000) is None
        assert workers.lost_unit is (hour >= 12)
    assert [(one.sighting.worker, one.sighting.day, one.count) for one in desk.sightings.drain()] == [
        ("s17", tomorrow, 1),
        ("s17", tomorrow + dt.timedelta(days=1), 1),
    ]
    assert worker.credited is (mode == "monitor")
    (notice,) = workers.notices(NOON + 48 * 3_600_000_000)
    assert notice.startswith("s17 is no hardware-software complex of account altai")
