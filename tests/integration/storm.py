"""What the storm's test and benchmark share: how many processes it needs, and crowds as child processes."""

from __future__ import annotations

import asyncio
import json
import math
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

CROWD = Path(__file__).with_name("crowd.py")
LINE_LIMIT = 1 << 24
FILES_RESERVED = 1024
HALF_OPEN = 3
"""When a crowd is cut, one connection in so many stays half-open until it is resumed."""
CONNECTIONS_PER_ADDRESS = 10_000
"""With those half-open and those in TIME_WAIT they fit into one address's ephemeral ports."""


def processes_for(connections: int) -> int:
    """How many processes can hold so many connections, and the half-open ones, under the limit of files."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return 1
    return math.ceil(connections * (1 + 1 / HALF_OPEN) / (files - FILES_RESERVED))


def crowds_for(connections: int) -> int:
    """How many crowds are needed, each with an address of its own."""
    return max(processes_for(connections), math.ceil(connections / CONNECTIONS_PER_ADDRESS))


class RemoteCrowd:
    """A crowd in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def command(self, word: str) -> dict[str, Any]:
        """Have it do something; its report."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(word.encode() + b"\n")
        line = await stdout.readline()
        assert line, "the crowd's process has ended"
        report: dict[str, Any] = json.loads(line)
        return report


@asynccontextmanager
async def crowds(ports: Sequence[int], connections: int, username: str) -> AsyncIterator[list[RemoteCrowd]]:
    """So many connections to servers at these ports, evenly; none is opened yet."""
    number = max(crowds_for(connections), len(ports))
    number += -number % len(ports)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                _crowd(
                    ports[one % len(ports)],
                    f"127.0.1.{one + 1}",
                    connections * (one + 1) // number - connections * one // number,
                    username,
                )
            )
            for one in range(number)
        ]


@asynccontextmanager
async def _crowd(port: int, source: str, count: int, username: str) -> AsyncIterator[RemoteCrowd]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CROWD), "127.0.0.1", str(port), source, str(count), username,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_LIMIT,
    )  # fmt: skip
    try:
        yield RemoteCrowd(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def all_do(crowd: Sequence[RemoteCrowd], word: str) -> list[dict[str, Any]]:
    """The same command to all at once; their reports."""
    return list(await asyncio.gather(*(one.command(word) for one in crowd)))
