"""`/log/`: the transparency log for whoever follows, mirrors or witnesses it (C2SP tlog-tiles).

The files are served as they lie in `data_dir/log/` (`pool.log_files`). A checkpoint changes and is not to be
kept; a tile never does. When a checkpoint or a tile is asked for that the database has and the directory does
not, the directory is brought up to date first; without the database what is there is served.
"""

from __future__ import annotations

import asyncio
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, HTTPException, Path, Request, Response

from pool.door_files import described, public_answer
from pool.log_files import CHECKPOINT, LogFiles
from pool.log_store import LogError
from pool.problems import problem
from pool.reading import DatabaseAway
from reporting.tiles import parse_path

log = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 2.0
_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_KEEP: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {404: problem("There is no such file in the log.")}
_CHECKPOINT: Final[dict[int | str, dict[str, Any]]] = {
    **described("A signed note.", "text/plain"),
    503: problem("The database is away, and nothing was published; ask again."),
    **_ANSWERS,
}
_TILE: Final[dict[int | str, dict[str, Any]]] = {
    **described("Hashes, or entries.", _BYTES),
    503: problem("The database is away, and nothing was published; ask again."),
    **_ANSWERS,
}


def log_router(files: LogFiles) -> APIRouter:
    """The routes, to be put at the root."""
    router = APIRouter(prefix="/log", tags=["log"])
    refresher = _Refresher(files)

    @router.get(
        f"/{CHECKPOINT}", responses=_CHECKPOINT, response_class=Response, summary="The newest signed state"
    )
    async def _checkpoint(request: Request) -> Response:
        await refresher.refresh()
        return public_answer(request, await _read(files.directory / CHECKPOINT), _TEXT)

    @router.get(
        "/tile/{path:path}",
        responses=_TILE,
        response_class=Response,
        summary="A tile of hashes (tile/0/000, tile/0/000.p/7) or a bundle of entries (tile/entries/000)",
    )
    async def _tile(request: Request, path: Annotated[str, Path(max_length=60)]) -> Response:
        try:
            place = files.directory / parse_path(f"tile/{path}").path
        except ValueError as error:
            raise HTTPException(404, str(error)) from None
        if not await asyncio.to_thread(place.exists):
            await refresher.refresh()
        return public_answer(request, await _read(place), _BYTES, _KEEP)

    return router


async def _read(place: FilePath) -> bytes:
    try:
        return await asyncio.to_thread(place.read_bytes)
    except OSError:
        raise HTTPException(404, f"the log has no {place.name} there") from None


class _Refresher:
    """Looks into the database now and then, however many ask."""

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._lock = asyncio.Lock()
        self._looked = -REFRESH_SECONDS
        self._away = ""

    async def refresh(self) -> None:
        """Raises DatabaseAway where nothing at all was published."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._looked >= REFRESH_SECONDS:
                self._looked, self._away = now, ""
                try:
                    await self._files.refresh()
                except (LogError, OSError) as error:
                    log.error("log_files_fail", reason=str(error))
                except DatabaseAway as error:
                    self._away = str(error)
            if self._away and not (self._files.directory / CHECKPOINT).exists():
                raise DatabaseAway(self._away)
