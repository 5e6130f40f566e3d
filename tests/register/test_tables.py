"""Records as rows of tables: there and back, and every bad cell told."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from register.centre import Centre
from register.device import Device
from register.licence import Act, Licence
from register.miner import Contact, Miner
from register.register import Register
from register.tables import (
    TABLES,
    BadRow,
    HeadingError,
    complete,
    read_contact,
    read_day,
    read_hashrate,
    read_heading,
    read_row,
    write_hashrate,
    write_row,
)

BIN, IIN = "230440000105", "061211600012"
DAY = dt.date(2026, 1, 31)
DEVICE = Device("KZ-1", "Bitmain", "S17", "SN1", "rig1", 56_500, 2520, BIN, 1, "C-1", DAY)


def world() -> Register:
    register = Register()
    register.put("miner", "1", Miner(1, "altai", "Altai LLP", BIN))
    register.put("miner", "2", Miner(2, "ile", "Ile LLP", IIN))
    return register


REGISTER = world()
days = st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1))
words = (
    st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(";|\\'= "), min_size=1)
    .map(str.strip)
    .filter(bool)
)
maybe = st.just("") | words
devices = st.builds(
    Device,
    *(words, words, words, words, words, st.integers(1, 10**9), st.integers(1, 10**6)),
    st.sampled_from((BIN, IIN)),
    st.sampled_from((1, 2)),
    words,
    days,
    st.none() | days,
    maybe,
    maybe,
)
centres = st.builds(
    Centre,
    *(
        words,
        words,
        words,
        st.sampled_from((BIN, IIN)),
        words,
        st.sampled_from(("ownership", "lease", "other")),
    ),
    words,
    st.integers(0, 10**7),
)
acts = st.builds(Act, st.sampled_from(("resumed", "ended", "revoked")), words, days) | st.builds(
    Act, st.just("suspended"), words, days, st.integers(1, 6), days
)
licences = st.builds(
    Licence,
    *(words, st.sampled_from((1, 2)), st.sampled_from((1, 2)), days, days, days, maybe),
    st.lists(acts, max_size=4).map(tuple),
)
contacts = st.builds(Contact, words, maybe, maybe)
miners = st.builds(
    Miner,
    *(st.just(0), words, words, st.sampled_from((BIN, IIN)), st.sampled_from(("en", "ru", "kk"))),
    st.lists(contacts, max_size=4).map(tuple),
    st.integers(0, 10**10),
)


@given(st.one_of(devices, centres, licences, miners))
def test_a_record_comes_back_from_its_row(record: msgspec.Struct) -> None:
    table = next(table for table in TABLES.values() if table.type is type(record))
    row = write_row(table, record, REGISTER, 0)
    heading = read_heading(table, [name.upper() for name in table.names])
    assert complete(table, read_row(heading, row, REGISTER), None) == record


@given(st.integers(1, 10**9))
def test_a_hashrate_is_exact_both_ways(ghs: int) -> None:
    text = write_hashrate(ghs)
    assert read_hashrate(text) == ghs == Fraction(text) * 1000
    assert not text.endswith("0") or "." not in text


@pytest.mark.parametrize("text", ["95,5", "95.1234", "-1", "1e3", "", ".5", "5.", "95 TH/s", "٩"])
def test_what_is_no_hashrate(text: str) -> None:
    with pytest.raises(ValueError, match=r"like 95\.5"):
        read_hashrate(text)


@pytest.mark.parametrize("text", ["2026-01-31", "31.01.2026", "31.1.2026"])
def test_days_as_they_are_written(text: str) -> None:
    assert read_day(text) == DAY


@pytest.mark.parametrize(
    "text", ["2026-02-30", "31/01/2026", "2026-1-31", "01.31.2026", "46053", "2026-01-31 18:30:00"]
)
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-01-31"):
        read_day(text)


def test_contacts_of_the_command_line() -> None:
    assert read_contact("Aset; a@b.kz ;+7 701") == Contact("Aset", "a@b.kz", "+7 701")
    assert read_contact("Aset;a@b.kz") == Contact("Aset", "a@b.kz")
    for wrong in ("Aset", "a;b;c;d"):
        with pytest.raises(ValueError, match="name;email;phone"):
            read_contact(wrong)


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        (["registry_number", "acount"], "column 'acount' is unknown; did you mean account"),
        (["registry_number", "хэшрейт"], "is unknown; Columns of a device are registry_number, account"),
        (["registry_number", "model", "Model"], "column model stands there twice"),
        (["account", "model"], "column registry_number is missing"),
    ],
)
def test_a_wrong_heading_names_the_column(heading: list[str], words: str) -> None:
    with pytest.raises(HeadingError, match=words):
        read_heading(TABLES["device"], heading)


def test_every_bad_cell_of_a_row_is_told() -> None:
    table = TABLES["device"]
    row = [
        *(
            "KZ-1",
            "nobody",
            "",
            "Bitmain",
            "S17",
            "SN\n1",
            "95,5",
            "many",
            "61211600012",
            "C-1",
            "",
            "",
            "soon",
        ),
        "",
    ]
    with pytest.raises(BadRow) as caught:
        read_row(read_heading(table, table.names), row, REGISTER)
    told = {cell.column: cell.reason for cell in caught.value.cells}
    assert list(told) == [
        *("account", "worker", "serial_number", "nominal_ths", "nominal_w", "owner_bin", "included_on"),
    ]
    assert "'nobody': no such account" in told["account"]
    assert "is empty" in told["worker"]
    assert "line break" in told["serial_number"]
    assert "format the column as text" in told["owner_bin"]


def test_cells_without_a_heading_are_told() -> None:
    heading = read_heading(TABLES["device"], ["registry_number", "place"])
    assert read_row(heading, ["KZ-1", "hall 1", "", ""], REGISTER) == {
        "registry_number": "KZ-1",
        "place": "hall 1",
    }
    with pytest.raises(BadRow, match="more cells than"):
        read_row(heading, ["KZ-1", "hall 1", "x"], REGISTER)
    assert read_row(heading, ["KZ-1"], REGISTER)["place"] == ""


def test_a_column_that_is_left_out_keeps_what_was() -> None:
    table = TABLES["device"]
    fields = read_row(read_heading(table, ["registry_number", "place"]), ["KZ-1", "hall 1"], REGISTER)
    assert complete(table, fields, DEVICE) == msgspec.structs.replace(DEVICE, place="hall 1")
    with pytest.raises(BadRow, match="account: is missing; a new device needs this column"):
        complete(table, fields, None)


def test_notes_of_a_file_of_bad_rows_are_passed_over() -> None:
    heading = read_heading(TABLES["centre"], ["line", "column", "reason", "code", "title"])
    assert read_row(heading, ["7", "bin", "is wrong", "C-1", "Hall"], REGISTER) == {
        "code": "C-1",
        "title": "Hall",
    }


@pytest.mark.parametrize("text", ["suspended", "paused;1;2026-01-31", "resumed;;2026-01-31", "ended;1;31/1"])
def test_what_is_no_act(text: str) -> None:
    with pytest.raises(BadRow, match="acts: "):
        read_row(read_heading(TABLES["licence"], ["number", "acts"]), ["L-1", text], REGISTER)
