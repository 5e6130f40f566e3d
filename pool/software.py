"""The digest of the running program's own sources, which an inspector can compute again (O-23).

It is over the Python sources as `sha256sum` lists them, in the order of their names, so that a line of
shell gives the same in a checkout of that version or where the packages are installed;
docs/report-schema.md has it. So a report says which program made it without the program having to be
believed when it tells its own name.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

PACKAGES: Final = ("native", "payouts", "pool", "register", "reporting", "stratum")
_HOUSE: Final = Path(__file__).parents[1]


@cache
def software_digest() -> str:
    """The digest in hex, as the sources were when it was first asked for."""
    paths = (path for package in PACKAGES for path in (_HOUSE / package).rglob("*.py"))
    lines = hashlib.sha256()
    for name, path in sorted((path.relative_to(_HOUSE).as_posix().encode(), path) for path in paths):
        lines.update(hashlib.sha256(path.read_bytes()).hexdigest().encode() + b"  " + name + b"\n")
    return lines.hexdigest()
