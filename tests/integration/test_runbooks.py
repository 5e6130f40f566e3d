"""The runbooks of docs/operate, done as they stand there, from an empty machine to a lost PostgreSQL (I1).

One site lives through all of them while machines mine: gateways are added and upgraded, nodes and keys
replaced, PostgreSQL is restored from a backup and fails over. In the end every share that was answered `true`
is in the ledger, once.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from typing import Final

import pytest

from pool.database import create_engine
from tests.campaign import extent
from tests.integration.entering import enter_alone, made_up_address
from tests.integration.recount import recount
from tests.integration.runbook import OPERATE, PAGES, blocks
from tests.integration.site_world import Site, site
from tests.integration.stratum_client import Farm, Firmware, Machine, at_work
from tests.integration.test_river import until

MACHINES = 4
CONFIGURATION = """
data_dir = "/var/lib/dmpool"

[pool]
name = "Test DMP LLP"
bin = "230440000105"
chain = "signet"
address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
commission_bps = 137

[[nodes]]
url = "http://node1:8332"
cookie_file = "/etc/dmpool/bitcoind.rpc"
zmq = "tcp://node1:28332"

[stratum]
listen = "127.0.0.1:3333"
public_host = "eu1.pool.example"
start_difficulty = 0.000000476837158203125
shares_per_minute = 600

[stratum.tls]
listen = "127.0.0.1:3334"
certificate = "/etc/dmpool/fullchain.pem"
key = "/etc/dmpool/privkey.pem"

[database]
url = "postgresql://dmpool@db1:5432/dmpool"

[web]
listen = "127.0.0.1:8080"

