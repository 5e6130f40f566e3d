"""On chain main: a gateway takes no work before the pool's accreditation is in the register (O-20, O-21)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import app, preflight
from pool.config import ConfigError, Settings
from pool.metrics import Metrics
from pool.process import Process
from pool.register_replica import RegisterReplica
from pool.register_store import writing
from pool.resources import open_nodes
from pool.spool import Spool
from register.clerk import Terms
from register.person import Actor, Person, Role, token_hash
from register.pool_data import Accreditation
from tests.integration.entering import FIRST, TESTER
from tests.integration.ledger_world import RULES

MAIN = {
    "name": "Tengri Digital Pool LLP",
    "bin": "230440000105",
    "chain": "main",
    "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
}
NODE = {"url": "http://user:password@127.0.0.1:1"}


async def begin(engine: AsyncEngine, directory: Path) -> None:
    """What a gateway does before it serves; raises ConfigError."""
    settings = Settings.model_validate({"data_dir": directory, "pool": MAIN, "nodes": [NODE]})
    spool = Spool(directory / "spool.db", asyncio.get_running_loop(), lambda seconds, records: None)
    replica = RegisterReplica(directory / "register.db")
    roles = frozenset({preflight.Role.GATEWAY})
    nodes = open_nodes(settings, roles)
    process = Process(settings, roles, RULES, engine, nodes, Metrics(), spool, replica)
    try:
        await app._gateway(process, spool, replica)
    finally:
        await spool.close()
        replica.close()
        for node in nodes:
            await node.close()


async def test_o20_a_gateway_begins_when_the_accreditation_was_entered(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    """Also when it had been refused before, and so has a copy of the register without it."""
    terms = Terms(RULES, "main", production=True)
    async with writing(engine, terms, TESTER, "the first") as clerk:
        clerk.put_person(Person("anna", Role.COMPLIANCE, token_hash("t")))
    with pytest.raises(ConfigError, match="enter it with `dmpool pool accredit`"):
        await begin(engine, tmp_path)
    anna = Actor("anna", Role.COMPLIANCE)
    async with writing(engine, terms, anna, "order 1") as clerk:
        clerk.put_accreditation(Accreditation("A-1", FIRST))
    await begin(engine, tmp_path)
