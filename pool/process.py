"""What the roles of one process share: settings, database, nodes, metrics, and who watches over its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from pool.config import Settings
from pool.metrics import Metrics
from pool.node import Node
from pool.preflight import Role
from pool.register_replica import RegisterReplica
from pool.spool import Spool
from pool.telemetry.health import Health
from pool.telemetry.process import ProcessWatch, Supervisor
from register.rules import Rules


@dataclass(slots=True)
class Process:
    """The parts that the roles of one process share."""

    settings: Settings
    roles: frozenset[Role]
    rules: Rules
    engine: AsyncEngine
    nodes: list[Node]
    metrics: Metrics
    spool: Spool | None
    replica: RegisterReplica | None
    supervisor: Supervisor = field(init=False)
    health: Health = field(init=False)
    watch: ProcessWatch = field(init=False)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.metrics)
        self.health = Health(role.value for role in self.roles)
        self.watch = ProcessWatch(self.metrics, self.engine, self.settings.data_dir)

    def supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """A task that starts its work again when it fails."""
        return self.supervisor.start(name, work)
