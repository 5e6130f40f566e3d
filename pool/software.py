"""The running program: its version, and the digest of its own sources, which an inspector can compute (O-23).

It is over the Python sources as `sha256sum` lists them, in the order of their names, so that a line of
shell gives the same in a checkout of that version or where the packages are installed;
docs/report-schema.md has it. So a report says which program made it without the program having to be
believed when it tells its own name. Both are kept as they were when they were first asked for, which is when
a process starts: what is installed over a running program is not what runs.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

PACKAGES: Final = ("native", "payouts", "pool", "register", "reporting", "stratum")
_HOUSE: Final = Path(__file__).parents[1]


def note_software() -> None:
    """Keep both as they are now."""
    software_version()
    software_digest()


@cache
def software_version() -> str:
    """Of dmpool."""
    return version("dmpool")


@cache
def software_digest() -> str:
    """The digest in hex."""
    paths = (path for package in PACKAGES for path in (_HOUSE / package).rglob("*.py"))
    lines = hashlib.sha256()
    for name, path in sorted((path.relative_to(_HOUSE).as_posix().encode(), path) for path in paths):
        lines.update(hashlib.sha256(path.read_bytes()).hexdigest().encode() + b"  " + name + b"\n")
    return lines.hexdigest()
