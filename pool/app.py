"""A dmpool process: which roles it has, in which order they start, and how they end.

One process may have all roles (`dmpool run`) or one. Mistakes of the configuration end it before anything is
bound (`ConfigError`). After that no role takes another down: one that fails is logged and started again,
because a miner must be able to mine whatever happens downstream.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from pool import demo, gateway_store, register_store
from pool.config import ConfigError, Settings
from pool.database import UNAVAILABLE, DatabaseError, migrate, reason_of
from pool.door_tls import door_certificate
from pool.forwarder import Forwarder
from pool.gateway import Gateway
from pool.ledger_role import start_ledger
from pool.live_register import LiveRegister
from pool.metrics import Metrics
from pool.preflight import (
    Addresses,
    Role,
    addresses_of,
    in_use,
    lock,
    refuse_unaccredited,
    refuse_wrong_chain,
    require_certificate,
    require_free,
)
from pool.process import Process
from pool.register_follower import RegisterFollower
from pool.register_replica import RegisterReplica, ReplicaError
from pool.resources import (
    open_nodes,
    rules_of,
    serving_database,
    terms_of,
    until_available,
)
from pool.software import note_software
from pool.spool import Spool, SpoolError
from pool.telemetry.health import Condition, service
from pool.telemetry.listener import Listener
from pool.telemetry.node_meter import MeasuredNodes
from pool.telemetry.node_watch import NodeWatch
from pool.telemetry.readiness import gateway_condition, web_condition
from register.records import GATE_KINDS
from register.register import Register

log = structlog.get_logger(__name__)

BEAT_SECONDS = 2.0
LAST_PUSH_SECONDS = 5.0
QUERY_SECONDS = 15.0
"""A small query that takes longer is given up: the host of PostgreSQL may have vanished without a word."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""Of the collector's three generations; sessions and jobs have no cycles and go when nobody needs them."""


async def run(
    settings: Settings, roles: frozenset[Role], started: Callable[[Addresses, Settings], None]
) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP. Raises ConfigError for what the operator must mend."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    addresses = addresses_of(settings, roles)
    require_free(addresses)
    if Role.GATEWAY in roles:
        require_certificate(settings)
    if Role.WEB in roles:
        door_certificate(settings.door)
    serving = asyncio.create_task(_serve(settings, roles, lambda: started(addresses, settings)))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        log.info("stopping")
        serving.cancel()
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        try:
            await serving
        except (DatabaseError, SpoolError, ReplicaError) as error:
            raise ConfigError(str(error)) from error


async def _serve(settings: Settings, roles: frozenset[Role], started: Callable[[], None]) -> None:
    async with AsyncExitStack() as stack:
        lock(settings.data_dir, roles, stack.enter_context(ExitStack()))
        process = await _prepare(settings, roles, stack)
        async with _running(process):
            settle_garbage()
            started()
            service.tell("READY=1")
            await asyncio.Event().wait()


