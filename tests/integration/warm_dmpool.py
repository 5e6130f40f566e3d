"""`dmpool` that has its imports behind it, for tests that type dozens of its commands: each costs a fork.

    warm_dmpool.py serve SOCKET          imports the program once, and forks for each command
    warm_dmpool.py ask SOCKET ARGUMENT…  has one run here: with these streams, this environment, this folder

What runs is `pool.cli.main` with those arguments, as the installed command runs it.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable


def ask(path: str, arguments: list[str]) -> int:
    """Have the server run one command; its exit code."""
    while not os.path.exists(path):  # it still imports
        time.sleep(0.05)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        told = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()})
        socket.send_fds(channel, [len(told.encode()).to_bytes(4, "big")], [0, 1, 2])
        channel.sendall(told.encode())
        return channel.recv(1)[0]


def serve(path: str) -> None:
    """Answer until killed."""
    main = importlib.import_module("pool.cli").main
    for name in ("cli_front", "cli_keys", "cli_ledger", "cli_register", "resources", "schema"):
        importlib.import_module(f"pool.{name}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)
    while True:
        channel, _ = listener.accept()
        if os.fork() == 0:
            if os.fork() == 0:
                _run(channel, main)
            os._exit(0)
        os.wait()
        channel.close()


def _run(channel: socket.socket, main: Callable[[], None]) -> None:
    """In a process of its own: become the command."""
    head, files, _, _ = socket.recv_fds(channel, 4, 3)
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += channel.recv(65536)
    told = json.loads(body)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    sys.argv = ["dmpool", *told["arguments"]]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    channel.sendall(bytes([code]))
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    raise SystemExit(ask(sys.argv[2], sys.argv[3:]))
