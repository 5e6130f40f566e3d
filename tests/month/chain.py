"""The network's chain as a node tells it, with forks that come and go."""

from __future__ import annotations

from typing import NamedTuple

from tests.integration.ledger_world import FakeNode


class Fork(NamedTuple):
    """A stretch of the chain that was replaced, from which height on."""

    height: int
    blocks: list[str]


class Chain(FakeNode):
    """A node's chain; `block_hash` in `main` is in the chain."""

    def append(self, block_hash: str) -> None:
        """A block of ours on top."""
        self.main.append(block_hash)

    def beaten(self, block_hash: str) -> None:
        """A block of ours loses against a stranger's of the same height."""
        self.aside.add(block_hash)
        self.grow()

    def fork(self, depth: int) -> Fork:
        """The last `depth` blocks leave the chain."""
        height = len(self.main) - depth
        gone = Fork(height, self.main[height:])
        self.reorganise(height)
        return gone

    def restore(self, fork: Fork) -> None:
        """The blocks that left are in the chain again, and what had replaced them is not."""
        away = self.main[fork.height :]
        self.main[fork.height :] = fork.blocks
        self.aside.update(away)
        self.aside.difference_update(fork.blocks)
        self.grow(max(1, len(away) - len(fork.blocks) + 1))
