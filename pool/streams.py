"""The three standard streams, open whatever the program was started with.

Where one is closed, the next file or socket gets its number: what is printed would go to a miner, and uvloop
ends the process when it is to close such a socket. So what is closed is put on /dev/null.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def open_streams() -> None:
    """Call it before anything else is opened."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def print_no_more() -> None:
    """Nobody reads what is printed: from now on it goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    with suppress(OSError):
        sys.stdout.flush()
