"""What earlier versions had entered becomes the first events of the log."""

from __future__ import annotations

import datetime as dt
import json

import rfc8785
import sqlalchemy as sa
from alembic import command
from sqlalchemy.ext.asyncio import AsyncEngine

from pool import register_store
from pool.database import create_engine, migrate
from pool.schema import alembic_config
from register.clerk import Terms
from register.event import canonical
from register.licence import Status
from register.miner import Miner
from register.records import decode
from tests.integration.entering import TESTER
from tests.integration.ledger_world import NOON, RULES

OLD = """
    INSERT INTO miner (name, title, bin, kind, created_at) VALUES
        ('alpha', 'ТОО «Қазына»', '940140000385', 'legal_entity', '2026-01-01 00:00:00+00'),
        ('beta', 'Beta LLP', '990140004654', 'legal_entity', '2026-02-01 00:00:00+00');
    INSERT INTO licence (miner_id, number, subtype, valid_from, valid_to, entered_at) VALUES
        (1, 'KZ-1', 1, '2025-01-01', '2026-12-31', '2026-01-01 00:00:00+00'),
        (2, 'KZ-1', 2, '2026-01-01', '2026-12-31', '2026-02-01 00:00:00+00'),
        (1, 'KZ-9', 1, '2026-06-01', '2027-12-31', '2026-05-20 10:00:00+00');
    INSERT INTO payout_address (miner_id, address, entered_at) VALUES
        (1, 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080', '2026-01-01 00:00:00+00'),
        (2, 'bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry', '2026-02-01 00:00:00+00'),
        (1, 'bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x', '2026-03-01 00:00:00+00');
"""


async def test_an_old_register_becomes_a_log(empty_database_url: str) -> None:
    engine: AsyncEngine = create_engine(empty_database_url)
    async with engine.begin() as connection:
        await connection.run_sync(lambda plain: command.upgrade(alembic_config(plain), "0002"))
        for statement in OLD.split(";")[:-1]:
            await connection.execute(sa.text(statement))
    await migrate(engine)

    register = await register_store.read(engine)
    assert [one.name for one in register.miners.values()] == ["alpha", "beta"]
    assert {one.number for one in register.licences.values()} == {"KZ-1", "KZ-1 (2)", "KZ-9"}
    first = register.licences["KZ-1"].phase_at(NOON, RULES)
    assert first.status is Status.ENDED, "the newest licence counted alone"
    assert register.licences["KZ-1"].acts[0].on == dt.date(2026, 5, 20)
    alpha = register.standing(register.miner("alpha"), NOON, RULES)
    assert alpha.licence is not None
    assert alpha.wallet is not None
    assert (alpha.licence.number, alpha.wallet.address[-4:]) == ("KZ-9", "ld6x")

    head = await register_store.verify_chain(engine)
    assert head.seq == 9
    events = await register_store.events(engine)
    assert [event.kind for event in events[:3]] == ["miner", "licence", "address"]
    for event in events:
        # What a record has learned to tell since then is not in it, and nothing else is missing.
        now = json.loads(canonical(decode(event.kind, event.body)))
        for later in ("payout_threshold_sat", "statement_token_sha256"):
            assert not now.pop(later, None)
        assert rfc8785.dumps(now).decode() == event.body
    async with register_store.writing(engine, Terms(RULES, "regtest"), TESTER, "the next") as clerk:
        assert clerk.enter_miner(Miner(0, "gamma", "Gamma LLP", "940140000385")).id == 3
    assert (await register_store.verify_chain(engine)).seq == 10
    await engine.dispose()
