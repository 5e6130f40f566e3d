"""What a line costs before anything is done with it, beside what a share costs in the gateway, in one run.

    python benchmarks/transport_floor.py [--seconds 3] [--rounds 3]

The loads of `share_cpu.py` against three servers in turn: one that answers a fixed line from a uvloop
protocol class, one that does so from uvloop streams, and the gateway. The first is the floor under the
gateway's figures; the difference to the second is why `stratum/server.py` is a protocol class.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from contextlib import suppress

import share_cpu
import uvloop
from share_cpu import CASES, database, measure, report, wait_for

ANSWER = b'{"id":1,"result":true,"error":null}\n'
GREETING = (
    b'{"id":null,"method":"mining.notify","params":["1","' + b"0" * 64 + b'","","",[],"20000000",'
    b'"1d00ffff","65000000",true]}\n'
)


class FixedAnswer(asyncio.Protocol):
    """Greets with a job, then answers each line without looking at it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport
        self.greeted = False

    def data_received(self, data: bytes) -> None:
        """One answer a line."""
        if not self.greeted:
            self.greeted = True
            self.transport.write(GREETING)  # type: ignore[attr-defined]
            return
        self.transport.write(ANSWER * data.count(b"\n"))  # type: ignore[attr-defined]


async def answer_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with streams."""
    with suppress(ConnectionResetError):
        for _ in range(3):
            await reader.readline()
        writer.write(GREETING)
        while await reader.readline():
            writer.write(ANSWER)
    writer.close()


async def serve(kind: str, port: int) -> None:
    """The server process."""
    if kind == "protocol":
        server = await asyncio.get_running_loop().create_server(FixedAnswer, "127.0.0.1", port, backlog=4096)
    else:
        server = await asyncio.start_server(answer_stream, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def run_case(kind: str, port: int, case: tuple[str, int, int], seconds: float) -> tuple[float, float]:
    """One server under one load."""
    server = subprocess.Popen([sys.executable, __file__, "--serve", kind, "--port", str(port)])
    try:
        wait_for(port)
        return uvloop.run(measure(port, server.pid, case, seconds))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Run all cases for all kinds, interleaved, and print a Markdown table of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=23340)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        os.sched_setaffinity(0, {0})
        uvloop.run(serve(options.serve, options.port))
        return
    results: dict[str, dict[tuple[str, int, int], list[tuple[float, float]]]] = {
        kind: {case: [] for case in CASES} for kind in ("protocol", "streams", "gateway")
    }
    with database() as database_url:
        os.sched_setaffinity(0, {1})
        for _ in range(options.rounds):
            for case in CASES:
                for kind in ("protocol", "streams"):
                    results[kind][case].append(run_case(kind, options.port, case, options.seconds))
                sample = share_cpu.run_case(options.port + 1, case, options.seconds, database_url)
                results["gateway"][case].append(sample)
    for kind, cases in results.items():
        print(f"\n{kind}\n")
        report(cases)


if __name__ == "__main__":
    main()
