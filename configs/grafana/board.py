"""One dashboard: its variables, its annotations of found blocks, its links to the others, and its grid.

Panels flow from left to right in rows of 24 columns. Identities are given in that order, and nothing in the
JSON depends on when or where it was built.
"""

from __future__ import annotations

import json
from typing import Any, Final

from grafana_foundation_sdk.builders.dashboard import (
    ConstantVariable,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from configs.grafana.panels import SOURCE, Panel

COLUMNS: Final = 24
TAG: Final = "dmpool"
RUNBOOKS_URL: Final = "http://127.0.0.1:8080/operate"
"""Where the web role of a pool on this machine shows its runbooks; change the variable for another."""
FOUND: Final = (
    'sum by (instance) (changes(dmpool_blocks_found_total{instance=~"$instance"}[$__rate_interval])) > 0'
)


class Board:
    """A dashboard in the making."""

    def __init__(self, uid: str, title: str, text: str, *, role: str = "", since: str = "now-6h") -> None:
        self._made = (
            Dashboard(title)
            .uid(uid)
            .description(text)
            .tags([TAG])
            .timezone("browser")
            .readonly()
            .refresh("10s")
            .time(since, "now")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .with_variable(_source())
            .with_variable(_instance(role))
            .with_variable(ConstantVariable("runbooks").label("Runbooks").value(RUNBOOKS_URL))
            .link(_others())
        )
        self.uid = uid
        self._ids = 0
        self._top = 0

    def variable(self, name: str, label: str, query: str) -> None:
        """One more variable, of which one value is chosen, by the labels that series have."""
        self._made = self._made.with_variable(
            QueryVariable(name)
            .label(label)
            .datasource(SOURCE)
            .query({"query": query, "refId": name, "qryType": 1})
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
            .multi(False)
            .include_all(False)
        )

    def row(self, title: str, *panels: Panel) -> None:
        """A heading, and panels below it."""
        self._made = self._made.with_row(Row(title).id(self._next_id()).grid_pos(self._place(COLUMNS, 1, 0)))
        self._top += 1
        left = tallest = 0
        for panel in panels:
            size = panel.build().grid_pos
            if size is None:
                raise ValueError(f"a panel of {self.uid} has no size: give it a width and a height")
            if left + size.w > COLUMNS:
                self._top, left, tallest = self._top + tallest, 0, 0
            panel.grid_pos(self._place(size.w, size.h, left)).id(self._next_id())
            self._made = self._made.with_panel(panel)
            left, tallest = left + size.w, max(tallest, size.h)
        self._top += tallest

    def json(self) -> str:
        """As Grafana is given it, the same bytes each time."""
        built: dict[str, Any] = json.loads(json.dumps(self._made.build(), cls=JSONEncoder))
        built["annotations"] = {"list": [_found_blocks()]}
        return json.dumps(built, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    def _place(self, width: int, height: int, left: int) -> GridPos:
        return GridPos(x=left, y=self._top, w=width, h=height)


def _source() -> DatasourceVariable:
    return DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def _instance(role: str) -> QueryVariable:
    told = f'dmpool_build_info{{role="{role}"}}' if role else "dmpool_build_info"
    chosen = VariableOption(selected=True, text="All", value="$__all")
    return (
        QueryVariable("instance")
        .label("Process")
        .datasource(SOURCE)
        .query({"query": f"label_values({told}, instance)", "refId": "instance", "qryType": 1})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(chosen)
    )


def _others() -> DashboardLink:
    link = DashboardLink("dmpool").type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(False)
    return link.keep_time(True).include_vars(False)


def _found_blocks() -> dict[str, Any]:
    """The SDK knows annotations of Grafana's own store only; this is one of Prometheus."""
    return {
        "name": "Blocks found",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "hide": False,
        "iconColor": "green",
        "target": {
            "expr": FOUND,
            "interval": "15s",
            "legendFormat": "{{instance}}",
            "range": True,
            "refId": "Anno",
        },
        "titleFormat": "Block found",
        "textFormat": "{{instance}}",
        "tagKeys": "instance",
    }
