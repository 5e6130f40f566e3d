"""`/api/v1/miners/{account}/…`: what the miner's page shows, for programs, by the same token.

A program sends it as `Authorization: Bearer TOKEN`. A technician's link opens pages alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from pool.pages.account_reader import AccountReader
from pool.pages.account_view import AccountView, State, WorkersView, WorkerView
from pool.pages.miner_access import MinerAccess
from pool.pages.status_page import HashrateAt, told_points
from pool.pages.worker_rows import PAGE_SIZE, SORT
from pool.pages.worker_rows import Query as Asked
from pool.problems import AWAY, problem, unclear
from pool.register_desk import Answers, Desk, answer, told_as
from pool.status import StatusReader
from register.miner import Language

_REFUSED: Final[Answers] = {
    401: problem("No token, or a wrong one."),
    404: problem("There is no such account, or no such worker."),
    422: unclear("The question cannot be answered as it was put."),
    429: problem("Too many wrong tokens from this address, or too many requests for this account."),
    **AWAY,
}
_Account = Annotated[str, Path(description="The account, as it stands in the miners' firmware.")]


def miner_api(access: MinerAccess, accounts: AccountReader, desk: Desk, status: StatusReader) -> APIRouter:
    """The routes, to be put at the root."""
    router = APIRouter(prefix="/api/v1/miners", tags=["miners"])

    def answers(kind: Any, description: str) -> Answers:
        return {200: told_as(kind, description), **_REFUSED}

    @router.get(
        "/{account}",
        summary="An account: hashrates, shares, workers by state, money, preview, payments, notices",
        responses=answers(AccountView, "As of some seconds ago at most."),
    )
    async def _account(
        request: Request,
        account: _Account,
        lang: Annotated[Language | None, Query(description="Of the notices; else the miner's own.")] = None,
    ) -> Response:
        seen = (await access.of(request, account)).account
        return answer(await accounts.look(seen, lang or seen.miner.language))

    @router.get(
        "/{account}/workers",
        summary="A page of an account's workers, sorted and searched",
        responses=answers(WorkersView, "As of some seconds ago at most; a page behind the last is the last."),
    )
    async def _workers(
        request: Request,
        account: _Account,
        sort: Annotated[str, Query(pattern=SORT, description="- in front: the largest first.")] = "name",
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
        size: Annotated[int, Query(ge=1, le=1000)] = PAGE_SIZE,
        search: Annotated[
            str, Query(max_length=64, description="Part of a worker name or of a registry number.")
        ] = "",
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
    ) -> Response:
        seen = (await access.of(request, account)).account
        return answer(await accounts.page(seen, Asked(sort, page, size, search, state)))

    @router.get(
        "/{account}/workers/{name:path}",
        summary="One worker, or registered hardware unit, of an account",
        responses=answers(WorkerView, "As of some seconds ago at most."),
    )
    async def _worker(request: Request, account: _Account, name: str) -> Response:
        seen = (await access.of(request, account)).account
        found = await accounts.worker(seen, name)
        if found is None:
            raise HTTPException(404, f"{account[:40]} has no worker {name[:64]!r} in the last 24 hours")
        return answer(found)

    @router.get(
        "/{account}/hashrate",
        summary="An account's hashrate over 24 hours, by ten minutes",
        responses=answers(list[HashrateAt], "The oldest first."),
    )
    async def _hashrate(request: Request, account: _Account) -> Response:
        seen = (await access.of(request, account)).account
        await status.current()
        points = status.history.points(desk.now_us(), seen.miner.id)
        return answer(told_points(points, desk.rules.local))

    return router
