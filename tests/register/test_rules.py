"""Dated rules (I8) and the calendar that follows from them."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.rules import Row, Rules, RulesError, load_rules, parse_rules
from register.rules_schema import SCHEMA

RULES_FILE = Path(__file__).parents[2] / "configs" / "rules.toml"
RULES = load_rules(RULES_FILE)
HOUR = 3_600_000_000
DAY = 24 * HOUR


def instant(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_i8_the_time_zone_is_dated() -> None:
    before = dt.datetime(2024, 2, 29, 17, 59, 59, tzinfo=dt.UTC)
    assert RULES.utc_offset(before) == dt.timedelta(hours=6)
    assert RULES.utc_offset(before + dt.timedelta(seconds=1)) == dt.timedelta(hours=5)
    with pytest.raises(ValueError, match="has no zone"):
        RULES.utc_offset(dt.datetime(2024, 3, 1))


def test_an_ordinary_day_on_either_side_of_the_change() -> None:
    assert RULES.day_bounds(dt.date(2024, 1, 10)) == (
        instant("2024-01-10T00:00:00+06:00"),
        instant("2024-01-11T00:00:00+06:00"),
    )
    assert RULES.day_bounds(dt.date(2026, 11, 22)) == (
        instant("2026-11-22T00:00:00+05:00"),
        instant("2026-11-23T00:00:00+05:00"),
    )


def test_the_day_the_clock_went_back_has_25_hours() -> None:
    start, end = RULES.day_bounds(dt.date(2024, 2, 29))
    assert end - start == 25 * HOUR
    assert RULES.day_of(end - 1) == dt.date(2024, 2, 29)
    assert RULES.day_of(end) == dt.date(2024, 3, 1)
    assert RULES.local(end - 1).isoformat() == "2024-02-29T23:59:59.999999+05:00"


def with_zones(*zones: tuple[dt.date, str]) -> Rules:
    others = [row for row in RULES.in_force(dt.date(2026, 6, 1)) if row.rule != "timezone"]
    return Rules(
        [*others, *(Row("timezone", day, {"offset": text}, "test", "assumed") for day, text in zones)]
    )


def test_a_clock_that_jumps_forward_shortens_the_new_day() -> None:
    rules = with_zones((dt.date(2024, 1, 1), "+05:00"), (dt.date(2025, 1, 1), "+06:30"))
    start, end = rules.day_bounds(dt.date(2025, 1, 1))
    assert end - start == 22 * HOUR + HOUR // 2
    assert rules.local(start).isoformat() == "2025-01-01T01:30:00+06:30"


@given(
    st.lists(
        st.tuples(st.dates(dt.date(2020, 1, 1), dt.date(2020, 3, 1)), st.integers(3, 8)),
        min_size=1,
        max_size=4,
        unique_by=lambda zone: zone[0].toordinal() // 4,
    ),
    st.integers(0, 70),
)
def test_days_tile_time_whatever_the_clock_does(zones: list[tuple[dt.date, int]], skip: int) -> None:
    ordered = sorted(zones)
    rules = with_zones(*((day, f"{hours:+03}:00") for day, hours in ordered))
    day = ordered[0][0] + dt.timedelta(days=skip)
    start, end = rules.day_bounds(day)
    assert start < end == rules.day_bounds(day + dt.timedelta(days=1))[0]
    assert rules.day_of(start) == rules.day_of(end - 1) == day
    assert rules.day_of(end) == day + dt.timedelta(days=1)
    if start > rules.day_bounds(ordered[0][0])[0]:
        assert rules.day_of(start - 1) == day - dt.timedelta(days=1)


def test_i8_each_day_is_answered_by_its_own_row() -> None:
    def share(day: dt.date) -> int:
        return RULES.on("mandatory_sale", day).integer("min_share_bps")

    assert RULES.find("mandatory_sale", dt.date(2023, 12, 31)) is None
    assert share(dt.date(2024, 1, 1)) == share(dt.date(2024, 12, 31)) == 5000
    assert share(dt.date(2025, 1, 1)) == share(dt.date(2030, 1, 1)) == 7500
    assert RULES.on("licence", dt.date(2024, 5, 1)).integer("term_years") == 3
    with pytest.raises(RulesError, match="first row begins on 2024-01-01"):
        RULES.on("mandatory_sale", dt.date(2023, 12, 31))
    with pytest.raises(RulesError, match="timezone says nothing of 2001"):
        RULES.day_bounds(dt.date(2001, 1, 1))
    with pytest.raises(RulesError, match="timezone says nothing of 1970"):
        RULES.day_of(0)


def test_what_is_in_force_names_every_rule_with_source_and_confidence() -> None:
    rows = {row.rule: row for row in RULES.in_force(dt.date(2025, 6, 1))}
    assert set(SCHEMA) - set(rows) == {"report_form_2026"}
    assert all(row.source and row.effective_from <= dt.date(2025, 6, 1) for row in rows.values())
    assert {row.confidence for row in rows.values()} == {
        "secondary",
        "assumed",
    }  # the law of 2025 was not read
    earlier = {row.rule: row.confidence for row in RULES.in_force(dt.date(2024, 6, 1))}
    assert earlier["licence"] == earlier["mandatory_sale"] == "primary"


def test_i8_the_defaults_of_the_open_questions() -> None:
    """Section 4 of regulation.md, as data."""
    day = dt.date(2026, 11, 22)

    def text(rule: str, key: str) -> str:
        return RULES.on(rule, day).text(key)

    assert (text("sale_measure", "base"), text("sale_measure", "period")) == ("mined", "quarter")
    for form in ("report_form_2023", "report_form_2026"):
        row = RULES.on(form, day)
        assert (row.integer("deadline_day"), row.integer("reminder_day")) == (15, 5)
        assert row.confidence == "assumed"
        assert row.text("transport") == "file"
    assert RULES.on("report_form_2023", day).truth("complete")
    assert not RULES.on("report_form_2026", day).truth("complete")
    assert RULES.find("report_form_2026", dt.date(2026, 2, 19)) is None
    assert text("licence", "issuer") == "authorised_body"
    assert RULES.on("mandatory_sale", day).texts("licensors") == ["AFSA"]
    assert "Artificial Intelligence" in text("authorised_body", "name")
    assert "Innovations" in RULES.on("authorised_body", dt.date(2025, 9, 19)).text("name")
    assert text("official_value", "day_off") == "preceding_working_day"  # Q-06, O-63
    assert text("distribution", "date") == "transfer"
    assert text("sale_mode", "mode") == "monitor"
    assert RULES.on("accreditation", day).integer("term_years") == 0
    assert text("unknown_device", "mode") == "strict"
    assert text("suspension_payout", "mode") == "allow"
    assert text("ended_payout", "mode") == "allow"  # O-30, Q-15
    assert RULES.on("retention", day).integer("years") == 5  # O-65
    assert "Bitcoin" in RULES.on("digital_assets", day).texts("listed")  # O-33


def test_o64_the_fee_of_each_year() -> None:
    fees = [
        RULES.on("mining_fee", dt.date(year, 6, 1)).integer("highest_tenge_per_kwh")
        for year in range(2022, 2027)
    ]
    assert fees == [1, 25, 2, 2, 2]
    assert RULES.on("mining_fee", dt.date(2026, 1, 1)).confidence == "assumed"


def test_bodies_have_a_name_in_every_language_and_tell_which_were_seen() -> None:
    for rule in ("authorised_body", "tax_authority"):
        for day in (dt.date(2024, 1, 1), dt.date(2026, 1, 1)):
            row = RULES.on(rule, day)
            assert len({row.text(key) for key in ("name", "name_ru", "name_kk")}) == 3
            assert set(row.texts("names_seen")) <= {"en", "ru", "kk"}
            assert row.text("name_kk").startswith("Қазақстан Республикасы")


def test_values_are_asked_for_by_their_kind() -> None:
    row = RULES.on("licence_warning", dt.date(2026, 1, 1))
    assert row.integers("days") == [90, 60, 30]
    assert row.integer("miner_notice_days") == 30
    licence = RULES.on("licence", dt.date(2026, 1, 1))
    for ask in (licence.text, licence.texts, licence.integers, licence.truth):
        with pytest.raises(RulesError, match="rule licence term_years = 3 is n"):
            ask("term_years")
    with pytest.raises(RulesError, match="is no integer"):
        licence.integer("issuer")


def test_until_tells_the_next_change() -> None:
    assert RULES.until("mandatory_sale", dt.date(2023, 1, 1)) == dt.date(2024, 1, 1)
    assert RULES.until("mandatory_sale", dt.date(2024, 12, 31)) == dt.date(2025, 1, 1)
    assert RULES.until("mandatory_sale", dt.date(2025, 1, 1)) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[licence]]", "[[license]]", "rule 'license' is unknown"),
        (
            "term_years = 3",
            'term_years = "3"',
            r"licence, row 1: term_years = '3' is wrong; it must be a whole",
        ),
        ("term_years = 3", "term_years = true", "must be a whole number from 1 to 100"),
        ("term_years = 3", "term_years = -3", "must be a whole number from 1 to 100"),
        ("term_years = 3", "", "licence, row 1: term_years is missing"),
        ("term_years = 3", "term_years = 3\nterms = 3", "licence, row 1: key 'terms' is unknown"),
        ('offset = "+05:00"', 'offset = "5"', "timezone, row 2: offset = '5'"),
        ("effective_from = 2024-03-01", "effective_from = 2009-01-03", "rows stand in order"),
        ("effective_from = 2024-03-01", "effective_from = 2024-03-01T00:00:00", "must be a date such as"),
        ("min_share_bps = 7500", "min_share_bps = 75000", "row 2: min_share_bps = 75000 .* 0 to 10000"),
        ('licensors = ["AFSA"]', "licensors = [1]", 'must be a list of one or more of "AFSA", "NBK"'),
        ('licensors = ["AFSA"]', "licensors = []", "one or more"),
        ('licensors = ["AFSA"]', 'licensors = ["AFSA", "AFSA"]', "none twice"),
        ('confidence = "primary"', 'confidence = "sure"', 'must be "primary" or "secondary" or "assumed"'),
        (
            'mode = "strict"',
            'mode = "lax"',
            "unknown_device, row 1: mode = 'lax' is wrong; it must be \"strict\"",
        ),
        ("days = [90, 60, 30]", "days = [30, 60, 90]", "the longest first"),
        ("days = [90, 60, 30]", "days = [90, true]", "numbers of days"),
        ("auto_resume = false", 'auto_resume = "no"', "must be true or false"),
        ("overrate_percent = 130", "overrate_percent = 100", "from 101"),
        ("deadline_day = 15", "deadline_day = 31", "from 1 to 28"),
        (
            "reminder_day = 5",
            "reminder_day = 20",
            "reminder_day = 20 is more than deadline_day = 15; exchange",
        ),
        ("months_max = 6", "months_max = 0", "from 1 to 120"),
        ("months_min = 1", "months_min = 7", "is more than suspension_months_max = 6"),
        ('transport = "file"', 'transport = "post"', 'must be "file" or "api"'),
        ('listed = ["Bitcoin"]', 'listed = [""]', "printable texts"),
        (
            'source = "one time zone',
            'source = "" # one time zone',
            "source = '' is wrong; it must be a printable",
        ),
        ("[[tax_authority]]", "[[authorised_body]]", "rows stand in order"),
        ("[[tax_authority]]", "[tax_authority]", r"must be rows, each under its own \[\[tax_authority\]\]"),
        ("term_years = 3", "term_years = ", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_rule_and_row(old: str, new: str, message: str) -> None:
    text = RULES_FILE.read_text("utf-8")
    assert old in text
    with pytest.raises(RulesError, match=message):
        parse_rules(text.replace(old, new, 1))


def test_a_rule_without_rows_is_refused() -> None:
    text = RULES_FILE.read_text("utf-8")
    with pytest.raises(RulesError, match="tax_authority has no row"):
        parse_rules(text[: text.index("[[tax_authority]]")])


def test_the_file_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("x = 1")
    with pytest.raises(RulesError, match=r"rules\.toml: rule 'x' is unknown"):
        load_rules(path)
