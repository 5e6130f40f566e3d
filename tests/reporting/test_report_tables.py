"""The tables that PDF and page show: whole, in three languages, with the numbers of what was signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payouts.block_state import State
from register.catalogue import messages
from register.form_columns import FIELDS
from register.gate import RefusalKind
from register.licence import Status
from register.miner import LANGUAGES, Language
from register.pool_data import SITE_ROLES
from reporting.daily import DayFacts, build
from reporting.daily_compliance import SEEN, SHARES_REFUSED
from reporting.daily_first import in_first_schema
from reporting.report_tables import Document, Kind, Section, daily_tables, income_tables
from reporting.report_tables_words import NOTHING, Words, satoshis, unit_for
from reporting.standing import NO_LICENCE
from stratum.messages import Reason
from tests.reporting.form_world import FORM_2, form_of, paid
from tests.reporting.test_income import HEADINGS_1, HEADINGS_2

AMOUNTS = st.integers(-(2**63), 2**63)


def section(document: Document, id_: str) -> Section:
    return next(one for one in document.sections if one.id == id_)


def column(found: Section, heading: str) -> list[str]:
    place = found.headers.index(heading)
    return [row[place] for row in found.rows]


def number(text: str, language: Language) -> Decimal:
    """What a reader of the language takes a number for."""
    point, group = (".", ",") if language == "en" else (",", "\N{NO-BREAK SPACE}")
    return Decimal(text.replace(group, "").replace(point, "."))


@pytest.fixture
def report(facts: DayFacts) -> dict[str, Any]:
    return build(facts)


# Whole


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_is_whole(report: dict[str, Any], language: Language) -> None:
    forms = [form_of(paid(1), paid(2, 2, on=25), form=name) for name in (FORM_2, "order-166-2023")]
    documents = [
        daily_tables(report, language),
        daily_tables(in_first_schema(report), language),
        *(income_tables(form, language) for form in forms),
    ]
    for document in documents:
        assert document.language == language
        assert len({one.id for one in document.sections}) == len(document.sections)
        for one in document.sections:
            assert one.title
            assert all(len(row) == len(one.columns) for row in one.rows), one.id
            assert len(one.total) in (0, len(one.columns)), one.id
            assert all(cell for row in one.rows for cell in row), f"{one.id} has a cell that says nothing"
            assert one.rows or one.empty, one.id
            assert one.facts or one.empty, one.id
            assert not one.facts or len(one.columns) == 2


def test_every_part_of_a_report_is_shown(report: dict[str, Any]) -> None:
    """A part that is added to the schema must be put somewhere, or be named here."""
    shown = {one.id for one in daily_tables(report, "en").sections}
    assert shown == {
        *("report", "pool", "sites", "totals", "refused", "miners", "work", "balances", "blocks", "parts"),
        *("distributions", "apart", "sale", "confirmations", "compliance", "rules", "commission", "journal"),
        *("corrections", "commitments", "hours"),
    }
    first = {one.id for one in daily_tables(in_first_schema(report), "en").sections}
    assert shown - first == {
        *("sites", "distributions", "apart", "sale", "confirmations", "compliance", "commitments", "hours"),
    }
    assert set(report) - {"commission", "journal", "commitments", "totals", "miners", "blocks"} == {
        *("schema", "report_id", "report_date", "timezone", "day_start", "day_end", "day_complete"),
        *("elapsed_seconds", "generated_at", "software_version", "software_digest", "sequence"),
        *("previous_report_sha256", "version", "replaces_sha256", "correction_reason", "pool", "addressees"),
        *("form_versions", "rules_in_force", "register", "distributions", "bookings_apart"),
        *("mandatory_sale", "compliance"),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sums_of_the_columns_are_the_last_line(report: dict[str, Any], language: Language) -> None:
    document = daily_tables(report, language)
    form = income_tables(form_of(paid(1), paid(2, 2, on=25), paid(3)), language)
    sections = [section(document, one) for one in ("refused", "work", "balances", "distributions")]
    for one in (*sections, section(form, "rows"), section(form, "by_miner")):
        summed = 0
        for place, total in enumerate(one.total):
            if one.columns[place].kind is Kind.NUMBER and total:
                cells = [number(row[place], language) for row in one.rows]
                if "TH/s" in one.columns[place].heading:
                    assert abs(sum(cells) - number(total, language)) < len(cells)  # each is cut down
                else:
                    assert sum(cells) == number(total, language), (one.id, one.headers[place])
                summed += 1
        assert summed, one.id


def test_numbers_are_those_that_were_signed(report: dict[str, Any]) -> None:
    document = daily_tables(report, "kk")
    work = section(document, "work")
    assert column(work, "Жұмыс, хеш")[0].replace("\N{NO-BREAK SPACE}", "") == str(2**70 + 1)
    assert column(work, "Орташа хешрейт, TH/s")[0] == "13\N{NO-BREAK SPACE}664,254"
    paid_out = column(section(document, "balances"), "Төленді")
    assert [number(one, "kk") * 10**8 for one in paid_out] == [row["paid_sat"] for row in report["miners"]]
    shown = [number(one, "kk") * 10**8 for one in column(section(document, "parts"), "Майнердің үлесі")]
    assert shown == [part["amount_sat"] for block in report["blocks"] for part in block["miners"]]


def test_what_a_day_of_trouble_says(report: dict[str, Any]) -> None:
    """A miner without a licence, a standing that turned, a worker under no unit, an unfinished day."""
    miner, other = report["miners"][:2]
    miner["licence"] = None
    standing = other["licence"]["standing"][0]
    other["licence"]["standing"] = [
        {**standing, "until": "2026-11-20T09:30:00+05:00"},
        {**standing, "status": "suspended", "from": "2026-11-20T09:30:00+05:00", "licence": "KZ-9"},
    ]
    report["day_complete"] = False
    report["blocks"][0]["finder_miner_id"] = None
    report["blocks"][1]["finder_miner_id"] = 77
    report["compliance"][2]["reason"] = "a_word_of_tomorrow"
    document = daily_tables(report, "ru")
    assert "не окончательны" in document.notice
    assert column(section(document, "miners"), "Состояние лицензии в этот день")[:2] == [
        "лицензии нет",
        "00:00:00 действует; 09:30:00 действие приостановлено (KZ-9)",
    ]
    assert column(section(document, "miners"), "Лицензия, подвид, срок")[0] == NOTHING
    assert column(section(document, "blocks"), "Кем найден")[:2] == [NOTHING, "№ 77"]
    assert "a word of tomorrow" in column(section(document, "compliance"), "Подробности")[2]


def test_i3_a_correction_of_the_books_stands_with_its_reason(report: dict[str, Any]) -> None:
    found = section(daily_tables(report, "en"), "corrections")
    assert found.rows == (
        ("promised on the phone", "miner:3:payable", "0.00000000", "0.00000003"),
        ("promised on the phone", "pool:correction", "0.00000003", "0.00000000"),
    )


def test_a_correction_names_what_it_replaces(facts: DayFacts) -> None:
    edition = replace(
        facts.edition, sequence=8, previous_sha256="ab" * 32, version=2, replaces_sha256="cd" * 32
    )
    document = daily_tables(build(replace(facts, edition=replace(edition, correction_reason="late"))), "en")
    told = dict(section(document, "report").rows)
    assert told["Instead of the version with SHA-256"] == "cd" * 32
    assert told["Reason of the correction"] == "late"
    assert document.subtitle[-1] == "November 20, 2026, version 2"


# The form


def test_o41_the_headings_of_the_form_are_verbatim_in_every_language() -> None:
    for headings, form in ((HEADINGS_1, "order-166-2023"), (HEADINGS_2, FORM_2)):
        for language in LANGUAGES:
            found = section(income_tables(form_of(paid(1), form=form), language), "rows")
            told = {one.number: one.original or one.heading for one in found.columns}
            told |= {
                one.number.partition(".")[0]: one.group_original or one.group
                for one in found.columns
                if one.group
            }
            assert told == headings
            translated = [one for one in found.columns if one.original]
            assert len(translated) == (0 if language == "ru" else len(found.columns))
            assert all(one.heading != one.original for one in translated)


def test_a_heading_that_nobody_translated_stands_in_russian() -> None:
    form = form_of(paid(1))
    form["columns"] += [
        {"number": "10", "field": "group", "heading": "Иное"},
        {"number": "10.1", "field": "asset", "heading": "актив"},
    ]
    last = section(income_tables(form, "kk"), "rows").columns[-1]
    assert (last.group, last.group_original, last.number) == ("Иное", "", "10.1")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_form_that_is_not_final_says_so(language: Language) -> None:
    assert income_tables(form_of(paid(1), form=FORM_2), language).notice
    assert not income_tables(form_of(paid(1)), language).notice
    assert not section(income_tables(form_of(paid(1), form=FORM_2), language), "rows").total


# Words


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_that_a_report_can_hold_has_a_text(language: Language) -> None:
    known = messages(language)
    words = {
        *(f"status.{one}" for one in (*Status, NO_LICENCE)),
        *(f"state.{one}" for one in State),
        *(f"reason.{one.word}" for one in Reason if one.code > 0),
        *(f"reason.{one}" for one in (*RefusalKind, *SHARES_REFUSED)),
        *(f"role.{one}" for one in SITE_ROLES),
        *(f"kind.{one}" for one in (*SEEN.values(), "shares_refused", "licence_act", "licence_turn")),
        *(f"form.{one}" for one in FIELDS),
        *(f"confidence.{one}" for one in ("primary", "secondary", "assumed")),
    }
    assert [one for one in sorted(words) if f"report.{one}" not in known] == []


@pytest.mark.parametrize(
    ("language", "message_id", "term"),
    [
        ("kk", "title.daily", "Цифрлық майнингтік пул"),
        (
            "kk",
            "title.report_form_2023",
            "алық салу мақсаттары үшін цифрлық майнерлер мен цифрлық майнингтік пулдардың кірістері туралы",
        ),
        ("kk", "fact.accreditation_number", "Цифрлық майнингтік пулды аккредиттеу"),
        (
            "kk",
            "fact.tax_authority",
            "алықтардың және бюджетке төленетін басқа да міндетті төлемдердің түсуін қамтамасыз ету "
            "саласындағы басшылықты жүзеге асыратын уәкілетті орган",
        ),
        ("kk", "fact.authorised_body", "ифрлық активтер саласындағы уәкілетті орган"),
        ("kk", "fact.protocol_number", "қпараттық қауіпсіздік талаптарына сәйкестікке сынақтар"),
        ("kk", "section.sites", "аппараттық-бағдарламалық кешенінің нақты орналасуы"),
        ("kk", "section.sale", "міндетті түрде сат"),
        ("kk", "act.suspended", "лицензияның қолданысын тоқтата тұру"),
        ("kk", "act.resumed", "лицензияның қолданысын қайта бастау"),
        ("kk", "act.revoked", "лицензиядан айыру"),
        (
            "kk",
            "form.licence_number",
            "ифрлық майнинг жөніндегі қызметті жүзеге асыруға арналған лицензия",
        ),
        ("kk", "column.exchange", "Цифрлық активтер биржасы"),
        ("ru", "act.suspended", "приостановление действия лицензии"),
        ("ru", "act.revoked", "лишение лицензии"),
        ("ru", "fact.accreditation_number", "ккредитация цифрового майнингового пула"),
        (
            "ru",
            "title.report_form_2026",
            "распределенных цифровым майнинговым пулом цифровых активах между лицами, осуществляющими "
            "деятельность по цифровому майнингу",
        ),
    ],
)
def test_the_terms_are_those_of_the_law(language: Language, message_id: str, term: str) -> None:
    """regulation.md section 3, word for word; the first letter may be large."""
    assert term in messages(language)[f"report.{message_id}"]


def test_the_subtypes_in_kazakh_are_written_with_kazakh_letters() -> None:
    assert Words("kk").word("subtype", "2") == "ІІ"
    assert not Words("kk").word("subtype", "1").isascii()


@pytest.mark.parametrize("language", LANGUAGES)
@given(amount=AMOUNTS)
def test_i2_no_satoshi_is_lost_between_report_and_paper(language: Language, amount: int) -> None:
    shown = Words(language).bitcoin(amount)
    assert number(shown, language).scaleb(8) == amount
    assert len(shown.rpartition("." if language == "en" else ",")[2]) == 8


@given(work=st.integers(0, 2**256))
def test_work_is_whole_however_long_it_is(work: int) -> None:
    words = Words("ru")
    assert words.number(str(work)).replace("\N{NO-BREAK SPACE}", "") == str(work)
    unit = unit_for(str(work))
    power = {"th": 12, "gh": 9, "mh": 6, "kh": 3, "h": 0}[unit]
    shown = words.hashrate(str(work), unit).replace("\N{NO-BREAK SPACE}", "").replace(",", "")
    assert int(shown) == work * 1000 // 10**power, "cut down, never rounded up"


@given(amount=st.integers(-(10**16), 10**16))
def test_a_decimal_of_a_form_is_its_satoshis(amount: int) -> None:
    sign, whole = "-" if amount < 0 else "", abs(amount)
    assert satoshis(f"{sign}{whole // 10**8}.{whole % 10**8:08d}") == amount


def test_tables_change_nothing(report: dict[str, Any], world: Callable[[], Any]) -> None:
    before = json.dumps(report)
    for language in LANGUAGES:
        daily_tables(report, language)
    assert json.dumps(report) == before
    assert daily_tables(build(world().facts()), "en").sections, "a quiet day has tables too"
