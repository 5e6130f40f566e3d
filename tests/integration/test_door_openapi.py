"""The whole API against its own description: no 500, and no answer that the description does not have.

Schemathesis makes the questions, right and wrong ones; half of them are about what is there. They are asked
over a real socket, of a real database, with the token of a regulator that may everything, and with none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conftest import Furnish
from tests.integration.door_world import Entrance, entrance, furnished
from tests.integration.ledger_world import DAY, World
from tests.reporting.form_world import FORM_1

SETTINGS = settings(
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
NO_HTTP = b"Invalid HTTP request received."
"""What uvicorn says, with 400, to bytes that are no request at all."""
THERE: dict[str, st.SearchStrategy[Any]] = {
    "day": st.just(str(DAY)),
    "version": st.just(1),
    "language": st.sampled_from(["en", "ru", "kk"]),
    "period": st.just("2026-11"),
    "form": st.just(FORM_1),
    "submission_id": st.integers(1, 4),
    "number": st.integers(1, 2),
    "year": st.just("2026"),
    "month": st.just("11"),
    "name": st.sampled_from(["06.parquet", "06.json", "06.csv.gz", "book.json", "book.jsonl.zst"]),
    "path": st.sampled_from(["0/000.p/1", "entries/000.p/1"]),
}
"""What path parameters are of what is there; the archive's `day` is another one."""
ARCHIVE_DAY = "24"


@pytest_asyncio.fixture
async def template(furnish: Furnish) -> str:
    await furnish("door", furnished)
    return "door"


@pytest_asyncio.fixture
async def pool(engine: AsyncEngine, furnish: Furnish, tmp_path: Path) -> AsyncIterator[Entrance]:
    world = World(engine)
    world.recall(await furnish("door", furnished))
    async with entrance(world, tmp_path, requests_per_minute=1_000_000) as made:
        await made.archive()
        await made.log()
        await made.enter("ministry")
        yield made


def ask(
    url: str, document: dict[str, Any], token: str | None, mode: GenerationMode, examples: int
) -> tuple[set[tuple[str, int]], list[str]]:
    """Ask of each operation some questions; which answered with which status, and what was wrong."""
    seen: set[tuple[str, int]] = set()
    wrong: list[str] = []
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def answers(data: st.DataObject, operation: APIOperation[Any]) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
            known = {name: data.draw(THERE[name]) for name in case.path_parameters if name in THERE}
            if "year" in known:
                known["day"] = ARCHIVE_DAY
            case.path_parameters.update(known)
        answer = case.call(base_url=url, headers=headers)
        if answer.content == NO_HTTP:
            return
        seen.add((operation.path, answer.status_code))
        try:
            case.validate_response(answer, checks=CHECKS)
        except (Failure, FailureGroup) as error:
            failures = error.exceptions if isinstance(error, FailureGroup) else [error]
            wrong.extend(f"{case.as_curl_command()}: {answer.status_code}: {one}" for one in failures)

    for result in from_dict(document).get_all_operations():
        asking = given(data=st.data(), operation=st.just(result.ok()))(answers)
        with suppress(Unsatisfiable):  # there is no wrong way to ask without parameters
            settings(SETTINGS, max_examples=examples)(asking)()
    return seen, wrong


@pytest.mark.parametrize(
    ("mode", "named", "examples"),
    [
        pytest.param(GenerationMode.POSITIVE, True, 4, id="right"),
        pytest.param(GenerationMode.NEGATIVE, True, 3, id="wrong"),
        pytest.param(GenerationMode.POSITIVE, False, 1, id="stranger"),
    ],
)
async def test_no_answer_is_a_500_or_undocumented(
    pool: Entrance, mode: GenerationMode, named: bool, examples: int
) -> None:
    token = (await pool.give("ministry"))[1] if named else None
    document = await pool.told("/openapi.json")
    seen, wrong = await asyncio.to_thread(ask, pool.site.url, document, token, mode, examples)
    assert wrong == []
    good = {path for path, code in seen if code == 200 and path.startswith("/api/v1")}
    if mode is GenerationMode.POSITIVE:
        assert {path for path, _ in seen} == set(document["paths"])
    if not named:
        everybodys = {f"/api/v1/{name}" for name in ("status", "hashrate", "keys", "public-key")}
        assert good <= everybodys, "all others are guarded"
    elif mode is GenerationMode.POSITIVE:
        assert len(good) > 25, "most questions about what is there were answered"