def settle_garbage() -> None:
    """Full collections stop every miner for tens of milliseconds and find next to nothing: make them rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


async def _prepare(settings: Settings, roles: frozenset[Role], stack: AsyncExitStack) -> Process:
    metrics = Metrics(role.value for role in roles)
    nodes = open_nodes(settings, roles, MeasuredNodes(metrics))
    for node in nodes:
        stack.push_async_callback(node.close)
    await refuse_wrong_chain(nodes)
    engine = await stack.enter_async_context(
        serving_database(settings, alone=lambda: not in_use(settings.data_dir, besides=roles))
    )
    spool = replica = None
    if Role.GATEWAY in roles:
        spool = Spool(
            settings.data_dir / "spool.db",
            asyncio.get_running_loop(),
            lambda seconds, records: _count_commit(metrics, seconds, records),
        )
        stack.push_async_callback(spool.close)
        replica = RegisterReplica(settings.data_dir / "register.db")
        stack.callback(replica.close)
    if roles & {Role.LEDGER, Role.WEB}:
        await asyncio.to_thread(note_software)
    return Process(settings, roles, rules_of(settings), engine, nodes, metrics, spool, replica)


def _count_commit(metrics: Metrics, seconds: float, records: int) -> None:
    metrics.commit_seconds.observe(seconds)
    metrics.commit_records.inc(records)


@asynccontextmanager
async def _running(process: Process) -> AsyncIterator[None]:
    """All roles as tasks; on the way out the gateway ends first, so that its last shares still travel."""
    listener = Listener(process.settings.metrics.listen, process.metrics.registry, process.health)
    tasks: list[asyncio.Task[None]] = []
    forwarder: Forwarder | None = None
    gateway: Gateway | None = None
    tasks.append(process.supervise("process watch", process.watch.run))
    beating = process.supervise("health", process.health.run)  # until the very end
    try:
        if process.settings.demo_miners:
            await until_available(lambda: migrate(process.engine))
            await demo.enter_miners(process.engine, terms_of(process.settings, process.rules))
        if process.spool is not None and process.replica is not None:
            gateway, forwarder, follower = await _gateway(process, process.spool, process.replica)
            process.metrics.on_scrape(partial(_read_forwarder, process.metrics, forwarder))
            process.health.watch("gateway", partial(gateway_condition, gateway, process.watch.answers))
            node_watch = NodeWatch(process.nodes, process.metrics, gateway.work.failing)
            tasks.append(process.supervise("node watch", node_watch.run))
            tasks.append(process.supervise("gateway", gateway.run))
            tasks.append(process.supervise("control", gateway.control.run))
            tasks.append(process.supervise("forwarder", forwarder.run))
            tasks.append(process.supervise("register", follower.run))
            tasks.append(process.supervise("heartbeat", lambda: _beat(process, gateway, forwarder)))
        live = LiveRegister(process.engine)  # of the ledger's metrics and the web, in one process or two
        if Role.LEDGER in process.roles:
            tasks += start_ledger(process, live)
        if Role.WEB in process.roles:
            tasks.append(process.supervise("web", lambda: _web(process, live)))
        machines = demo.machines(process.settings.demo_miners, process.settings.stratum.listen)
        tasks.extend(asyncio.create_task(machine.run()) for machine in machines)
        yield
    finally:
        process.health.stop()
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if forwarder is not None and gateway is not None:
            await _last_push(forwarder)
            await _last_sightings(process, gateway)
        beating.cancel()
        listener.close()


async def _gateway(
    process: Process, spool: Spool, replica: RegisterReplica
) -> tuple[Gateway, Forwarder, RegisterFollower]:
    """The gateway with its number and its register, from PostgreSQL or from what it remembers."""
    number_known = spool.recall("gateway_number")
    known = await asyncio.to_thread(replica.load)
    if number_known is None or known is None:
        await until_available(lambda: migrate(process.engine))
        number = await until_available(
            lambda: gateway_store.register_gateway(process.engine, spool.identity, socket.gethostname())
        )
        spool.remember("gateway_number", str(number).encode())
    else:
        number = int(number_known)
    register = known or Register()
    gateway = Gateway(
        process.settings, process.nodes, spool, number, register, process.rules, process.metrics
    )
    follower = RegisterFollower(process.engine, register, GATE_KINDS, gateway.register_changed, replica)
    if known is None:
        await until_available(follower.catch_up)
    else:
        await _hear_of_changes(follower)
    refuse_unaccredited(process.settings, process.rules, register, time.time_ns() // 1000)
    forwarder = Forwarder(process.engine, spool, number, process.metrics.forward_seconds.observe)
    return gateway, forwarder, follower


async def _hear_of_changes(follower: RegisterFollower) -> None:
    """What changed while the gateway was down; without PostgreSQL it keeps to what it knew."""
    try:
        async with asyncio.timeout(QUERY_SECONDS):
            await follower.catch_up()
    except ReplicaError as error:
        log.error("register_copy_failed", reason=str(error))
    except UNAVAILABLE as error:
        log.warning(
            "database_away",
            part="register",
            reason=reason_of(error),
            explained="not up to date at the start; keeping to what is known",
        )


def _read_forwarder(metrics: Metrics, forwarder: Forwarder) -> None:
    metrics.gateway.batches = forwarder.batches
    metrics.gateway.forward_failures = forwarder.failures


async def _beat(process: Process, gateway: Gateway, forwarder: Forwarder) -> None:
    counts = process.metrics.gateway
    while True:
        job = gateway.book.current
        sign = gateway_store.Beat(
            connections=len(gateway.server.connections),
            job_height=job.template.height if job else None,
            job_at=gateway.work.job_at,
            shares_accepted=counts.accepted.total(),
            shares_rejected=counts.rejected.total(),
        )
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                await gateway_store.beat(process.engine, gateway.number, sign)
                await _tell_sightings(process, gateway)
        except UNAVAILABLE as error:
            log.debug("heartbeat_failed", reason=str(error))
        await asyncio.sleep(BEAT_SECONDS)


async def _tell_sightings(process: Process, gateway: Gateway) -> None:
    """What the gateway saw goes to PostgreSQL; what does not get there is kept for the next beat.

    Where the connection broke at the very end it may have got there: it is then counted twice, never lost.
    """
    seen = gateway.sightings.drain()
    try:
        await register_store.add_sightings(process.engine, seen)
    except BaseException:
        gateway.sightings.put_back(seen)
        raise


async def _web(process: Process, live: LiveRegister) -> None:
    from pool.web import WebServer, create_app  # noqa: PLC0415 - a gateway alone has no need of it

    settings = process.settings
    app = create_app(process.engine, settings, process.rules, live=live, metrics=process.metrics)
    certificate = door_certificate(settings.door)
    if certificate is not None:
        process.metrics.door_certificate_end.set_function(certificate.ends)
    servers = [WebServer(app, settings.web.listen)]
    if settings.door.tls is not None and certificate is not None:
        servers.append(WebServer(app, settings.door.tls.listen, certificate))

    def condition() -> Condition:
        return web_condition(all(server.listening for server in servers), process.watch.answers)

    process.health.watch("web", condition)
    async with asyncio.TaskGroup() as serving:
        serving.create_task(app.state.pages.follow())
        if certificate is not None:
            serving.create_task(certificate.follow())
        for server in servers:
            serving.create_task(server.run())


async def _last_push(forwarder: Forwarder) -> None:
    """What was accepted last goes to PostgreSQL now if it can; else at the next start."""
    try:
        async with asyncio.timeout(LAST_PUSH_SECONDS):
            while await forwarder.push():
                pass
    except Exception as error:  # the stop must go on, whatever it is
        reason = str(error).split("\n", 1)[0] or "PostgreSQL does not answer"
        log.warning(
            "last_shares_kept", reason=reason, explained="they stay in the spool until the next start"
        )


async def _last_sightings(process: Process, gateway: Gateway) -> None:
    try:
        async with asyncio.timeout(LAST_PUSH_SECONDS):
            await _tell_sightings(process, gateway)
    except Exception as error:  # the stop must go on, whatever it is
        log.warning("last_sightings_lost", reason=reason_of(error))