[metrics]
listen = "127.0.0.1:9090"
"""


class Follower(Machine):
    """A machine that goes where the pool sends it, as firmware does within one domain (Q-11)."""

    farms: dict[int, Farm]

    def sent_elsewhere(self, host: str, port: int, wait: int) -> None:
        assert host.endswith(".pool.example")
        loop = asyncio.get_running_loop()
        loop.call_later(wait / 10, lambda: loop.create_task(self._move(self.farms[port])))

    async def _move(self, farm: Farm) -> None:
        left = self.disconnect()
        self.unanswered.clear()  # it was never told that they count
        self.farm, self._session_id = farm, None
        await self.connect()
        if left is not None:
            left.close()


class Crowd:
    """The machines, and what they were told."""

    def __init__(self, place: Site) -> None:
        self.farms = {
            int(place.ports[port]): Farm("127.0.0.1", int(place.ports[port]), 0) for port in ("3333", "3343")
        }
        self.first, self.second = self.farms.values()
        self.machines = [
            Follower(self.first, f"saryarqa.rig{number}", 12_000, Firmware.PROMPT)
            for number in range(MACHINES)
        ]
        for machine in self.machines:
            machine.farms = self.farms

    @property
    def acknowledged(self) -> set[str]:
        """The shares that were answered `true`."""
        return {share.hash for machine in self.machines for share in machine.accepted}

    async def all_at(self, farm: Farm) -> None:
        """Every machine mines there; the pool has closed no connection."""

        async def there() -> bool:
            return all(one.farm is farm and one.working for one in self.machines)

        await until(there, "every machine follows to the other gateway", 60)
        await self.more()
        assert [broken for one in self.farms.values() for broken in one.broken] == []

    async def more(self) -> None:
        """Every machine is told `true` once more."""
        before = {machine: len(machine.accepted) for machine in self.machines}

        async def grown() -> bool:
            return all(len(machine.accepted) > count for machine, count in before.items())

        await until(grown, "each machine has another share accepted", 60)


@pytest.mark.campaign
async def test_every_planned_action_as_it_is_written() -> None:
    """I1: through all of it no acknowledged share is lost, and none is counted twice."""
    async with site() as place:
        await deployed(place)
        crowd = Crowd(place)
        async with at_work(list(crowd.machines)):
            await crowd.more()
            for action in ACTIONS:
                await action(place, crowd)
            await crowd.more()
        await every_share_is_in_the_ledger(place, crowd)
        assert "task_failed" not in place.told()


async def deployed(place: Site) -> None:
    await place.follow("deploy", "PostgreSQL")
    (config,) = [one.text for one in blocks("deploy") if one.host == "bitcoin.conf"]
    for node in ("node1", "node2"):
        (place.root / node / "etc/bitcoin.conf").write_text(place.here(config, node))
    new_certificate(place)
    for name in ("fullchain.pem", "privkey.pem"):
        (place.root / "etc/dmpool" / name).write_bytes((place.root / "new" / name).read_bytes())
    await place.follow("deploy", "bitcoind", "The program")
    (place.root / "etc/dmpool/dmpool.toml").write_text(place.here(CONFIGURATION, "pool"))
    await place.follow("deploy", "The configuration", "The services")
    await enter_alone(
        place.database_url(), "signet", "saryarqa", "061211600012", made_up_address("saryarqa", "tb")
    )
    await place.follow("deploy", "Prometheus, Alertmanager, Grafana", "A second way to people", "Compose")
    scraped = (place.root / "etc/prometheus/prometheus.yml").read_text()
    assert all(f"127.0.0.1:{place.ports[port]}" in scraped for port in ("9090", "9096", "9097"))
    answers = await place.follow("deploy", "The first share")
    assert re.search(r'^dmpool_shares_total\{.*verdict="accepted"\} [1-9]', answers, re.M)


def new_certificate(place: Site) -> None:
    """What an authority would send."""
    key, chain = place.root / "new/privkey.pem", place.root / "new/fullchain.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subject = ["-subj", "/CN=eu1.pool.example", "-days", "90"]
    files = ["-keyout", str(key), "-out", str(chain)]
    command = ["openssl", "req", "-x509", "-nodes", *curve, *subject, *files]
    subprocess.run(command, check=True, capture_output=True)


async def a_gateway_is_added(place: Site, crowd: Crowd) -> None:
    answers = await place.follow("gateway", "Beside another, on the same machine")
    assert len(re.findall(r"^ +[12] \|", answers, re.M)) == 2, answers


async def it_is_upgraded(place: Site, crowd: Crowd) -> None:
    await place.follow("upgrade", "1. Install the new version beside the old")
    await place.follow("upgrade", "2. Back up, and restart what no miner is connected to")
    await place.follow("upgrade", "3. Upgrade the empty gateway", "4. Send the machines over")
    await crowd.all_at(crowd.second)
    await place.follow("upgrade", "5. Restart the drained gateway", "6. And back, if you like")
    await crowd.all_at(crowd.first)


async def keys_are_changed(place: Site, crowd: Crowd) -> None:
    answers = await place.follow("keys", "The key that signs reports")
    assert "signs reports in place of" in answers
    await place.follow("keys", "The key of the log")
    new_certificate(place)
    await place.follow("keys", "TLS of Stratum and of the door")
    await place.follow("keys", "The password of PostgreSQL")
    await place.follow("keys", "The password of a node")
    await crowd.more()


async def a_node_is_replaced(place: Site, crowd: Crowd) -> None:
    lines = (place.root / "node1/etc/bitcoin.conf").read_text().splitlines()
    with (place.root / "node2/etc/bitcoin.conf").open("a") as config:
        config.writelines(f"{line}\n" for line in lines if line.startswith("rpcauth="))
    await place.follow("node", "A new node", "At another address")
    await crowd.all_at(crowd.second)


async def postgresql_is_restored(place: Site, crowd: Crowd) -> None:
    (place.root / "var/lib/dmpool/archive").mkdir(
        exist_ok=True
    )  # the ledger makes it when its first hour is over
    await place.follow("restore", "What is backed up, and how")
    await crowd.more()
    place.kill_postgresql("db1")
    await crowd.more()
    await place.follow("restore", "PostgreSQL is lost")
    await place.follow("restore", "The ledger's machine is lost")


async def postgresql_fails_over(place: Site, crowd: Crowd) -> None:
    await place.follow("postgresql", "A second server")
    if crowd.machines[0].farm is crowd.second:
        await place.follow("upgrade", "5. Restart the drained gateway", "6. And back, if you like")
        await crowd.all_at(crowd.first)
    else:
        await it_is_upgraded(place, crowd)
    place.kill_postgresql("db1")
    await crowd.more()
    place.primary = "db2"
    await place.follow("postgresql", "When the server is lost")


async def postgresql_moves_back(place: Site, crowd: Crowd) -> None:
    place.names = {"db1": "db2", "db2": "db1"}
    await place.follow("postgresql", "A second server", behind="CREATE ROLE")
    await place.follow("postgresql", "Moving to the other server")
    place.names, place.primary = {}, "db1"


async def every_share_is_in_the_ledger(place: Site, crowd: Crowd) -> None:
    engine = create_engine(place.database_url())
    try:

        async def all_there() -> bool:
            counted = await recount(engine, 137, 2)
            return crowd.acknowledged <= set(counted.hashes)

        await until(all_there, "every acknowledged share in the ledger", 60)
    finally:
        await engine.dispose()
    assert len(crowd.acknowledged) > 100


ACTIONS: Final = extent(
    (a_gateway_is_added, postgresql_is_restored, postgresql_fails_over),
    (
        *(a_gateway_is_added, it_is_upgraded, keys_are_changed, a_node_is_replaced),
        *(postgresql_is_restored, postgresql_fails_over, postgresql_moves_back),
    ),
)
"""In CI those by which shares could be lost; the upgrade is within the last."""


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_does_not_try_it_says(page: str) -> None:
    for block in blocks(page):
        if not block.tried:
            assert block.above.startswith("*Not tried by our tests"), block.text


def test_the_index_leads_to_every_page() -> None:
    index = (OPERATE / "README.md").read_text("utf-8")
    names = {page.name for page in OPERATE.glob("*.md")} - {"README.md"}
    assert {name for name in names if f"]({name})" not in index} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    text = (OPERATE / f"{page}.md").read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        path = OPERATE / (target or f"{page}.md")
        assert path.exists(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M) if anchor else []
        anchors = {re.sub(r"[^a-z0-9 _-]", "", one.lower()).replace(" ", "-") for one in headings}
        assert not anchor or anchor in anchors, f"{target}#{anchor}"
