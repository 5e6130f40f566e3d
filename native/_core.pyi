"""Types of the C extension. Hashes: 32 bytes, internal (header) order. Targets: 32 bytes, big-endian.

A wrong argument raises TypeError or ValueError that names the argument, its value and what to give; a wrong
field of a submit does not raise, it is the miner's error and comes back as a negative number.
"""

from typing import Final, final

MEETS_SHARE: Final[int]
"""Bit 1: the hash is not above the share target."""
MEETS_NETWORK: Final[int]
"""Bit 2: the hash is not above the network target; the header is a block."""
NTIME_OUTSIDE: Final[int]
"""Bit 4: ntime is before ntime_min or after ntime_max."""
VERSION_OUTSIDE: Final[int]
"""Bit 8: version bits outside the mask (BIP310)."""

BAD_EXTRANONCE2: Final[int]
"""-1: not exactly 2 * extranonce2_size hex digits."""
BAD_NTIME: Final[int]
"""-2: not exactly 8 hex digits."""
BAD_NONCE: Final[int]
"""-3: not 1 to 8 hex digits."""
BAD_VERSION: Final[int]
"""-4: not 1 to 8 hex digits."""

@final
class Job:
    """A job that submits are checked against; immutable, safe to share between threads."""

    def __new__(
        cls,
        *,
        coinbase1: bytes,
        coinbase2: bytes,
        extranonce2_size: int,
        branches: bytes,
        previous_block: bytes,
        version: int,
        bits: int,
        network_target: bytes,
        version_mask: int,
        ntime_min: int,
        ntime_max: int,
    ) -> Job:
        """Make a job.

        coinbase1, coinbase2: the coinbase transaction without its witness, around the extranonces; together
        at most 4064 bytes. extranonce2_size: 1 to 16 bytes. branches: at most 32 hashes, concatenated.
        version, bits, version_mask, ntime_min, ntime_max: unsigned 32-bit; the ntime window is closed at
        both ends and in unix seconds. network_target: the target that a block must meet, which `bits` need
        not express.
        """

    def check(
        self,
        extranonce1: bytes,
        extranonce2: str,
        ntime: str,
        nonce: str,
        version_bits: str | None,
        target: bytes,
        /,
    ) -> tuple[int, bytes, bytes]:
        """Judge one submit: (flags, header of 80 bytes, hash).

        flags >= 0 is a set of bits; flags < 0 names the first malformed field, in the order of the BAD_*
        constants, and header and hash are empty. Hex in either case; a short nonce or version_bits is padded
        with zeros on the left. The header is hashed even when ntime or version is outside, with version =
        (version & ~version_mask) | version_bits, so that a block is known whatever else is wrong (I9).
        extranonce1: at most 16 bytes.
        """

@final
class SeenHashes:
    """A set of block hashes, for finding duplicates.

    Keyed on 8 bytes of each that are not the zeros of the proof of work; 16 to 32 bytes of memory per hash.
    """

    def __new__(cls) -> SeenHashes:
        """Make an empty set."""

    def add(self, hash: bytes, /) -> bool:
        """Add a hash; True when it is new. Raises MemoryError, the set unchanged, when it cannot grow."""

    def __len__(self) -> int:
        """Number of hashes added."""

def sha256d(data: bytes, /) -> bytes:
    """Double SHA-256. Releases the GIL above 64 KiB."""

def merkle_branches(txids: bytes, /) -> bytes:
    """Branches, concatenated, for leaf 0 (the coinbase) of the tree whose other leaves are `txids`."""

def merkle_root(leaf: bytes, branches: bytes, /) -> bytes:
    """Merkle root from leaf 0 and its branches."""

def scan(header: bytes, first_nonce: int, count: int, target: bytes, /) -> int | None:
    """First nonce in [first_nonce, first_nonce + count) whose header hash meets the target, or None.

    header: 80 bytes, the last four (the nonce) ignored. The range must end at or before 2**32. Releases the
    GIL, and lets signals through.
    """

def implementation() -> str:
    """Name of the SHA-256 in use: "sha-ni", "armv8" or "portable"."""

def use_implementation(name: str, /) -> None:
    """Choose the SHA-256 by name for the whole process; ValueError if this CPU lacks it."""
