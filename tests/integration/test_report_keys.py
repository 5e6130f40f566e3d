"""The keys of reports in a real database: the first start, rotation killed at any step, revocation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import rfc8785
import sqlalchemy as sa
import uvloop
from alembic import command
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.typing import EventDict

from pool import key_ceremony, key_task, log_store, report_keys
from pool.clock import instant, unix_microseconds
from pool.config import load
from pool.database import create_engine
from pool.key_ceremony import Ceremony, Done, Held
from pool.key_sources import signers_of
from pool.reports import ReportError, build_report
from pool.resources import key_file, signers
from pool.schema import alembic_config
from pool.signing_section import SigningSection
from pool.tables import report
from pool.tables_log import log_leaf
from pool.tables_report_keys import report_key_event
from reporting.keyring import Action, KeyRing, RingError, read_ring
from reporting.signing import Signer, SigningError, SigningKey, encode, load_or_create, sign
from reporting.verify import verify
from tests.integration.ledger_world import NOON, RULES, World
from tests.integration.office import Office
from tests.integration.web_world import PUBLISHER, serving, settings_of

FIRST, OTHER = SigningKey(b"\x07" * 32), SigningKey(b"\x08" * 32)
HOUR = 3_600_000_000


class Killed(BaseException):
    """The process is gone."""


async def ring_of(engine: AsyncEngine) -> KeyRing:
    async with engine.connect() as connection:
        return await report_keys.read(connection)


async def begun(engine: AsyncEngine, *signers: Signer, at_us: int = NOON) -> KeyRing:
    await report_keys.introduce_first(engine, RULES, signers, lambda: at_us)
    return await ring_of(engine)


async def signed_at(engine: AsyncEngine, at_us: int, *signers: Signer) -> dict[str, Any]:
    document = {"generated_at": RULES.local(at_us).isoformat(), "what": "told"}
    async with engine.begin() as connection:
        return await report_keys.sign_report(connection, document, signers)


async def leaves(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        rows = await connection.scalars(
            sa.select(log_leaf.c.data).where(log_leaf.c.kind == "key").order_by(log_leaf.c.index)
        )
        return [json.loads(data) for data in rows]


def ids(envelope: dict[str, Any]) -> list[str]:
    return [one["key_id"] for one in envelope["signatures"]]


# The first start


async def test_the_first_start_introduces_the_key_at_hand_once(engine: AsyncEngine) -> None:
    """With its leaf in the log; the second start finds it there."""
    ring = await begun(engine, FIRST)
    assert await begun(engine, OTHER, at_us=NOON + HOUR) == ring
    (event,) = [entry["event"] for entry in ring.entries]
    assert (event["action"], event["key_id"], event["authorised_by"]) == ("introduced", FIRST.key_id, None)
    assert event["at"] == event["valid_from"] == RULES.local(NOON).isoformat()
    (leaf,) = await leaves(engine)
    assert leaf == {
        "kind": "key",
        "at": instant(NOON).isoformat(),
        "event_sha256": ring.head,
        **{name: event[name] for name in ("action", "key_id", "public_key", "algorithm", "reason")},
        **{name: event[name] for name in ("valid_from", "valid_to", "authorised_by")},
    }
    async with engine.connect() as connection:
        row = (await connection.execute(sa.select(report_key_event))).one()
    assert (row.seq, row.leaf_index, row.actor, row.sha256) == (1, 0, "system", ring.head)
    assert json.loads(row.entry) == ring.entries[0]


async def test_two_first_starts_at_once_begin_one_list(engine: AsyncEngine) -> None:
    rings = await asyncio.gather(begun(engine, FIRST), begun(engine, OTHER), begun(engine, FIRST))
    assert rings[0] == rings[1] == rings[2]
    assert len(rings[0].entries) == len(await leaves(engine)) == 1


async def test_several_keys_at_the_first_start_vouched_for_by_the_first(engine: AsyncEngine) -> None:
    ring = await begun(engine, FIRST, OTHER)
    assert ring.reached_from(FIRST.public_key) == {FIRST.key_id, OTHER.key_id}
    envelope = await signed_at(engine, NOON, OTHER, FIRST)
    assert ids(envelope) == [OTHER.key_id, FIRST.key_id]


async def test_a_pool_that_reported_before_goes_on_with_its_key(engine: AsyncEngine) -> None:
    """I7: what the key signed before there was a list is verified by the list."""
    async with engine.begin() as connection:
        for sequence, key, at_us in ((1, OTHER, NOON - 9 * HOUR), (2, FIRST, NOON - 5 * HOUR)):
            await connection.execute(
                sa.insert(report).values(
                    sequence=sequence,
                    day=instant(at_us).date(),
                    version=sequence,
                    sha256=str(sequence),
                    previous_sha256="1" if sequence == 2 else None,
                    replaces_sha256="1" if sequence == 2 else None,
                    envelope=rfc8785.dumps({"signatures": [{"public_key": key.public_key}]}),
                    built_at=instant(at_us),
                )
            )
    ring = await begun(engine, FIRST)
    assert ring.keys[FIRST.key_id].valid_from == RULES.local(NOON - 5 * HOUR)


async def test_the_process_that_builds_reports_begins_the_list(
    engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[EventDict]
) -> None:
    """A source that cannot be used is told, and tried again; no other role suffers."""
    monkeypatch.setattr(key_task, "KEY_SECONDS", 0.01)
    path = tmp_path / "keys" / "report.key"
    path.parent.mkdir()
    path.write_text("nonsense")
    path.chmod(0o600)
    beginning = asyncio.create_task(key_task.first_key(settings_of(tmp_path), RULES, engine))
    async with asyncio.timeout(20):
        while "report_key_unusable" not in [one["event"] for one in told]:
            await asyncio.sleep(0.01)
        assert not (await ring_of(engine)).entries
        path.unlink()
        while not (ring := await ring_of(engine)).entries:
            await asyncio.sleep(0.01)
    beginning.cancel()
    assert list(ring.keys) == [load_or_create(path).key_id]


# Who signs


async def test_only_keys_in_force_sign_and_without_one_nothing_is_signed(engine: AsyncEngine) -> None:
    """I7."""
    await begun(engine, FIRST)
    assert ids(await signed_at(engine, NOON, OTHER, FIRST)) == [FIRST.key_id]
    for at_us, at_hand, said in (
        (NOON, [OTHER], f"key {OTHER.key_id} is not in the list of keys; in force: {FIRST.key_id}"),
        (NOON, [], f"no key at hand may sign: there is none; in force: {FIRST.key_id}"),
        (NOON - 1, [FIRST], "was not in force before"),
    ):
        with pytest.raises(SigningError, match=said):
            await signed_at(engine, at_us, *at_hand)


async def test_a_list_that_was_tampered_with_signs_nothing(engine: AsyncEngine) -> None:
    await begun(engine, FIRST)
    async with engine.begin() as connection:
        await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        other = KeyRing().draft(
            Action.INTRODUCED, OTHER.public_key, RULES.local(NOON), "r", authorised_by=None
        )
        forged = {**(await report_keys.read(connection)).entries[0], "event": other}
        await connection.execute(sa.update(report_key_event).values(entry=rfc8785.dumps(forged)))
    with pytest.raises(RingError, match="key event 1: event_sha256 is not the hash of the event"):
        await signed_at(engine, NOON, FIRST)


async def test_there_is_no_way_back_once_a_key_was_introduced(engine: AsyncEngine) -> None:
    await begun(engine, FIRST)
    async with engine.connect() as connection:
        with pytest.raises(RuntimeError, match="restore a backup instead of going back"):
            await connection.run_sync(lambda one: command.downgrade(alembic_config(one), "0006"))


# Ceremonies


class Site:
    """A machine with its key in a file, and a clock that ticks."""

    def __init__(self, engine: AsyncEngine, directory: Path) -> None:
        self.engine = engine
        self.file = directory / "report.key"
        self.section = SigningSection()
        self.now_us = NOON
        self.first = load_or_create(self.file)

    def at_hand(self) -> list[Signer]:
        return signers_of(self.section, self.file)

    def ceremony(self, reason: str = "for a test") -> Ceremony:
        self.now_us += HOUR
        return Ceremony(self.engine, RULES, self.section, self.file, "aset", reason, lambda: self.now_us)

    def use(self, *keys: dict[str, Any]) -> None:
        self.section = SigningSection.model_validate({"keys": keys})

    async def sign(self) -> list[str]:
        return ids(await signed_at(self.engine, self.now_us, *self.at_hand()))


@pytest_asyncio.fixture
async def site(engine: AsyncEngine, tmp_path: Path) -> Site:
    made = Site(engine, tmp_path)
    await begun(engine, *made.at_hand())
    return made


async def test_a_rotation_makes_a_key_and_puts_the_old_one_aside(site: Site) -> None:
    done = await site.ceremony().rotate(None, None)
    assert (done.replaced, done.old_secret) == (
        site.first.key_id,
        site.file.with_name(f"report.key.{site.first.key_id}"),
    )
    assert load_or_create(site.file).key_id == done.key_id != site.first.key_id
    assert done.old_secret is not None
    assert load_or_create(done.old_secret) == site.first
    assert sorted(path.name for path in site.file.parent.iterdir()) == ["report.key", done.old_secret.name]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in site.file.parent.iterdir())
    assert await site.sign() == [done.key_id]
    ring = await ring_of(site.engine)
    assert ring.reached_from(site.first.public_key) == {site.first.key_id, done.key_id}
    assert [leaf["action"] for leaf in await leaves(site.engine)] == ["introduced", "rotated"]
    async with site.engine.connect() as connection:
        assert list(await connection.scalars(sa.select(report_key_event.c.actor))) == ["system", "aset"]


def _dies(*_: Any, **__: Any) -> None:
    raise Killed


def _does_and_dies(do: Callable[..., Any]) -> Callable[..., None]:
    def dying(*arguments: Any) -> None:
        do(*arguments)
        raise Killed

    return dying


@pytest.mark.parametrize(
    ("where", "name", "deed", "stored"),
    [
        pytest.param(key_ceremony.report_keys, "add", _dies, False, id="before the event is stored"),
        pytest.param(key_ceremony, "_swap", _dies, True, id="after the event was stored"),
        pytest.param(key_ceremony, "settle", _dies, True, id="after the old secret was linked"),
        pytest.param(
            key_ceremony, "settle", _does_and_dies(key_ceremony.settle), True, id="after all was done"
        ),
    ],
)
async def test_a_rotation_killed_between_any_two_steps_is_finished_when_done_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, deed: Any, stored: bool
) -> None:
    """I7: no key is lost, none is entered twice, and no report is signed by a key that was replaced."""
    with monkeypatch.context() as dying:
        dying.setattr(where, name, deed)
        with pytest.raises(Killed):
            await site.ceremony().rotate(None, None)
    ring = await ring_of(site.engine)
    assert len(ring.entries) == (2 if stored else 1)
    swapped = load_or_create(site.file) != site.first
    if stored and not swapped:
        with pytest.raises(
            SigningError, match=r"was replaced by .* finish a rotation by `dmpool keys rotate`"
        ):
            await site.sign()
    else:
        assert await site.sign() == [load_or_create(site.file).key_id]
    done = await site.ceremony().rotate(None, None)
    ring = await ring_of(site.engine)
    assert len(ring.entries) == (3 if swapped else 2), "what was begun is finished, not begun again"
    assert await site.sign() == [done.key_id] == [key.key_id for key in ring.in_force(instant(site.now_us))]
    assert len(ring.reached_from(site.first.public_key)) == len(ring.keys)
    assert not site.file.with_name("report.key.next").exists()
    assert load_or_create(site.file.with_name(f"report.key.{site.first.key_id}")) == site.first


async def test_a_commit_whose_answer_was_lost_is_found_done(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rotation to a source that is named: all of it is in the database."""
    monkeypatch.setenv("REPORT_KEY", OTHER.secret.hex())
    site.use({"file": str(site.file)}, {"environment": "REPORT_KEY"})
    assert await site.sign() == [site.first.key_id], "a key that was not entered signs nothing"
    for _ in range(2):
        done = await site.ceremony().rotate(None, OTHER.key_id)
        assert done == Done(OTHER.key_id, OTHER.public_key, site.first.key_id, None)
        assert await site.sign() == [OTHER.key_id]
    assert len((await ring_of(site.engine)).entries) == 2


