"""The C core: double SHA-256, merkle branches, the share check, the set of seen hashes.

Everything here is written in C (`native/*.c`) and only re-exported; the types and the meaning of every
argument are in `_core.pyi`.

Not for: difficulty, jobs as a miner sees them, or what a verdict means; that is `stratum`.

The rule: hashes are bytes in internal (header) order, targets are 32 bytes big-endian, and they are
compared as integers.
"""

from native._core import (
    BAD_EXTRANONCE2,
    BAD_NONCE,
    BAD_NTIME,
    BAD_VERSION,
    MEETS_NETWORK,
    MEETS_SHARE,
    NTIME_OUTSIDE,
    VERSION_OUTSIDE,
    Job,
    SeenHashes,
    implementation,
    merkle_branches,
    merkle_root,
    scan,
    sha256d,
    use_implementation,
)

__all__ = [
    "BAD_EXTRANONCE2",
    "BAD_NONCE",
    "BAD_NTIME",
    "BAD_VERSION",
    "MEETS_NETWORK",
    "MEETS_SHARE",
    "NTIME_OUTSIDE",
    "VERSION_OUTSIDE",
    "Job",
    "SeenHashes",
    "implementation",
    "merkle_branches",
    "merkle_root",
    "scan",
    "sha256d",
    "use_implementation",
]
