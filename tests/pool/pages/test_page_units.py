"""Parts of the pages that need no server: links, seats, charts, QR codes, the list's address, the words."""

from __future__ import annotations

import asyncio
import datetime as dt
import xml.etree.ElementTree as ET
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from pool.pages.account_reader import AccountReader
from pool.pages.charts import hashrate_chart, scale_of
from pool.pages.history import SPAN_US, Point
from pool.pages.live import Streams, viewer_of
from pool.pages.miner_page import address_with, asked_of
from pool.pages.qr import qr_picture
from pool.pages.speech import SPEECH, language_for
from pool.pages.status_page import Pictures, drawn_of, host_of
from pool.pages.technician import LINK_SECONDS, ticket, valid_until
from pool.pages.worker_rows import Query
from register.catalogue import messages
from register.miner import LANGUAGES
from stratum.messages import Reason

NOW = 1_795_503_600_000_000
SECRET = bytes(range(32))
HASH = "ab" * 32


def request(query: str = "", client: str = "203.0.113.7", **headers: str) -> Request:
    return Request(
        {
            "type": "http",
            "scheme": "http",
            "path": "/",
            "query_string": query.encode(),
            "client": (client, 1),
            "headers": [
                (name.lower().replace("_", "-").encode(), value.encode()) for name, value in headers.items()
            ],
        }
    )


def local(at_us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_us / 1_000_000, dt.timezone(dt.timedelta(hours=5)))


def test_a_link_is_good_for_its_account_its_token_and_its_time() -> None:
    made = ticket(SECRET, "altai", HASH, NOW)
    ends = NOW // 1_000_000 + LINK_SECONDS
    assert valid_until(SECRET, "altai", HASH, made, NOW) == ends
    assert valid_until(SECRET, "altai", HASH, made, ends * 1_000_000 - 1) == ends
    assert valid_until(SECRET, "altai", HASH, made, ends * 1_000_000) is None
    for secret, account, token in (
        (SECRET[1:], "altai", HASH),
        (SECRET, "alta", HASH),
        (SECRET, "altai", "cd"),
    ):
        assert valid_until(secret, account, token, made, NOW) is None


@given(st.text(max_size=60))
def test_nothing_else_is_a_link(shown: str) -> None:
    assert valid_until(SECRET, "altai", HASH, shown, NOW) is None


