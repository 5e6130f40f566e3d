"""The live view: one page at a time, over ssh and in 80 columns, with or without colour."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from pool.terminal.history import History
from pool.terminal.looker import Looker
from pool.terminal.pages import Line, Page, Tone, View, page
from pool.terminal.reading import Reading
from pool.terminal.words import cut

INTERVALS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
KEYS: Final = "o overview  w wrong  g gateways  n nodes  b blocks  p pause  +/- pace  q quit"
_STYLES: Final[dict[Tone, str]] = {
    "plain": "",
    "head": "bold",
    "good": "green",
    "info": "dim",
    "warning": "bold yellow",
    "critical": "bold red reverse",
}


class Top(App[None]):
    """See the head of this file. `looker` looks, every `interval` seconds."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #head, #keys { height: 1; }
    #body { height: 1fr; scrollbar-size-vertical: 1; background: ansi_default; }
    #lines { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "show('overview')", "overview"),
        Binding("w", "show('wrong')", "wrong"),
        Binding("g", "show('gateways')", "gateways"),
        Binding("n", "show('nodes')", "nodes"),
        Binding("b", "show('blocks')", "blocks"),
        Binding("p,space", "pause", "pause"),
        Binding("plus,equals_sign", "pace(-1)", "faster"),
        Binding("minus", "pace(1)", "slower"),
        Binding("q,ctrl+c", "quit", "quit"),
    ]

    def __init__(self, looker: Looker, interval: float) -> None:
        super().__init__(ansi_color=True)
        self.interval = interval
        self.shown: Page = "overview"
        self.paused = False
        self._looker = looker
        self._history = History()
        self._look: Reading | None = None
        self._hurry = asyncio.Event()

    def compose(self) -> ComposeResult:
        """A line above, the page, the keys."""
        yield Static(id="head", markup=False)
        with VerticalScroll(id="body", can_focus=True):
            yield Static("looking ..", id="lines", markup=False)
        yield Static(KEYS, id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#body").focus()
        self.run_worker(self._follow())

    def on_resize(self) -> None:
        """The lines are cut anew."""
        self.call_after_refresh(self._draw)

    async def _follow(self) -> None:
        while True:
            if not self.paused:
                self._look = await self._looker.look()
                self._history.add(self._look)
                self._draw()
            self._hurry.clear()
            try:
                async with asyncio.timeout(self.interval):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    def _draw(self) -> None:
        look = self._look
        width = max(self.size.width - 1, 40)
        pace = "paused" if self.paused else f"every {self.interval:g} s"
        at = "" if look is None else f"{dt.datetime.fromtimestamp(look.at).astimezone():%Y-%m-%d %H:%M:%S}"
        self.query_one("#head", Static).update(
            Text(cut(f"dmpool top  {at}  {pace}  page: {self.shown}", width), style="reverse")
        )
        if look is not None:
            lines = page(self.shown, View(look, self._history, width))
            self.query_one("#lines", Static).update(Text("\n").join(map(_styled, lines)))

    def action_show(self, name: Page) -> None:
        """Another page, from its top."""
        self.shown = name
        self.query_one("#body", VerticalScroll).scroll_home(animate=False)
        self._draw()

    def action_pause(self) -> None:
        """Keep what is shown, or go on."""
        self.paused = not self.paused
        self._draw()
        self._hurry.set()

    def action_pace(self, steps: int) -> None:
        """Look more or less often."""
        nearest = min(range(len(INTERVALS)), key=lambda place: abs(INTERVALS[place] - self.interval))
        self.interval = INTERVALS[min(max(nearest + steps, 0), len(INTERVALS) - 1)]
        self._draw()
        self._hurry.set()


def _styled(line: Line) -> Text:
    return Text(line.text, style=_STYLES[line.tone])
