"""The plots of docs/vardiff.md, from the runs of vardiff_simulation.py."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.figure import Figure
from vardiff_machines import BIN, SIZES, Run

mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "vardiff", "font.size": 11, "axes.grid": True, "grid.alpha": 0.3}
)
COLOURS = {"dmpool": "#0b6e4f", "ckpool": "#c1440e", "DATUM": "#3b5bb5", "SRI": "#8a6d00"}
STYLES = {"dmpool": "-", "ckpool": "--", "DATUM": "-.", "SRI": ":"}


def draw(results: dict[str, dict[str, list[Run]]], folder: str) -> None:
    """Write the plots into a folder."""
    _convergence(results["steady"], Path(folder) / "vardiff-convergence.svg")
    _day(results["asleep"], Path(folder) / "vardiff-sleep.svg")
    _spread(results["steady"], Path(folder) / "vardiff-spread.svg")


def _size_of(machines: int) -> Callable[[tuple[int, Run]], int]:
    """Which of the sizes a machine is of, by its place."""
    return lambda placed: placed[0] * SIZES // machines


def _line(name: str) -> dict[str, Any]:
    return {
        "label": name,
        "color": COLOURS[name],
        "linestyle": STYLES[name],
        "linewidth": 2.4 if name == "dmpool" else 1.8,
    }


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _convergence(steady: dict[str, list[Run]], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 4.2))
    for name, runs in steady.items():
        sizes, middle, late = [], [], []
        for _, group in groupby(enumerate(runs), _size_of(len(runs))):
            of_size = [run for _, run in group]
            seconds = sorted(max(run.converged_after(0.0, run.seconds), 1.0) for run in of_size)
            sizes.append(sorted(run.hashrate(0.0) for run in of_size)[len(of_size) // 2])
            middle.append(seconds[len(seconds) // 2])
            late.append(seconds[len(seconds) * 9 // 10])
        axes.plot(sizes, middle, **_line(name))
        axes.plot(sizes, late, color=COLOURS[name], linestyle=STYLES[name], linewidth=0.9, alpha=0.7)
    axes.set(xscale="log", yscale="log", xlabel="hashrate of the machine", ylabel="seconds")
    axes.set_title(
        "Until the share rate stays within a factor of two of the goal\n(thick: median, thin: 90 %)"
    )
    axes.set_xticks([1e9, 1e10, 1e11, 1e12, 1e13, 1e14], ["1 GH/s", "10", "100", "1 TH/s", "10", "100"])
    axes.set_yticks([1, 10, 60, 600, 3600], ["≤ 1 s", "10 s", "1 min", "10 min", "1 h"])
    axes.minorticks_off()
    axes.legend(ncols=4, loc="upper right", fontsize=9)
    axes.set_ylim(0.8, 12_000)
    _save(figure, path)


def _day(asleep: dict[str, list[Run]], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 4.2))
    for name, runs in asleep.items():
        chosen = [run for run in runs if run.hashrate(0.0) >= 20e12]
        minutes, rates = [], []
        for minute in range(int(chosen[0].seconds / 60)):
            first = int(minute * 60 / BIN)
            counts = sorted(sum(run.bins[first : first + 6]) / run.pool.goal for run in chosen)
            minutes.append(minute + 0.5)
            rates.append(max(counts[len(counts) // 2], 0.1))
        axes.plot(minutes, rates, **_line(name))
    axes.axvspan(30, 90, color="#999999", alpha=0.2)
    axes.text(60, 20, "machine asleep", ha="center")
    axes.set(yscale="log", xlabel="minutes after connecting", ylabel="shares a minute / goal")
    axes.set_title("Machines of 20 to 300 TH/s, asleep for an hour: median share rate")
    axes.set_yticks(
        [0.1, 1, 10, 100, 1000, 1e4, 1e5, 1e6], ["0", "1", "10", "100", "1000", "10⁴", "10⁵", "10⁶"]
    )
    axes.minorticks_off()
    axes.legend(ncols=4, loc="upper left", fontsize=9)
    _save(figure, path)


def _spread(steady: dict[str, list[Run]], path: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3.8), sharey=True)
    for name, runs in steady.items():
        around_goal, around_own = [], []
        for run in runs:
            counts = run.counted(1800.0, run.seconds)
            mean = sum(counts) / len(counts)
            around_goal += counts
            around_own += [count / mean for count in counts if mean]
        for axis, values in zip(axes, (around_own, around_goal), strict=True):
            values.sort()
            points = [at / 60 for at in range(1, 60)]
            axis.plot([values[int(point * len(values))] for point in points], points, **_line(name))
    axes[0].set(title="over the machine's own mean", ylabel="part of the 5-minute windows")
    axes[1].set(title="over the pool's goal")
    for axis in axes:
        axis.set(xlabel="shares in 5 minutes", xlim=(0.4, 1.9))
    axes[0].legend(loc="upper left", fontsize=9)
    _save(figure, path)
