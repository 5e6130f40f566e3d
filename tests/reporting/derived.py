"""Which numbers of a daily report follow from others: a verifier must see each of them change."""

from __future__ import annotations

from typing import Any

_TOLD = ("rules_in_force", "pool", "register", "compliance", "form_versions", "addressees")


def numbers(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all numbers in a report that follow from others."""
    if isinstance(node, dict):
        return [found for key, value in node.items() for found in numbers(value, (*path, key))]
    if isinstance(node, list):
        return [found for place, value in enumerate(node) for found in numbers(value, (*path, place))]
    told = {
        "height",
        "finder_miner_id",
        "miner_id",
        "subtype",
        "first_slice",
        "first_slice_work",
        "last_slice",
        "bin",
        "number",
        "workers_unmatched",
        "licence_subtype",
        "block_height",
        "vout",
        "delivered_sat",
    }
    is_number = (isinstance(node, int) and not isinstance(node, bool)) or (
        isinstance(node, str) and node.isdigit()
    )
    apart = path[0] in _TOLD or path[-1] in told or "confirmations" in path or "hours" in path
    return [path] if is_number and not apart else []
