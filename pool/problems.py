"""Why there is no answer: the body of every refusal of the API, and how OpenAPI tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer."""

    detail: str


def problem(description: str) -> dict[str, Any]:
    """An answer with a `Problem`, for OpenAPI; as a model it would cost the start of each route time."""
    schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def unclear(description: str) -> dict[str, Any]:
    """A question that cannot be answered as it was put: a sentence, or FastAPI's words on each part."""
    parts = {"type": "array", "items": {"type": "object"}}
    schema = {
        "type": "object",
        "properties": {"detail": {"anyOf": [{"type": "string"}, parts]}},
        "required": ["detail"],
    }
    return {"description": description, "content": {"application/json": {"schema": schema}}}


AWAY: Final[dict[int | str, dict[str, Any]]] = {503: problem("The database is away; ask again.")}
