"""The kinds of panels that the dashboards are made of, so that all of them look and read alike.

Every panel has a unit, a description in three parts (what it means, what is normal, what to do) and a link to
its runbook; a panel cannot be made without them. In expressions `@` stands for the matcher of the chosen
instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, ThresholdsConfig
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOKS: Final = "${runbooks}"
HASHRATE, SECONDS, RATIO, BYTES, MOMENT = "Hs", "s", "percentunit", "bytes", "dateTimeFromNow"
BITCOIN, SATOSHIS = "suffix:BTC", "suffix:sat"
COUNT, PER_SECOND, PER_MINUTE = "none", "suffix:/s", "suffix:/min"

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first begins at None."""
Words = Mapping[str, tuple[str, str]]
"""What a value is called, and its colour."""
Kind = TypeVar("Kind", bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)
Panel = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel

GOOD_BAD: Final[Steps] = ((None, "green"), (1, "red"))
PLAIN: Final[Steps] = ((None, "blue"),)
UP_DOWN: Final[Words] = {"1": ("up", "green"), "0": ("down", "red")}


@dataclass(frozen=True, slots=True)
class Ask:
    """One expression of a panel, and what its series are called."""

    expr: str
    legend: str = ""

    def query(self, letter: str, *, instant: bool) -> prometheus.Dataquery:
        """As Grafana asks it."""
        expr = self.expr.replace("@", 'instance=~"$instance"')
        made = prometheus.Dataquery().expr(expr).ref_id(letter).datasource(SOURCE)
        made = made.legend_format(self.legend).editor_mode(QueryEditorMode.CODE)
        return made.instant() if instant else made.range()


@dataclass(frozen=True, slots=True)
class About:
    """What a reader is told of a panel."""

    title: str
    means: str
    normal: str
    do: str
    runbook: str
    """Page and anchor below the runbooks."""
    unit: str
    none: str = ""
    """What the panel says when it rightly has nothing to show."""
    more: str = ""
    """The dashboard that has more of it."""

    @property
    def links(self) -> list[DashboardLink]:
        """To the runbook, and to what goes further."""
        runbook = link_to("Runbook", f"{RUNBOOKS}/{self.runbook}")
        return [runbook, to_board("More", self.more)] if self.more else [runbook]

    @property
    def description(self) -> str:
        """Shown at the panel's corner."""
        return f"{self.means}\n\n**Normal:** {self.normal}\n\n**Do:** {self.do}"


def number(
    about: About,
    *asks: Ask,
    width: int = 4,
    height: int = 4,
    steps: Steps = PLAIN,
    words: Words | None = None,
    decimals: int | None = None,
    filled: bool = False,
) -> stat.Panel:
    """One value, or a few side by side, as they are at the end of the range."""
    panel = _dress(stat.Panel(), about, asks, width, height, steps, decimals, instant=True)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.graph_mode(looks.BigValueGraphMode.NONE).text_mode(
        looks.BigValueTextMode.AUTO
        if len(asks) > 1 or "{{" in asks[0].legend
        else looks.BigValueTextMode.VALUE
    )
    panel = panel.color_mode(
        looks.BigValueColorMode.BACKGROUND_SOLID if filled else looks.BigValueColorMode.VALUE
    )
    return panel.mappings(_mappings(words)) if words else panel


def curves(
    about: About,
    *asks: Ask,
    width: int = 12,
    height: int = 8,
    steps: Steps | None = None,
    decimals: int | None = None,
    stacked: bool = False,
    bottom: float | None = 0,
    top: float | None = None,
    last_only: bool = False,
) -> timeseries.Panel:
    """Values over time. Steps are drawn as dashed lines where something is wrong beyond them."""
    panel = _dress(timeseries.Panel(), about, asks, width, height, steps or PLAIN, decimals, instant=False)
    panel = panel.line_width(1).fill_opacity(25 if stacked else 8).show_points(looks.VisibilityMode.NEVER)
    panel = panel.span_nulls(False).tooltip(
        common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    )
    legend = common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM)
    calcs = ["lastNotNull"] if last_only else ["lastNotNull", "max"]
    panel = panel.legend(legend.display_mode(looks.LegendDisplayMode.TABLE).calcs(calcs))
    if bottom is not None:
        panel = panel.min(bottom)
    if top is not None:
        panel = panel.max(top)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    if steps is not None:
        style = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds_style(style)
    return panel


