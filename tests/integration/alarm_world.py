"""A pool of three processes with two nodes, PostgreSQL, Prometheus and Alertmanager, all real, to be hurt.

The committed rules are used, in a hurry. `hurried` says how: all durations in them (of `for` and
`keep_firing_for`, windows, offsets) are divided by DURATIONS, and never below a second; what an age in
seconds is compared with is divided by AGES. Nothing else is changed but the thresholds of a full disk: this
disk is not for filling, and others write to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from pool.database import create_engine
from pool.embedded_postgres import EmbeddedPostgres
from pool.simulate import SimulatedMiner
from tests.integration.bitcoind_process import REPOSITORY, BitcoindProcess, running_bitcoind
from tests.integration.free_port import free_port
from tests.integration.pool_process import PoolProcess
from tests.integration.prometheus_process import program_or_skip
from tests.integration.test_river import MINERS, nodes_section, until
from tests.machines import at_work
from tests.stratum.certificates import CertificateFiles

DURATIONS: Final = 90
AGES: Final = 25
TOKEN: Final = "0123456789abcdef0123456789abcdef"
FREE: Final = "dmpool:disk_free_ratio < "
_DURATION: Final = re.compile(r"(?<=\[)[\dsmhd]+(?=\])|(?<=offset )[\dsmhd]+|(?<=for: )[\dsmhd]+")
_AGE: Final = re.compile(r"(?<=_seconds\) > )\d+")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def hurried(rules: str) -> str:
    """The committed rules for a test that has no hours."""
    shorter = _DURATION.sub(lambda found: f"{max(_seconds(found[0]) * 1000 // DURATIONS, 1000)}ms", rules)
    return _AGE.sub(lambda found: f"{int(found[0]) / AGES:g}", shorter)


def _seconds(duration: str) -> int:
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


@dataclass
class Watchers:
    """Prometheus, and Alertmanager where there is one."""

    directory: Path
    metrics_ports: list[int]
    web_port: int
    full_disk: bool = True
    """Whether each disk counts as full."""
    port: int = field(default_factory=free_port)
    alertmanager_port: int = field(default_factory=free_port)
    _prometheus: subprocess.Popen[bytes] | None = None

    def write(self) -> None:
        """The committed configuration for these ports, and the rules."""
        rules = hurried((REPOSITORY / "configs" / "alerts.yml").read_text("utf-8"))
        for committed, here in (("0.05", "2" if self.full_disk else "0"), ("0.15", "0"), ("0.4", "0")):
            assert FREE + committed in rules
            rules = rules.replace(FREE + committed, FREE + here)
        (self.directory / "alerts.yml").write_text(rules)
        text = (REPOSITORY / "configs" / "prometheus.yml").read_text("utf-8")
        text = text.replace('"127.0.0.1:9090"', ", ".join(f'"127.0.0.1:{one}"' for one in self.metrics_ports))
        text = text.replace("127.0.0.1:9093", f"127.0.0.1:{self.alertmanager_port}")
        text = re.sub(r"(_interval): \d+s", r"\1: 500ms", text)
        (self.directory / "prometheus.yml").write_text(text, "utf-8")

    def reload(self) -> None:
        """Take the rules as they are written now."""
        self.write()
        assert self._prometheus is not None
        self._prometheus.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Both, until the end."""
        self.write()
        with contextlib.ExitStack() as stack:
            self._prometheus = stack.enter_context(
                _process(
                    program_or_skip("prometheus"),
                    f"--config.file={self.directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                )
            )
            stack.enter_context(self._alertmanager())
            yield

    @contextlib.contextmanager
    def _alertmanager(self) -> Iterator[None]:
        text = (REPOSITORY / "configs" / "alertmanager.yml").read_text("utf-8")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.web_port}")
        text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 2s", text)
        (self.directory / "alertmanager.yml").write_text(text, "utf-8")
        (self.directory / "alarms.token").write_text(TOKEN)
        (self.directory / "alarms.token").chmod(0o400)
        program = _alertmanager_or_skip()
        with _process(
            str(program),
            f"--config.file={self.directory / 'alertmanager.yml'}",
            f"--storage.path={self.directory / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{self.alertmanager_port}",
            "--cluster.listen-address=",
            folder=program.parents[2],
        ):
            yield

    async def firing(self) -> dict[str, set[str]]:
        """What sounds: the names with their severities."""
        found: dict[str, set[str]] = {}
        for alert in await asyncio.to_thread(self._alerts):
            if alert["state"] == "firing":
                assert "error" not in str(alert["annotations"]), alert
                assert "<no value>" not in str(alert["annotations"]), alert
                found.setdefault(alert["labels"]["alertname"], set()).add(alert["labels"]["severity"])
        return found

    async def handed_on(self) -> dict[str, set[str]]:
        """What Alertmanager does with it: the names by state, active or suppressed."""
        found: dict[str, set[str]] = {}
        for alert in await asyncio.to_thread(
            _get, f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts"
        ):
            found.setdefault(alert["status"]["state"], set()).add(alert["labels"]["alertname"])
        return found

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query."""
        quoted = urllib.request.quote(expression)
        answer = await asyncio.to_thread(_get, f"http://127.0.0.1:{self.port}/api/v1/query?query={quoted}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def _alerts(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = _get(f"http://127.0.0.1:{self.port}/api/v1/alerts")["data"][
                "alerts"
            ]
        except OSError:
            return []
        return found


def _get(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)


def _alertmanager_or_skip() -> Path:
    """The program, to be started in the folder in which it was unpacked; its templates are there."""
    cached = REPOSITORY / ".cache" / "alertmanager" / "usr" / "bin" / "prometheus-alertmanager"
    found = cached if cached.exists() else shutil.which("prometheus-alertmanager")
    if found is None:
        pytest.skip("no prometheus-alertmanager: run tests/integration/install_alertmanager.sh")
    return Path(found)


@contextlib.contextmanager
def _process(*command: str, folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, cwd=folder)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@dataclass
class AlarmWorld:
    """What can be hurt, and who watches."""

    postgres: EmbeddedPostgres
    engine: AsyncEngine
    nodes: list[BitcoindProcess]
    gateway: PoolProcess
    ledger: PoolProcess
    web: PoolProcess
    certificates: CertificateFiles
    watchers: Watchers

    async def sounds(self, *names: str, **severities: str) -> None:
        """Wait until these alarms fire, of any severity or of a named one."""
        wanted = {**dict.fromkeys(names), **severities}

        async def all_fire() -> bool:
            firing = await self.watchers.firing()
            return all(
                name in firing and (severity is None or severity in firing[name])
                for name, severity in wanted.items()
            )

        await until(all_fire, f"to sound: {wanted}", 120)

    async def silent(self, *names: str) -> None:
        """Wait until these alarms do not fire any more."""

        async def none_fires() -> bool:
            return not set(names) & set(await self.watchers.firing())

        await until(none_fires, f"to clear: {names}", 120)

    async def told(self, *names: str) -> None:
        """Wait until the pool's inbox has these alarms."""
        missing = set(names)

        async def all_there() -> bool:
            async with self.engine.connect() as connection:
                rows = await connection.execute(
                    sa.text("SELECT subject, data FROM notice WHERE kind = 'alarm'")
                )
                found = " ".join(f"{row.subject} {row.data}" for row in rows)
            missing.difference_update([name for name in missing if name in found])
            return not missing

        with contextlib.suppress(AssertionError):
            await until(all_there, "notices", 60)
        assert not missing, f"never told: {missing}"

    async def as_superuser(self, statement: str) -> None:
        """What nobody may do: past triggers and constraints."""
        async with self.engine.begin() as connection:
            await connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            changed = await connection.execute(sa.text(statement))
            assert changed.rowcount

    async def bring_together(self) -> None:
        """Give the node that lacks blocks those of the other, in place of a peer."""
        while True:
            one, other = self.nodes
            heights = int(str(await one.rpc("getblockcount"))), int(str(await other.rpc("getblockcount")))
            behind, ahead = (one, other) if heights[0] < heights[1] else (other, one)
            have, want = sorted(heights)
            if have == want:
                return
            for height in range(have + 1, want + 1):
                block_hash = await ahead.rpc("getblockhash", height)
                await behind.rpc("submitblock", await ahead.rpc("getblock", block_hash, 0))

    async def flood(self, seconds: float) -> None:
        """A machine that sends shares of jobs that never were, many of them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.stratum_port)
        reading = asyncio.create_task(reader.read(-1))
        lines = ['{"id":1,"method":"mining.subscribe","params":[]}']
        lines += ['{"id":2,"method":"mining.authorize","params":["altai.rig9","x"]}']
        writer.write("".join(f"{line}\n" for line in lines).encode())
        words = json.dumps(["altai.rig9", "abc", "0" * 16, "65000000", "0" * 8])
        share = f'{{"id":4,"method":"mining.submit","params":{words}}}\n'.encode()
        until_at = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until_at:
            writer.write(share * 60)
            await writer.drain()
            await asyncio.sleep(0.25)
        writer.close()
        reading.cancel()

    @asynccontextmanager
    async def mining(self) -> AsyncIterator[None]:
        """Two machines at work, which find a block or two each second."""
        machines = [
            SimulatedMiner(self.gateway.stratum_url, f"{one}.rig1", 4_000) for one in list(MINERS)[:2]
        ]
        async with at_work(*machines):
            yield


@asynccontextmanager
async def alarm_world(directory: Path) -> AsyncIterator[AlarmWorld]:
    """All of it. The gateway's certificate ends tomorrow, the ledger lets strangers mine, disks are full."""
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(directory / "postgres")
        url, first, second = await asyncio.gather(
            asyncio.to_thread(postgres.start),
            stack.enter_async_context(running_bitcoind("regtest")),
            stack.enter_async_context(running_bitcoind("regtest")),
        )
        stack.callback(postgres.stop)
        nodes = [nodes_section(first), nodes_section(second)]
        certificates = CertificateFiles(directory)
        certificates.renew(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        tls = f'[stratum.tls]\nlisten = "127.0.0.1:{free_port()}"\n'
        tls += f'certificate = "{certificates.certificate}"\nkey = "{certificates.key}"\n'
        (directory / "token").write_text(TOKEN)
        (directory / "token").chmod(0o400)
        inbox = f'[notices]\nalarm_token_file = "{directory / "token"}"\n'
        gateway, ledger, web = (
            PoolProcess(_made(directory / role), url, nodes=more, role=role, start_difficulty=2.0**-20)
            for role, more in (
                ("gateway", [tls, *nodes]),
                ("ledger", nodes),
                ("web", [inbox, *nodes]),
            )
        )
        ledger.unknown_device = "monitor"
        for name, number in MINERS.items():
            await asyncio.to_thread(ledger.add_miner, name, number)
        for one in (gateway, ledger, web):
            stack.callback(one.stop)
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in (gateway, ledger, web)))
        engine = create_engine(url)
        stack.push_async_callback(engine.dispose)
        watchers = Watchers(
            _made(directory / "watchers"), [one.metrics_port for one in (gateway, ledger, web)], web.web_port
        )
        stack.enter_context(watchers.running())
        yield AlarmWorld(postgres, engine, [first, second], gateway, ledger, web, certificates, watchers)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
