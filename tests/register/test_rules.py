"""Dated rules (I8) and the calendar that follows from them."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.rules import Row, Rules, RulesError, load_rules, parse_rules

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
    assert sorted(rows) == [
        "authorised_body",
        "licence",
        "mandatory_sale",
        "report_form_2023",
        "tax_authority",
        "timezone",
    ]
    assert all(row.source and row.effective_from <= dt.date(2025, 6, 1) for row in rows.values())
    assert rows["licence"].confidence == "primary"
    assert rows["mandatory_sale"].confidence == "secondary"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[licence]]", "[[license]]", "rule 'license' is unknown"),
        ("term_years = 3", 'term_years = "3"', r"licence, row 1: term_years = '3' must be of type int"),
        ("term_years = 3", "term_years = true", "must be of type int"),
        ("term_years = 3", "term_years = -3", "out of range"),
        ("term_years = 3", "", "licence, row 1: term_years is missing"),
        ("term_years = 3", "term_years = 3\nterms = 3", "licence, row 1: key 'terms' is unknown"),
        ('offset = "+05:00"', 'offset = "5"', "timezone, row 2: offset = '5'"),
        ("effective_from = 2024-03-01", "effective_from = 2009-01-03", "rows stand in order"),
        ("effective_from = 2024-03-01", "effective_from = 2024-03-01T00:00:00", "must be of type date"),
        ("min_share_bps = 7500", "min_share_bps = 75000", "out of range"),
        ('licensors = ["AFSA"]', "licensors = [1]", "out of range"),
        ('confidence = "primary"', 'confidence = "sure"', "must be one of primary, secondary, assumed"),
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
