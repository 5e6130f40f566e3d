"""Memory of the gateway process for each connection that is subscribed, authorised and has a job.

    python benchmarks/connection_memory.py [--connections 5000]

Resident memory (RSS) before and after, divided by the connections. Everything is on loopback, and it stops by
itself.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import share_cpu
import uvloop


async def resident_after(port: int, connections: int, pid: int) -> int:
    """RSS of the gateway once all connections have their job, in bytes."""
    load = share_cpu.Load(port, connections, rate=1)
    await load.connect()
    await asyncio.sleep(2.0)
    resident = int(psutil.Process(pid).memory_info().rss)
    load.stop()
    return resident


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--port", type=int, default=23350)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = Path(tempfile.mkdtemp(prefix="dmpool-benchmark-"))
    with share_cpu.database() as database_url:
        arguments = ["--serve", str(directory), "--port", str(options.port), "--database", database_url]
        server = subprocess.Popen([sys.executable, share_cpu.__file__, *arguments])
        try:
            share_cpu.wait_for(options.port)
            before = psutil.Process(server.pid).memory_info().rss
            after = uvloop.run(resident_after(options.port, options.connections, server.pid))
        finally:
            server.terminate()
            server.wait()
            shutil.rmtree(directory)
    print(
        f"{options.connections} connections: {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after, "
        f"{(after - before) / options.connections / 1024:.1f} KiB each"
    )


if __name__ == "__main__":
    main()
