"""The templates of all pages: where they are, and what all of them are rendered by.

Strangers' text is escaped wherever it appears, and a name that a template has wrong is an error, not a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jinja2

TEMPLATES: Final = Path(__file__).resolve().parent / "templates"


def environment(*filters: Callable[..., Any], **named: Callable[..., Any]) -> jinja2.Environment:
    """The environment with filters, each under its function's name or under the one given."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({one.__name__: one for one in filters}, **named)
    return made
