"""Charts as pictures: SVG drawn by pygal, for an <img> of this site, in the page's colours by day and night.

A picture has its own style inside and needs none of the page's; it is drawn in two widths, so that its
letters can be read on a phone. What it shows stands beside it in words and in a table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

from pool.pages.history import Point
from pool.wording import hashrate

WIDTHS: Final = {"wide": 1100, "narrow": 420}
HEIGHTS: Final = {"wide": 260, "narrow": 240}
_LABELS: Final = {"wide": 8, "narrow": 4}
_FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
_LIGHT: Final = ("#5a6b74", "#e0e6e9", "#0b6e75")
_DARK: Final = ("#9aabb4", "#2a3940", "#5cc3ca")
_ROUND: Final = (1, 2, 5)


def hashrate_chart(points: Sequence[Point], local: Callable[[int], dt.datetime], size: str) -> bytes:
    """Hashrates by time; `local` is the clock in Kazakhstan."""
    top = scale_of(max((one.hashrate for one in points), default=0))
    chart = pygal.Line(
        style=_style(size),
        width=WIDTHS[size],
        height=HEIGHTS[size],
        margin=4,
        margin_right=14,
        fill=True,
        show_legend=False,
        show_dots=False,
        show_minor_x_labels=False,
        show_x_guides=False,
        js=(),
        css=(*pygal.Config.css.value, f"inline:{_colours()}"),
        disable_xml_declaration=True,
        range=(0, top),
        y_labels=[top * part // 4 for part in range(5)],
        value_formatter=lambda value: hashrate(int(value)),
        explicit_size=True,
        truncate_label=-1,
    )
    chart.x_labels = [f"{local(one.at_us):%H:%M}" for one in points]
    every = max(1, len(points) // _LABELS[size])
    chart.x_labels_major = [f"{local(one.at_us):%H:%M}" for one in points[:: max(every, 1)]]
    chart.add("", [one.hashrate for one in points])
    chart.add_xml_filter(_without_script)
    drawn: str = chart.render()
    return drawn.encode()


def scale_of(most: int) -> int:
    """The least round number that is not less, of which a quarter is whole: where the scale ends."""
    unit = 4
    while True:
        for step in _ROUND:
            if unit * step >= most:
                return unit * step
        unit *= 10


def _without_script(root: Any) -> Any:
    """A picture runs none, and pygal's tells its whole configuration."""
    for parent in root.iter():
        for child in [one for one in parent if str(one.tag).endswith("script")]:
            parent.remove(child)
    return root


def _style(size: str) -> Style:
    quiet, line, accent = _LIGHT
    font = 13 if size == "wide" else 12
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground=quiet,
        foreground_strong=quiet,
        foreground_subtle=line,
        colors=(accent,),
        opacity=".16",
        opacity_hover=".16",
        font_family=_FONT,
        label_font_size=font,
        major_label_font_size=font,
        no_data_font_size=font + 2,
        stroke_width=2,
        major_guide_stroke_dasharray="0",
        guide_stroke_dasharray="0",
    )


def _colours() -> str:
    """The lines behind the curve, which pygal draws black, and all colours at night."""
    quiet, line, accent = _DARK
    return (
        f".axis .line {{stroke: {_LIGHT[1]} !important}}"
        "@media (prefers-color-scheme: dark) {"
        f".axis text {{fill: {quiet} !important}}"
        f".axis .line {{stroke: {line} !important}}"
        f".color-0 {{stroke: {accent} !important; fill: {accent} !important}}"
        "}"
    )