def states(
    about: About,
    *asks: Ask,
    words: Words,
    width: int = 12,
    height: int = 8,
    link: DashboardLink | None = None,
) -> statetimeline.Panel:
    """What state each of several things was in over time: one row each."""
    panel = _dress(statetimeline.Panel(), about, asks, width, height, PLAIN, 0, instant=False)
    panel = panel.mappings(_mappings(words)).show_value(looks.VisibilityMode.NEVER).merge_values(True)
    panel = panel.row_height(0.85).fill_opacity(80).line_width(0)
    panel = panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
        .calcs([])
    )
    return panel.data_links([link]) if link is not None else panel


def bars(
    about: About,
    *asks: Ask,
    width: int = 8,
    height: int = 8,
    steps: Steps = PLAIN,
    decimals: int | None = None,
    bottom: float | None = 0,
    top: float | None = None,
    link: DashboardLink | None = None,
) -> bargauge.Panel:
    """How much of each now, one bar each."""
    panel = _dress(bargauge.Panel(), about, asks, width, height, steps, decimals, instant=True)
    panel = panel.orientation(looks.VizOrientation.HORIZONTAL).display_mode(looks.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if bottom is not None:
        panel = panel.min(bottom)
    if link is not None:
        panel = panel.data_links([link])
    return panel if top is None else panel.max(top)


def rows(
    about: About,
    ask: Ask,
    *,
    columns: Mapping[str, str],
    width: int = 12,
    height: int = 8,
    sort_by: str | None = None,
    looks_of: Mapping[str, Sequence[DynamicConfigValue]] | None = None,
) -> table.Panel:
    """A table: a row for each series, a column for each label that `columns` names, in its order."""
    panel = _dress(table.Panel(), about, (), width, height, PLAIN, None, instant=True)
    panel = panel.with_target(ask.query("A", instant=True).format(PromQueryFormat.TABLE))
    panel = panel.with_transformation(
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(columns)}})
    )
    panel = panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "indexByName": {name: place for place, name in enumerate(columns)},
                "renameByName": dict(columns),
                "excludeByName": {},
            },
        )
    )
    panel = panel.align(looks.FieldTextAlignment.AUTO).inspect(False)
    if sort_by is not None:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(False)])
    for name, properties in (looks_of or {}).items():
        panel = panel.override_by_name(name, list(properties))
    return panel


def mapped(words: Words) -> DynamicConfigValue:
    """An override: the words of one column."""
    return DynamicConfigValue(id_val="mappings", value=_mappings(words))


def link_to(title: str, url: str, *, new_tab: bool = True) -> DashboardLink:
    """A link of a panel or of a value."""
    return DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(new_tab)


def to_board(title: str, uid: str, variables: str = "") -> DashboardLink:
    """A link to another dashboard, at the same time."""
    return link_to(title, f"/d/{uid}?${{__url_time_range}}{variables}", new_tab=False)


def _dress(
    panel: Kind,
    about: About,
    asks: Sequence[Ask],
    width: int,
    height: int,
    steps: Steps,
    decimals: int | None,
    *,
    instant: bool,
) -> Kind:
    panel = panel.title(about.title).description(about.description).datasource(SOURCE).unit(about.unit)
    panel = panel.links([*about.links]).span(width).height(height)
    thresholds = [Threshold(value=value, color=colour) for value, colour in steps]
    panel = panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds))
    for letter, ask in zip("ABCDEFGHIJ", asks, strict=False):
        panel = panel.with_target(ask.query(letter, instant=instant))
    if about.none:
        panel = panel.no_value(about.none)
    return panel if decimals is None else panel.decimals(decimals)


def _mappings(words: Words) -> list[ValueMapping]:
    results = {
        value: ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return [ValueMap(options=results)]
