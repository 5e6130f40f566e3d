"""The columns of an official form, as a dated rule states them: number, what stands in it, heading.

A rule writes a column as one text, "9.2 commission_quantity Количество, единиц". A heading above several
columns has the word `group` for what stands in it, and the number that theirs begin with ("9" above "9.1"
and "9.2"), and stands before them. The heading is all that follows, letter by letter. What each field says
of a row is the business of `reporting.income`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

FIELDS: Final = (
    *("row_no", "miner_name", "miner_bin", "miner_and_pool_names", "miner_and_pool_bins"),
    *("licence_number", "licence_issued_on", "licence_number_and_date", "wallet_address", "distributed_on"),
    *("asset", "quantity", "commission_asset", "commission_quantity"),
)
"""What a column can hold."""
WHOLE: Final = ("distributed_on", "quantity")
"""Without these no form is whole (O-32, O-60)."""
GROUP: Final = "group"
_COLUMN: Final = re.compile(r"(\d{1,2}(?:\.\d{1,2})?) ([a-z_]+) (\S(?:.*\S)?)")


class FormColumn(NamedTuple):
    """One column, or the heading of a group of them (`field` is GROUP)."""

    number: str
    field: str
    heading: str


def parse_columns(texts: Sequence[str]) -> list[FormColumn]:
    """The columns in the order of the form; raises ValueError with the text that is wrong and the remedy."""
    found: list[FormColumn] = []
    group = ""
    for text in texts:
        match = _COLUMN.fullmatch(text)
        if match is None:
            raise ValueError(f'column {text!r}: write it as "9.2 quantity Heading"')
        column = FormColumn(*match.groups())
        if column.field != GROUP and column.field not in FIELDS:
            raise ValueError(
                f"column {column.number}: {column.field!r} is unknown; known are {', '.join(FIELDS)}"
            )
        if any(column.number == one.number for one in found):
            raise ValueError(f"column {column.number} stands there twice")
        above, _, below = column.number.partition(".")
        if below and above != group:
            raise ValueError(f'column {column.number} wants a heading above it: "{above} group Heading"')
        if group and not below and found[-1].number == group:
            raise ValueError(f"group {group} has no columns: {group}.1 and so on follow it")
        if not below:
            group = column.number if column.field == GROUP else ""
        elif column.field == GROUP:
            raise ValueError(f"column {column.number}: a group has no group above it")
        found.append(column)
    if group and found[-1].number == group:
        raise ValueError(f"group {group} has no columns: {group}.1 and so on follow it")
    return found
