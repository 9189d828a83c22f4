"""Each kind of picture, drawn from numbers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from scmobench.figures import style
from scmobench.figures.style import CARD, CONTROL, FAINT, GRID, MARKERS, METHODS, OTHER, TYPES

COLUMNS = 3  # panels side by side
LEGEND = 4  # columns of a legend
CHANCE = 1.96  # of a standard deviation: 95 %
APART = 0.2  # of a row between two methods in it


def colours(groups: pd.Series) -> dict[str, str]:
    """A colour for each group, by name; the rarest of more groups than the palette has share one."""
    names = list(groups.value_counts().sort_index().sort_values(ascending=False, kind="stable").index)
    own = names if len(names) <= len(TYPES) else names[: len(TYPES) - 1]
    return dict(zip(sorted(own), TYPES, strict=False)) | dict.fromkeys(names[len(own) :], OTHER)


def umaps(
    panels: Mapping[str, tuple[np.ndarray, str]], groups: pd.Series, shades: Mapping[str, str]
) -> Figure:
    """One panel an embedding (title -> layout, note), cells coloured by their group."""
    rows, keys = -(-len(panels) // COLUMNS), _groups(shades)
    figure = style.canvas(1.5 * rows + 0.2 + 0.16 * -(-len(keys) // LEGEND))
    all_axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    order, colour = _mixed(groups, shades)
    for axes, (title, (places, note)) in zip(all_axes, panels.items(), strict=False):
        size = np.clip(3000 / len(groups), 0.3, 6)
        axes.scatter(*places[order].T, s=size, c=colour, linewidths=0)
        style.headed(axes, title, note)
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.03)
    for axes in all_axes:
        axes.set_axis_off()
    style.legend(figure, keys, LEGEND)
    return figure


def features(r: Mapping[str, pd.Series], named: Sequence[str], n: int, what: str) -> Figure:
    """Correlation of all features by method, and of the ``named``, best ones first, in equal parts.

    ``r`` : method -> correlation by feature; ``n`` test cells; ``what`` the features are.
    """
    height = 0.155 * len(named)
    figure = style.canvas(1.85 + height)
    top, below = figure.subplots(2, 1, height_ratios=[1.15, max(height, 0.3)])
    chance = CHANCE / np.sqrt(n)
    top.axhspan(-chance, chance, color=GRID, alpha=0.7, linewidth=0)
    below.axvspan(-chance, chance, color=GRID, alpha=0.7, linewidth=0)
    heights = style.rows(below, named)
    for values, shift, colour, marker in _looks(r):
        ranked = values.sort_values(ascending=False).to_numpy()
        top.plot(np.linspace(0, 100, len(ranked)), ranked, color=colour, linewidth=1.2)
        below.plot(values.reindex(named), heights + shift, marker, color=colour, markersize=3.2)
    count = len(next(iter(r.values())))
    top.set(xlabel=f"% of {count} {what}, best first", ylabel="correlation", xlim=(0, 100))
    top.yaxis.grid(True)
    below.set(xlabel="correlation of predicted and measured")
    below.axhline(len(named) / 2 + 0.5, color=FAINT, linewidth=0.6, linestyle=(0, (4, 3)))
    band = Patch(color=GRID, label="by chance (95 %)")
    style.legend(figure, [*_methods(r), band], LEGEND if len(r) != LEGEND else COLUMNS)
    return figure


def scatters(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray, str]],
    groups: pd.Series,
    shades: Mapping[str, str],
    method: str,
) -> Figure:
    """Predicted against measured, one panel a feature (name -> measured, predicted, note), equal axes.

    A measurement of two values, as open and closed peaks, is spread a little to both sides.
    """
    keys = _groups(shades)
    figure = style.canvas(2.35 + 0.16 * -(-len(keys) // LEGEND))
    order, colour = _mixed(groups, shades)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, (measured, predicted, note)) in zip(all_axes, panels.items(), strict=True):
        ends = min(measured.min(), predicted.min()), max(measured.max(), predicted.max())
        room = 0.06 * (ends[1] - ends[0])
        if len(np.unique(measured)) == 2:
            measured = measured + np.random.default_rng(0).uniform(-room, room, len(measured))
        axes.plot(ends, ends, color=FAINT, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        size = np.clip(3000 / len(groups), 1, 7)
        axes.scatter(measured[order], predicted[order], s=size, c=colour, linewidths=0, alpha=0.85)
        style.headed(axes, name, note)
        limits = (ends[0] - 1.2 * room, ends[1] + 1.2 * room)
        axes.set(xlabel="measured", xlim=limits, ylim=limits)
        axes.set_aspect("equal", adjustable="box")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
    all_axes[0].set_ylabel(f"predicted by {method}")
    style.legend(figure, keys, LEGEND)
    return figure


def success(tables: Mapping[str, pd.DataFrame], control: pd.DataFrame | None) -> Figure:
    """Probability of the true partner, and of a cell of its type, by type (method -> `cells.success`)."""
    first = next(iter(tables.values()))
    keys = [*_methods(tables), *([] if control is None else [_dot(CONTROL, "control: all alike", "|")])]
    figure = style.canvas(0.75 + 0.24 * len(first) + 0.16 * -(-len(keys) // COLUMNS))
    titles = {"partner": "probability of the true partner", "type": "probability of its cell type"}
    names = {"partner": [f"{name} ({n})" for name, n in first["cells"].items()], "type": [""] * len(first)}
    for axes, (column, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        heights = style.rows(axes, names[column])
        for table, shift, colour, marker in _looks(tables):
            places = table[column].reindex(first.index)
            axes.plot(places, heights + shift, marker, color=colour, markersize=3.6)
        if control is not None:
            axes.plot(control[column].reindex(first.index), heights, "|", color=CONTROL, markersize=12)
        axes.set(xlabel=title)
        right = 1 if column == "type" else max(table[column].max() for table in tables.values())
        axes.set_xlim(-0.04 * right, 1.04 * right)
    style.legend(figure, keys, COLUMNS)
    return figure


def training(curves: Mapping[str, pd.Series], best: Mapping[str, int | None], measure: str) -> Figure:
    """Validation score by epoch, one line a seed; a dot marks the epoch that was kept."""
    figure = style.canvas(1.9)
    axes: Axes = figure.subplots()
    colour = METHODS[0]
    for seed, curve in curves.items():
        axes.plot(curve.index, curve, color=colour, linewidth=0.9, alpha=0.7)
        if best.get(seed) in curve.index:
            axes.plot(best[seed], curve[best[seed]], "o", color=colour, markersize=4.5, markeredgecolor=CARD)
    line = Line2D([], [], color=colour, linewidth=0.9, label=f"one seed of {len(curves)}")
    axes.set(xlabel="epoch", ylabel=f"validation {measure}")
    axes.yaxis.grid(True)
    style.legend(figure, [line, _dot(colour, "epoch kept")], LEGEND)
    return figure


def _mixed(groups: pd.Series, shades: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """An order of the cells in which no group lies on top of the others, and their colours in it."""
    order = np.random.default_rng(0).permutation(len(groups))
    return order, groups.map(dict(shades)).fillna(OTHER).to_numpy()[order]


def _groups(shades: Mapping[str, str]) -> list[Line2D]:
    shared = [name for name, shade in shades.items() if shade == OTHER]
    own = [_dot(shade, name) for name, shade in shades.items() if shade != OTHER]
    return [*own, *([_dot(OTHER, f"{len(shared)} others")] if shared else [])]


def _dot(colour: str, label: str, marker: str = "o") -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="none", label=str(label))


def _looks(methods: Mapping[str, Any]) -> Iterator[tuple[Any, float, str, str]]:
    """What belongs to each method, how far above its row's middle its marker lies, its colour and marker."""
    shifts = APART * ((len(methods) - 1) / 2 - np.arange(len(methods)))
    return zip(methods.values(), shifts, METHODS, MARKERS, strict=False)


def _methods(methods: Mapping[str, object]) -> list[Line2D]:
    return [_dot(c, name, m) for name, c, m in zip(methods, METHODS, MARKERS, strict=False)]
