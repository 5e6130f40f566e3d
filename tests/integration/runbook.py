"""The pages of docs/operate as programs: their fenced blocks, with the machine that each is typed on.

A block's info string is its language, then the machine if it is not the pool's, or "untried" where our tests
cannot run it; the page then says so in the paragraph above.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPERATE: Final = Path(__file__).parents[2] / "docs" / "operate"
PAGES: Final = ("deploy", "gateway", "keys", "node", "postgresql", "restore", "upgrade")
_FENCE: Final = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
_HEADING: Final = re.compile(r"^#+ (.+)$", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page."""

    page: str
    section: str
    """The heading above it."""
    language: str
    host: str
    """The machine it is typed on."""
    tried: bool
    text: str
    above: str
    """The paragraph before it."""


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = (OPERATE / f"{page}.md").read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = _FENCE.sub("", text[: match.start()])
        word = match[2].strip()
        found.append(
            Block(
                page=page,
                section=_HEADING.findall(before)[-1],
                language=match[1],
                host=word if word not in ("", "untried") else "pool",
                tried=word != "untried",
                text=match[3],
                above=text[: match.start()].rstrip().rsplit("\n\n", 1)[-1],
            )
        )
    return found


def commands(page: str, section: str) -> list[Block]:
    """What is typed in one section of a page, in order; raises KeyError where there is nothing."""
    found = [one for one in blocks(page) if one.section == section and one.language == "sh" and one.tried]
    if not found:
        raise KeyError(f"{page}.md has no commands under {section!r}")
    return found
