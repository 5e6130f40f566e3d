"""Both kinds of event loop: what production runs on, and the standard library's."""

import asyncio
from typing import Any

import pytest
import uvloop

from tests.stratum.server_world import Loop, Run, Scenario, run_scenario


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario to its end, in a world with these limits."""
    factory: Loop = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop

    def runner(scenario: Scenario, **limits: Any) -> None:
        run_scenario(factory, scenario, limits)

    return runner
