"""How much of a campaign runs: a slice in `make test`, the whole with `make campaign` (CAMPAIGN=1)."""

from __future__ import annotations

import os


def extent(a_slice: int, whole: int) -> int:
    """How many kills or examples this run is to have."""
    return whole if os.environ.get("CAMPAIGN") else a_slice