@given(st.integers(0, 10**24))
def test_a_scale_ends_with_a_round_number_of_four_parts(most: int) -> None:
    top = scale_of(most)
    assert most <= top <= max(most * 5 // 2, 4)
    assert top % 4 == 0
    assert str(top // 4).rstrip("0") in {"1", "2", "5"}


@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_a_chart_is_a_picture_without_script_that_loads_nothing(size: str) -> None:
    points = [Point(NOW + number * SPAN_US, number * 10**15) for number in range(144)]
    drawn = hashrate_chart(points, local, size)
    assert not [one for one in ET.fromstring(drawn).iter() if one.tag.endswith("script")]
    text = drawn.decode()
    assert "12:00" in text
    assert "prefers-color-scheme: dark" in text or "prefers-color-scheme:dark" in text
    for elsewhere in ("href=", "@import", "url("):
        assert elsewhere not in text
    told = drawn_of(points, local)
    assert (told.least, told.most, len(told.hours)) == (0, 143 * 10**15, 24)
    assert told.hours[0].hashrate == (138 + 143) * 10**15 // 2


def test_a_chart_is_drawn_again_when_the_past_fills_up() -> None:
    """The first looks of a process read a part of the day; a gateway may send its spool late."""
    pictures = Pictures(local)
    some = tuple(Point(NOW + number * SPAN_US, 0) for number in range(5))
    all_ = (Point(NOW, 10**15), *some[1:])
    assert pictures.of(1, some, "wide").body != pictures.of(1, all_, "wide").body
    assert drawn_of(some, local).mark != drawn_of(all_, local).mark


def test_many_different_questions_do_not_fill_the_memory() -> None:
    reader = AccountReader(*(cast(Any, None),) * 4)
    for number in range(1000):
        reader._keep(("list", 1, Query(search=str(number))), 0, number)
    assert len(reader._kept) == 1


def test_a_qr_code_is_black_on_white_with_its_margin() -> None:
    text = bytes(qr_picture("stratum+tcp://pool:3333\naltai.rig1\nx").body).decode()
    assert 'fill="#fff"' in text
    assert "style=" not in text


async def test_a_proxy_on_this_machine_is_no_viewer_and_others_are_limited() -> None:
    assert viewer_of(request(client="127.0.0.1")) is viewer_of(request(client="::1")) is None
    assert viewer_of(request(client="2001:db8::7")) == "2001:db8::/64"
    assert viewer_of(request(client="203.0.113.7")) == "203.0.113.7"
    streams = Streams()

    async def nothing() -> dict[str, str]:
        return {}

    begun = [streams.respond(request(), "203.0.113.7", nothing, 60) for _ in range(10)]
    assert streams.open == 10, "a seat is taken at once, so that a rush gets no more either"
    with pytest.raises(HTTPException) as refused:
        streams.respond(request(), "203.0.113.7", nothing, 60)
    assert refused.value.status_code == 429
    begun.append(streams.respond(request(client="203.0.113.8"), "203.0.113.8", nothing, 60))
    streams.close()

    async def silent() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def sent(message: object) -> None:
        pass

    await asyncio.gather(*(one({"type": "http", "method": "GET"}, silent, sent) for one in begun))
    assert streams.open == 0
    with pytest.raises(HTTPException) as refused:
        streams.respond(request(), None, nothing, 60)
    assert refused.value.status_code == 503


@given(st.text(max_size=80), st.text(max_size=10), st.text(max_size=12), st.text(max_size=8))
def test_whatever_an_address_asks_for_is_a_list(search: str, sort: str, page: str, state: str) -> None:
    """I10; and what a page's links ask for is what was asked."""
    asked = asked_of(request(urlencode({"search": search, "sort": sort, "page": page, "state": state})))
    link = address_with("/miners/altai", "en", asked)
    assert asked_of(request(link.partition("?")[2])) == asked
    assert address_with("/x", "en", asked, search="", state=None, page=1, sort="name") == "/x?lang=en"
    assert Query() == asked_of(request("page=x&sort=x&state=x"))


@pytest.mark.parametrize(
    ("query", "accept", "own", "language"),
    [
        ("", "", None, "en"),
        ("", "de-DE,de;q=0.9", None, "kk"),
        ("", "ru-RU,ru;q=0.9,en;q=0.8", None, "ru"),
        ("", "ru-RU", "kk", "kk"),
        ("lang=en", "ru-RU", "kk", "en"),
        ("lang=xx", "ru-RU", None, "ru"),
    ],
)
def test_a_page_speaks_the_language_that_is_asked_for(
    query: str, accept: str, own: str | None, language: str
) -> None:
    headers = {"accept_language": accept} if accept else {}
    assert language_for(request(query, **headers), own) == language  # type: ignore[arg-type]


def test_a_site_is_called_as_the_browser_called_it() -> None:
    assert host_of(request(host="pool.kz:8080")) == "http://pool.kz:8080"
    assert host_of(request(host="pool.kz", x_forwarded_proto="https")) == "https://pool.kz"
    assert host_of(request(host='"><script>')) == "http://HOST"


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_that_is_said_of_time_and_refusals_has_words(language: str) -> None:
    speech = SPEECH[language]  # type: ignore[index]
    ages = [speech.age(one) for one in (None, 0, 59, 60, 3599, 3600, 86_399, 86_400)]
    if language == "en":
        assert ages == [*("never", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d")]
    assert len(set(ages)) == 8
    for one in (*Reason, None):
        word = one.word if one else "quarantine"
        assert speech.why(word) != word
    assert speech.why("of another time") == "of another time"
    assert {one for one in messages("en") if one.startswith("page.")} == {
        one
        for one in messages(language)
        if one.startswith("page.")  # type: ignore[arg-type]
    }
