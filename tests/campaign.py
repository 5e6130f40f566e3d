"""How much of a campaign runs: a slice in `make test`, the whole with `make campaign` (CAMPAIGN=1)."""

from __future__ import annotations

import os
from typing import TypeVar

_Extent = TypeVar("_Extent")


def extent(a_slice: _Extent, whole: _Extent) -> _Extent:
    """How many kills or examples, or which of them, this run is to have."""
    return whole if os.environ.get("CAMPAIGN") else a_slice
