"""Conditional and partial answers (RFC 9110), against a second reading of the rules."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from pool import door_files
from pool.door_files import Shown, bytes_answer, file_answer

MADE = dt.datetime(2026, 11, 24, 7, 0, 0, 250_000, tzinfo=dt.UTC)
SHOWN = Shown("a.bin", "application/octet-stream", "cafe", MADE)
DATED = "Tue, 24 Nov 2026 07:00:00 GMT"
CONTENT = bytes(range(100))


def ask(**headers: str) -> Request:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw})


def answered(**headers: str) -> tuple[int, bytes]:
    try:
        answer = bytes_answer(ask(**headers), CONTENT, SHOWN)
    except HTTPException as error:
        return error.status_code, dict(error.headers or {})["Content-Range"].encode()
    return answer.status_code, bytes(answer.body)


WHOLE, HELD = (200, CONTENT), (304, b"")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WHOLE),
        ({"If_None_Match": '"cafe"'}, HELD),
        ({"If_None_Match": 'W/"cafe"'}, HELD),
        ({"If_None_Match": '"x", "ca,fe", W/"cafe"'}, HELD),
        ({"If_None_Match": "*"}, HELD),
        ({"If_None_Match": '"caf"'}, WHOLE),
        ({"If_None_Match": "cafe"}, WHOLE),
        ({"If_Modified_Since": DATED}, HELD),
        ({"If_Modified_Since": "Tue, 24 Nov 2026 06:59:59 GMT"}, WHOLE),
        ({"If_Modified_Since": "yesterday"}, WHOLE),
        # The tag counts alone where both are there.
        ({"If_None_Match": '"x"', "If_Modified_Since": DATED}, WHOLE),
        ({"Range": "bytes=0-0"}, (206, CONTENT[:1])),
        ({"Range": "bytes=90-"}, (206, CONTENT[90:])),
        ({"Range": "bytes=90-1000"}, (206, CONTENT[90:])),
        ({"Range": "bytes=-5"}, (206, CONTENT[-5:])),
        ({"Range": "bytes=-500"}, (206, CONTENT)),
        ({"Range": "bytes=100-"}, (416, b"bytes */100")),
        ({"Range": "bytes=-0"}, (416, b"bytes */100")),
        ({"Range": "bytes=5-3"}, WHOLE),
        ({"Range": "bytes=-"}, WHOLE),
        ({"Range": "bytes=0-1,5-6"}, WHOLE),
        ({"Range": "lines=0-1"}, WHOLE),
        ({"Range": "bytes=" + "9" * 30 + "-"}, WHOLE),
        ({"Range": "bytes=0-4", "If_None_Match": '"cafe"'}, HELD),
        ({"Range": "bytes=0-4", "If_Range": '"cafe"'}, (206, CONTENT[:5])),
        ({"Range": "bytes=0-4", "If_Range": 'W/"cafe"'}, WHOLE),
        ({"Range": "bytes=0-4", "If_Range": '"other"'}, WHOLE),
        ({"Range": "bytes=0-4", "If_Range": DATED}, (206, CONTENT[:5])),
        ({"Range": "bytes=0-4", "If_Range": "Tue, 24 Nov 2026 07:00:01 GMT"}, WHOLE),
        ({"Range": "bytes=0-4", "If_Range": ""}, WHOLE),
    ],
    ids=str,
)
def test_what_is_asked_for_is_given(headers: dict[str, str], expected: tuple[int, bytes]) -> None:
    assert answered(**headers) == expected


def test_every_answer_says_what_it_is_of() -> None:
    whole, part, held = (
        bytes_answer(ask(**headers), CONTENT, SHOWN)
        for headers in ({}, {"Range": "bytes=10-19"}, {"If_None_Match": '"cafe"'})
    )
    for answer in (whole, part, held):
        assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == ('"cafe"', DATED)
        assert answer.headers["Vary"] == "Authorization, Cookie"
    assert whole.headers["Content-Disposition"] == 'attachment; filename="a.bin"'
    assert part.headers["Content-Range"] == "bytes 10-19/100"
    assert "Content-Disposition" not in held.headers


async def collected(answer: Response) -> bytes:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    await answer({"type": "http", "method": "GET", "headers": []}, receive, send)
    return b"".join(sent)


@given(
    content=st.binary(max_size=300),
    span=st.tuples(st.none() | st.integers(0, 400), st.none() | st.integers(0, 400)),
    piece=st.integers(1, 64),
)
def test_a_file_in_memory_and_one_on_disk_are_answered_alike(
    content: bytes, span: tuple[int | None, int | None], piece: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And the part is what slicing gives."""
    first, last = span
    asked = ask(Range=f"bytes={'' if first is None else first}-{'' if last is None else last}")
    path = Path(tmp_path_factory.getbasetemp()) / "door-file"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door_files, "PIECE", piece)
        told: list[tuple[int, bytes, str | None]] = []
        for on_disk in (False, True):
            try:
                if on_disk:
                    answer = asyncio.run(file_answer(asked, path, SHOWN))
                else:
                    answer = bytes_answer(asked, content, SHOWN)
            except HTTPException as error:
                told.append((error.status_code, b"", (error.headers or {}).get("Content-Range")))
                continue
            body = asyncio.run(collected(answer))
            assert int(answer.headers["Content-Length"]) == len(body)
            told.append((answer.status_code, body, answer.headers.get("Content-Range")))
    assert told[0] == told[1]
    code, body, _ = told[0]
    if code == 206 and first is None:
        assert body == content[-(last or 0) :]
    elif code == 206:
        assert body == content[first:][: None if last is None else last + 1 - (first or 0)]
    else:
        assert (code, body) in ((200, content), (416, b""))


async def test_a_file_that_is_not_there_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await file_answer(ask(), tmp_path / "nothing", SHOWN)