async def test_a_key_that_took_one_place_is_not_told_to_have_taken_another(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = SigningKey(b"\x09" * 32)
    for name, key in (("REPORT_KEY", OTHER), ("THIRD_KEY", third)):
        monkeypatch.setenv(name, key.secret.hex())
    site.use({"file": str(site.file)}, {"environment": "REPORT_KEY"}, {"environment": "THIRD_KEY"})
    await site.ceremony().introduce(third.key_id, anchor=False)
    await site.ceremony().rotate(site.first.key_id, OTHER.key_id)
    with pytest.raises(RingError, match=f"key {OTHER.key_id} is in the list already"):
        await site.ceremony().rotate(third.key_id, OTHER.key_id)
    done = await site.ceremony().rotate(site.first.key_id, OTHER.key_id)
    assert done.replaced == site.first.key_id
    assert await site.sign() == [OTHER.key_id, third.key_id]


async def test_a_second_key_is_introduced_and_both_sign(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPORT_KEY", OTHER.secret.hex())
    site.use({"file": str(site.file)}, {"environment": "REPORT_KEY"})
    with pytest.raises(RingError, match="is at hand and in force: let it vouch"):
        await site.ceremony().introduce(OTHER.key_id, anchor=True)
    assert await site.ceremony().introduce(OTHER.key_id, anchor=False) == OTHER.public_key
    assert await site.sign() == [site.first.key_id, OTHER.key_id]
    with pytest.raises(RingError, match="name one by --old"):
        await site.ceremony().rotate(None, None)
    with pytest.raises(RingError, match=f"key {OTHER.key_id} is in no file"):
        await site.ceremony().rotate(OTHER.key_id, None)
    with pytest.raises(RingError, match="key 0000000000000000 is not at hand"):
        await site.ceremony().introduce("0" * 16, anchor=False)
    done = await site.ceremony().rotate(site.first.key_id, None)
    assert await site.sign() == [done.key_id, OTHER.key_id]


async def test_a_stolen_key_is_revoked_and_what_it_signed_before_stands(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I7: by another key where there is one."""
    monkeypatch.setenv("REPORT_KEY", OTHER.secret.hex())
    site.use({"file": str(site.file)}, {"environment": "REPORT_KEY"})
    await site.ceremony().introduce(OTHER.key_id, anchor=False)
    before = await signed_at(site.engine, site.now_us, site.first)
    stolen_us = site.now_us + HOUR // 2
    await site.ceremony("stolen").revoke(site.first.key_id, stolen_us)
    ring = await ring_of(site.engine)
    assert ring.entries[-1]["event"]["authorised_by"] == OTHER.key_id
    assert await site.sign() == [OTHER.key_id]
    listed = encode(ring.document())

    def seals(envelope: dict[str, Any]) -> list[str]:
        checks = verify(encode(envelope), site.first.public_key, listed)
        return [check.detail for check in checks[:6] if not check.passed]

    assert seals(before) == []
    document = {"generated_at": RULES.local(stolen_us).isoformat()}
    (said,) = seals(sign(document, [site.first]))
    assert "was revoked" in said
    assert "stolen" in said


async def test_days_that_a_thief_might_have_signed_are_told_once_more(world: World) -> None:
    """I7: a report whose key was revoked afterwards stays; its next version is signed by a key in force."""
    day = RULES.day_of(NOON)

    async def build(at_us: int, *at_hand: Signer, reason: str = "later data") -> bytes:
        by = replace(PUBLISHER, signers=at_hand)
        return await build_report(world.engine, day, by, at_us, unfinished=True, reason=reason)

    async def good(envelope: bytes) -> bool:
        listed = encode((await ring_of(world.engine)).document())
        return all(check.passed for check in verify(envelope, FIRST.public_key, listed))

    first = await build(NOON, FIRST, OTHER)
    assert ids(json.loads(first)) == [FIRST.key_id, OTHER.key_id]
    assert await good(first)
    assert await build(NOON + HOUR, FIRST) == first
    async with world.engine.begin() as connection:
        await log_store.lock(connection)
        ring = await report_keys.read(connection)
        event = ring.draft(
            Action.REVOKED,
            OTHER.public_key,
            RULES.local(NOON + 2 * HOUR),
            "stolen",
            authorised_by=FIRST.key_id,
            valid_to=RULES.local(NOON),
        )
        await report_keys.add(connection, ring, event, [FIRST], "aset")
    assert not await good(first)
    second = await build(NOON + 3 * HOUR, FIRST, OTHER, reason="its key was revoked")
    told = json.loads(second)
    assert (told["report"]["version"], told["report"]["correction_reason"]) == (2, "its key was revoked")
    assert told["report"]["replaces_sha256"] == json.loads(first)["report_sha256"]
    assert ids(told) == [FIRST.key_id]
    assert await good(second)
    assert await build(NOON + 4 * HOUR, FIRST) == second
    by = replace(PUBLISHER, signers=(OTHER,))
    with pytest.raises(ReportError, match="cannot be signed: no key at hand may sign"):
        await build_report(world.engine, RULES.day_of(NOON - 24 * HOUR), by, NOON + 5 * HOUR)


async def test_the_only_key_revokes_itself_and_a_new_anchor_begins_a_new_line(site: Site) -> None:
    """When all is lost: nothing is signed until somebody enters a key that nobody vouches for."""
    await site.ceremony().revoke(site.first.key_id, None)
    with pytest.raises(SigningError, match=r"was revoked .* in force: none"):
        await site.sign()
    site.file.unlink()
    (fresh,) = site.at_hand()
    with pytest.raises(RingError, match="no key in force is at hand to vouch"):
        await site.ceremony().introduce(fresh.key_id, anchor=False)
    with pytest.raises(RingError, match="no key in force is at hand to authorise"):
        await site.ceremony().revoke(site.first.key_id, None)
    await site.ceremony().introduce(fresh.key_id, anchor=True)
    assert await site.sign() == [fresh.key_id]
    ring = await ring_of(site.engine)
    assert fresh.key_id not in ring.reached_from(site.first.public_key)


async def test_a_rotation_waits_for_a_report_that_is_being_signed(site: Site) -> None:
    """I7: else a report could be dated after its key was replaced."""
    order: list[str] = []
    document = {"generated_at": RULES.local(site.now_us).isoformat()}
    async with site.engine.begin() as connection:
        await report_keys.sign_report(connection, document, site.at_hand())
        ceremony = site.ceremony()

        def clock() -> int:
            order.append("clock of the rotation")
            return site.now_us

        rotating = asyncio.create_task(replace(ceremony, now_us=clock)._put_in_place(*_to_other(site)))
        await _waiting_for_a_lock(site.engine)
        order.append("report done")
    await rotating
    assert order == ["report done", "clock of the rotation"]


def _to_other(site: Site) -> tuple[Held, Held, list[Held]]:
    held = [Held(site.first, site.file), Held(OTHER, None)]
    return held[1], held[0], held


async def _waiting_for_a_lock(engine: AsyncEngine) -> None:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'log_leaf'::regclass")
    async with asyncio.timeout(20), engine.connect() as connection:
        while not await connection.scalar(waiting):
            await asyncio.sleep(0.01)


# Commands and HTTP


def test_the_commands(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(tmp_path, database_url)
    assert "there is no list of keys yet" in office.fail("keys rotate")
    settings = load(office.config)
    (first,) = signers(settings)

    async def begin() -> None:
        engine = create_engine(database_url)
        await report_keys.introduce_first(engine, RULES, [first], unix_microseconds)
        await engine.dispose()

    uvloop.run(begin())
    assert first.key_id in office.see("keys list")
    said = office.do("keys rotate")
    (second,) = signers(settings)
    assert f"key {second.key_id} signs reports in place of {first.key_id}" in said
    assert f"report.key.{first.key_id}: destroy it" in said
    shown = office.see("keys list")
    assert f"replaced by {second.key_id} on" in shown
    assert "itself: an anchor" in shown
    monkeypatch.setenv("REPORT_KEY", OTHER.secret.hex())
    with office.config.open("a") as file:
        file.write(
            f'\n[[signing.keys]]\nfile = "{key_file(settings)}"\n'
            f'[[signing.keys]]\nenvironment = "REPORT_KEY"\n'
        )
    assert f"key {OTHER.key_id} is at hand and signs nothing" in office.see("keys list")
    assert OTHER.public_key in office.do(f"keys introduce {OTHER.key_id}")
    assert "is revoked" in office.do(f"keys revoke {second.key_id}")
    assert "revoked from" in office.see("keys list")
    assert "is revoked already" in office.fail(f"keys revoke {second.key_id}")
    assert "cannot be revoked from" in office.fail(f"keys revoke {OTHER.key_id} --since 2020-01-01")
    office.do("people add boss --role compliance")
    assert "who acts is not known" in office.fail("keys rotate --old 7")


async def test_the_list_is_served_with_its_proofs(world: World, tmp_path: Path) -> None:
    """O-43: whoever took one key can follow the others from what the pool serves."""
    async with serving(world.engine, world, tmp_path) as site:
        code, _, body = await site.get("/api/v1/public-key")
        assert (code, b"no key is in force" in body) == (404, True)
        ring = read_ring((await site.get("/api/v1/keys"))[2])
        assert ring == KeyRing()
        await begun(world.engine, FIRST, at_us=world.now_us)
        told = json.loads((await site.get("/api/v1/public-key"))[2])
        assert told == {"algorithm": "bip340", "public_key": FIRST.public_key, "key_id": FIRST.key_id}
        code, headers, body = await site.get("/api/v1/keys")
        assert (code, headers["Content-Type"]) == (200, "application/json")
        assert read_ring(body) == await ring_of(world.engine)
        code, _, body = await site.get("/api/v1/reports/2026-11-24/1/signatures")
        assert (code, b"there is no version 1" in body) == (404, True)
