"""Thousands of Stratum connections of one process that do not mine: they connect, are given work, and wait.

A program of its own, so that several share what the limit of open files allows each; it needs the standard
library alone. Bare sockets behind one epoll: a connection costs little more than its lines. Each one speaks
as firmware does: subscribe, then authorize when that is answered, then it waits for its difficulty and job.

    python crowd.py HOST PORT SOURCE COUNT USERNAME

Commands are lines on stdin; the answer to each is one line of JSON on stdout (see `Report`):
    connect   open all connections, with the session ids that are known, and wait until each has work
    cut       end all connections at once: a third is closed, a third reset, a third forgotten half-open
    report    what has come in since
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: let connect(2) choose the port, so that one is free as long as the whole 4-tuple is."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
GIVE_UP_SECONDS = 120.0
"""Who has no work by then is reported as left waiting."""
CONNECTS_AT_ONCE = 200
"""Connections that are begun before what has come in is looked at."""


@dataclass
class Report:
    """What has happened since the last command."""

    working: int = 0
    """Connections that have subscribed, authorised, and a job behind a difficulty."""
    resumed: int = 0
    """Those of them that got the extranonce1 they had before."""
    faults: dict[str, int] = field(default_factory=Counter)
    """What went wrong, and how often."""
    extranonces: list[str] = field(default_factory=list)
    """The extranonce1 of each connection that has work."""
    slowest_connect: float = 0.0
    """The longest that a TCP connect took, in seconds."""
    waits: list[float] = field(default_factory=list)
    """Seconds from the command to the work of each connection, in order."""
    tips: dict[str, list[float]] = field(default_factory=dict)
    """By previous block: monotonic times at which a clean job on it came in, in order."""


class Member:
    """One connection, and what it keeps when that breaks."""

    __slots__ = (
        "authorised",
        "began",
        "difficulty",
        "extranonce1",
        "half_open",
        "known",
        "partial",
        "session_id",
        "socket",
        "working",
    )

    def __init__(self) -> None:
        self.session_id = ""
        self.extranonce1 = ""
        self.known = ""
        """The extranonce1 of the connection before."""
        self.half_open: socket.socket | None = None
        """The connection before, when it was left open."""
        self.socket: socket.socket | None = None
        self.start()

    def start(self) -> None:
        """Nothing was said yet."""
        self.partial = b""
        self.authorised = self.difficulty = self.working = False
        self.began = time.monotonic()


class Crowd:
    """All connections of this process."""

    def __init__(self, host: str, port: int, source: str, count: int, username: str) -> None:
        self.target, self.source, self.username = (host, port), source, username
        self.members = [Member() for _ in range(count)]
        self.report = Report()
        self.began = time.monotonic()
        self._poll = select.epoll()
        self._by_file: dict[int, Member] = {}

    def run(self) -> None:
        """Obey until stdin ends."""
        self._poll.register(sys.stdin, select.EPOLLIN)
        commands: dict[str, Callable[[], object]] = {
            "connect": self._connect,
            "cut": self._cut,
            "report": lambda: None,
        }
        while True:
            command = self._serve(None)
            if not command:
                return
            if command != "report":
                self.began, self.report = time.monotonic(), Report()
            commands[command]()
            sys.stdout.write(json.dumps(asdict(self.report)) + "\n")
            sys.stdout.flush()

    def _connect(self) -> None:
        for number, member in enumerate(self.members):
            self._open(member)
            if number % CONNECTS_AT_ONCE == 0:
                self._look(0.0)
        deadline = self.began + GIVE_UP_SECONDS
        while self.report.working < len(self._by_file) and time.monotonic() < deadline:
            self._look(0.5)
        left = len(self._by_file) - self.report.working
        if left:
            self.report.faults["left waiting"] = left
        for member in self.members:
            if member.half_open is not None:
                member.half_open.close()
                member.half_open = None

    def _open(self, member: Member) -> None:
        member.start()
        member.socket = opened = socket.socket()
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.bind((self.source, 0))
        self._by_file[opened.fileno()] = member
        code = opened.connect_ex(self.target)
        if code not in (0, errno.EINPROGRESS):
            self._fail(member, f"connect: {os.strerror(code)}")
            return
        self._poll.register(opened, select.EPOLLOUT)

    def _cut(self) -> None:
        for number, member in enumerate(self.members):
            if member.socket is None:
                continue
            self._poll.unregister(member.socket)
            if number % 3 == 2:
                member.half_open = member.socket
            else:
                if number % 3 == 1:
                    member.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                member.socket.close()
            member.socket = None
        self._by_file.clear()

    def _serve(self, until: float | None) -> str:
        """Read what comes in until a command does; empty when there will be none."""
        while True:
            if self._look(until):
                return sys.stdin.readline().strip()

    def _look(self, seconds: float | None) -> bool:
        """Wait for input and take it; True when a command has come."""
        command = False
        for file, events in self._poll.poll(seconds, 1000):
            member = self._by_file.get(file)
            if member is None:
                command = command or file == sys.stdin.fileno()
            elif events == select.EPOLLOUT:
                self._connected(member)
            else:
                self._read(member)
        return command

    def _connected(self, member: Member) -> None:
        opened = member.socket
        if opened is None:
            return
        code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(member, f"connect: {os.strerror(code)}")
            return
        self._poll.modify(opened, select.EPOLLIN)
        self.report.slowest_connect = max(self.report.slowest_connect, time.monotonic() - member.began)
        self._send(
            member, 1, "mining.subscribe", ["storm/1.0", *([member.session_id] * bool(member.session_id))]
        )

    def _send(self, member: Member, request_id: int, method: str, params: list[str]) -> None:
        opened = member.socket
        if opened is not None:
            line = json.dumps({"id": request_id, "method": method, "params": params}) + "\n"
            try:
                opened.send(line.encode())
            except OSError as error:
                self._fail(member, f"send: {error.strerror}")

    def _read(self, member: Member) -> None:
        opened = member.socket
        if opened is None:
            return
        try:
            data = opened.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(member, f"read: {error.strerror}")
            return
        if not data:
            self._fail(member, "closed by the pool")
            return
        *lines, member.partial = (member.partial + data).split(b"\n")
        for line in lines:
            self._message(member, json.loads(line))

    def _message(self, member: Member, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method == "mining.notify":
            self._job(member, message["params"])
        elif method == "mining.set_difficulty":
            member.difficulty = True
        elif message.get("error") is not None:
            self._fail(member, f"refused: {message['error']}")
        elif message.get("id") == 1:
            member.extranonce1 = message["result"][1]
            member.session_id = message["result"][0][0][1]
            self._send(member, 2, "mining.authorize", [self.username, "x"])
        elif message.get("id") == 2:
            member.authorised = True

    def _job(self, member: Member, params: list[Any]) -> None:
        now = time.monotonic()
        if member.working:
            if params[8] is True:
                self.report.tips.setdefault(str(params[1]), []).append(now)
            return
        if not member.difficulty or not member.authorised:
            self._fail(member, "a job before its difficulty or the authorisation")
            return
        member.working = True
        self.report.working += 1
        self.report.waits.append(now - self.began)
        self.report.extranonces.append(member.extranonce1)
        if member.known == member.extranonce1:
            self.report.resumed += 1
        member.known = member.extranonce1

    def _fail(self, member: Member, what: str) -> None:
        self.report.faults[what] = self.report.faults.get(what, 0) + 1
        if member.socket is not None:
            self._by_file.pop(member.socket.fileno(), None)
            member.socket.close()  # epoll forgets it by itself
            member.socket = None
        if member.working:
            member.working = False
            self.report.working -= 1


def main() -> None:
    """Take the limit of open files as far as it goes, and run."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host, port, source, count, username = sys.argv[1:]
    Crowd(host, int(port), source, int(count), username).run()


if __name__ == "__main__":
    main()
