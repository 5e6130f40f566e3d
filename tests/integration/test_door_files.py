"""What the door hands out, over a real socket: whole, in part, again, and what each file is."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.archive_file import parse_manifest
from pool.documents import find_form
from pool.exports import exported
from reporting.checkpoint import parse_proof
from reporting.verify import verify
from tests.conftest import Furnish
from tests.integration.door_world import Entrance, entrance, furnished
from tests.integration.ledger_world import DAY, World
from tests.integration.web_world import KEY
from tests.reporting.form_world import FORM_1

REPORT = f"/api/v1/reports/{DAY}/1"
FORM = f"/api/v1/forms/2026-11/{FORM_1}/1"
HOUR = "/api/v1/archive/2026/11/24/06"
BOOK = "/api/v1/archive/2026/11/24/book"


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("door", furnished)
    return "door"


@pytest_asyncio.fixture
async def world(engine: AsyncEngine, furnish: Furnish) -> World:
    made = World(engine)
    made.recall(await furnish("door", furnished))
    return made


@pytest_asyncio.fixture
async def pool(world: World, tmp_path: Path) -> AsyncIterator[Entrance]:
    async with entrance(world, tmp_path) as made:
        await made.archive()
        await made.log()
        await made.enter("ministry")
        yield made


@pytest_asyncio.fixture
async def token(pool: Entrance) -> str:
    return (await pool.give("ministry"))[1]


FILES = [
    REPORT,
    f"{REPORT}/proof",
    f"{REPORT}/pdf/kk",
    FORM,
    *(f"{FORM}/file/{kind}" for kind in ("json", "csv", "xlsx")),
    *(f"{FORM}/annex/{kind}" for kind in ("json", "csv", "xlsx")),
    f"{FORM}/proof",
    f"{FORM}/pdf/ru",
    *(f"{HOUR}.{kind}" for kind in ("parquet", "json", "csv.gz")),
    f"{BOOK}.json",
    f"{BOOK}.jsonl.zst",
    "/verifier/dmpool_verify.py",
    "/verifier/SHA256SUMS",
    "/log/checkpoint",
    "/log/tile/0/000.p/SIZE",
    "/api/v1/keys",
]


@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_taken_whole_in_parts_and_not_again(pool: Entrance, token: str, path: str) -> None:
    size = (await pool.get("/log/checkpoint"))[2].split(b"\n")[1].decode()
    path = path.replace("SIZE", size)
    code, headers, whole = await pool.get(path, token)
    assert (code, headers["Accept-Ranges"]) == (200, "bytes"), whole[:300]
    assert int(headers["Content-Length"]) == len(whole)
    tag = headers["ETag"]
    code, held, body = await pool.get(path, token, If_None_Match=tag)
    assert (code, body, held["ETag"]) == (304, b"", tag)
    middle = len(whole) // 2
    parts = b""
    for span in (f"bytes=0-{middle - 1}", f"bytes={middle}-"):
        code, part, body = await pool.get(path, token, Range=span, If_Range=tag)
        assert (code, part["ETag"]) == (206, tag)
        parts += body
    assert parts == whole, "both parts are of the same file"
    assert (await pool.get(path, token, Range="bytes=0-1", If_Range='"another"'))[0] == 200
    code, part, body = await pool.get(path, token, Range=f"bytes={len(whole)}-")
    assert (code, part["Content-Range"]) == (416, f"bytes */{len(whole)}")
    assert "detail" in json.loads(body)
    async with pool.site.http.head(
        pool.site.url + path, headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (200, tag, b"")
        assert int(answer.headers["Content-Length"]) == len(whole)
    if "Last-Modified" in headers:
        assert (await pool.get(path, token, If_Modified_Since=headers["Last-Modified"]))[0] == 304


async def test_a_report_verifies_with_its_proof_from_the_log(pool: Entrance, token: str) -> None:
    """I7."""
    _, _, body = await pool.get(REPORT, token)
    assert all(check.passed for check in verify(body, KEY.public_key))
    proof = parse_proof((await pool.get(f"{REPORT}/proof", token))[2])
    assert proof.data is not None
    assert proof.check(proof.data).size > proof.index
    assert json.loads(proof.data)["sha256"] == json.loads(body)["report_sha256"]
    assert proof.note.encode() == (await pool.get("/log/checkpoint"))[2]


async def test_without_a_signed_checkpoint_there_is_no_proof_yet(world: World, tmp_path: Path) -> None:
    async with entrance(world, tmp_path, open_reports=True) as pool:
        code, _, body = await pool.get(f"{FORM}/proof")
        assert (code, "no signed checkpoint has this form yet" in body.decode()) == (404, True)


async def test_the_archive_is_what_its_manifests_and_the_list_say(pool: Entrance, token: str) -> None:
    """I4."""
    told = await pool.told("/api/v1/archive", token)
    assert [one["hour"][11:13] for one in told["hours"]] == ["07", "06"]
    assert told["next_before"] is None
    for hour in told["hours"]:
        parquet, manifest, packed = [
            (await pool.get(f"{hour['path']}.{kind}", token))[2] for kind in ("parquet", "json", "csv.gz")
        ]
        known = parse_manifest(manifest)
        assert hashlib.sha256(parquet).hexdigest() == known.sha256 == hour["sha256"]
        assert hashlib.sha256(manifest).hexdigest() == hour["manifest_sha256"]
        assert len(gzip.decompress(packed).splitlines()) == known.shares
    book = json.loads((await pool.get(f"{BOOK}.json", token))[2])
    assert hashlib.sha256((await pool.get(f"{BOOK}.jsonl.zst", token))[2]).hexdigest() == book["sha256"]


async def test_a_text_is_made_once(pool: Entrance, token: str) -> None:
    first = (await pool.get(f"{HOUR}.csv.gz", token))[2]
    kept = pool.directory / "archive-text" / "2026" / "11" / "24" / "06.csv.gz"
    assert kept.read_bytes() == first
    kept.write_bytes(b"made once")
    assert (await pool.get(f"{HOUR}.csv.gz", token))[2] == b"made once"


async def test_pages_of_a_list(pool: Entrance, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pool.door_api.PAGE", 2)
    for _ in range(3):
        await pool.get(REPORT, token)
    seen: list[int] = []
    before = ""
    while True:
        page = await pool.told(f"/api/v1/access{before}", token)
        seen += [one["seq"] for one in page["events"]]
        if page["next_before"] is None or len(seen) > 3:
            break
        before = f"?before={page['next_before']}"
    assert seen[:3] == sorted(seen[:3], reverse=True)
    forms = await pool.told("/api/v1/forms?before=1", token)
    assert forms == {"forms": [], "next_before": None}


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        (f"/api/v1/reports/{DAY}/9", 404, "there is no version 9 of a report"),
        (f"{REPORT}/pdf/fr", 422, "literal"),
        ("/api/v1/forms/2026-13/order-166-2023", 404, "there is no form order-166-2023 of 2026-13"),
        ("/api/v1/forms/november/order-166-2023", 422, "pattern"),
        (f"{FORM}/file/pdf", 422, "literal"),
        ("/api/v1/archive/2026/11/24/08.parquet", 404, "no 08.parquet is closed"),
        ("/api/v1/archive/2026/02/30/07.json", 404, "day"),
        ("/api/v1/archive/0000/01/01/00.json", 404, "year 0 is out of range"),
        ("/api/v1/archive/2026/11/25/book.json", 404, "no book.json is closed"),
        ("/api/v1/archive/2026/11/24/..%2f..%2fkeys.json", 404, "Not Found"),
        ("/api/v1/archive/2026/11/24/24.parquet", 422, "pattern"),
        ("/api/v1/archive?before=9999-12-31T23:59:59-12:00", 200, "hours"),
        ("/api/v1/submissions/1/receipts/99", 404, "there is no such file"),
    ],
)
async def test_a_bad_question_gets_a_clear_answer(
    pool: Entrance, token: str, path: str, code: int, said: str
) -> None:
    """I10."""
    answered, _, body = await pool.get(path, token)
    assert (answered, said in body.decode()) == (code, True), body


async def test_files_that_are_not_here_are_no_crash(pool: Entrance, token: str) -> None:
    for path in (pool.directory / "archive").rglob("06.*"):
        path.unlink()
    for kind in ("parquet", "json", "csv.gz"):
        code, _, body = await pool.get(f"{HOUR}.{kind}", token)
        assert (code, "is not on this machine" in body.decode()) == (404, True)


async def test_a_form_as_a_file_is_what_the_command_writes(pool: Entrance, token: str) -> None:
    async with pool.engine.connect() as connection:
        document = await find_form(connection, FORM_1, "2026-11")
    for kind in ("xlsx", "csv", "json"):
        name, content = exported(document, kind)
        code, headers, body = await pool.get(f"{FORM}/file/{kind}", token)
        assert (code, body) == (200, content)
        assert headers["Content-Disposition"] == f'attachment; filename="{name}"'


async def test_the_verifier_has_the_hash_that_its_tag_and_the_sums_say(pool: Entrance) -> None:
    _, headers, body = await pool.get("/verifier/dmpool_verify.py")
    digest = hashlib.sha256(body).hexdigest()
    assert headers["ETag"] == f'"{digest}"'
    assert (await pool.get("/verifier/SHA256SUMS"))[2] == f"{digest}  dmpool_verify.py\n".encode()
    compile(body, "dmpool_verify.py", "exec")
