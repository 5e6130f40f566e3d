"""From the settings to a settler: the wallet on the first node, the signer, the task with its gauges."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.bitcoind import Bitcoind
from pool.config import ConfigError, Settings
from pool.metrics import Metrics
from pool.node import Node
from pool.settlement_config import SettlementSection
from pool.settlement_steps import Means
from pool.settler import Health, Settler, SettlerTask
from pool.signers import signer_of
from pool.wallet import Wallet
from register.rules import Rules

log = structlog.get_logger(__name__)


def section_of(settings: Settings) -> SettlementSection:
    """By what miners are paid; raises ConfigError where the pool has no `[settlement]`."""
    if settings.settlement is None:
        raise ConfigError(
            "settlement: is missing; add the section with the name of the wallet that miners are paid from"
        )
    return settings.settlement


def settler_of(settings: Settings, rules: Rules, engine: AsyncEngine, nodes: Sequence[Node]) -> Settler:
    """Who acts on payouts; raises ConfigError where `[settlement]` is missing or there is no bitcoind."""
    section = section_of(settings)
    node = nodes[0] if nodes else None
    if not isinstance(node, Bitcoind):
        raise ConfigError("settlement: the embedded chain has no wallet; add a [[nodes]] section")
    wallet = Wallet(node, section.wallet)
    return Settler(
        Means(
            engine=engine,
            wallet=wallet,
            signer=signer_of(section, wallet),
            rules=rules,
            section=section,
            chain=settings.pool.chain,
            change_address=settings.pool.address,
        )
    )


def settler_task(settler: Settler, metrics: Metrics, *, production: bool) -> SettlerTask:
    """The task of a ledger's process, which tells what it sees as gauges."""
    if production and settler.means.section.signer == "node":
        log.warning(
            "keys_on_the_node",
            explained='settlement.signer: "node": the keys to all coins are on the machine of the node; '
            '"psbt" with a key that is kept offline is the safer way',
        )

    def report(health: Health | None) -> None:
        metrics.settler_up.set(health is not None)
        if health is not None:
            metrics.payout_problems.set(health.problems)
            for kind, amount in health.balance._asdict().items():
                metrics.wallet_sat.labels(kind).set(amount)

    return SettlerTask(settler, report)
