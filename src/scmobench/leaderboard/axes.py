"""The axes of figures, and which methods no other one beats at a lower cost.

Positions are per cent of the axis, so that a figure fits any screen while its text keeps its size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from scmobench.leaderboard.effects import Effect

ROOM = 0.5  # how far controls may stretch the axis to each side, in lengths of the methods' axis
TAG = 30  # characters of a name in a cost figure, some 400 x 190 pixels large
WIDE = 1.7  # per cent of its width, of one of them
FAR = 4.0  # a gap of this many spans of the better half or more puts what is worse outside the axis


@dataclass(frozen=True)
class Axis:
    """A linear axis, or a logarithmic one."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Position of a value in per cent, at most those of the ends."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = map(math.log10, (low, high, value))
        return 100 * min(1.0, max(0.0, (value - low) / (high - low)))

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self) -> list[tuple[float, str]]:
        """A few round values, as numbers and as text."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for parts in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
                steps = [part * 10.0**d for d in decades for part in parts if self.holds(part * 10.0**d)]
                if len(steps) > 2:
                    break
            return [(step, f"{step:,.6g}") for step in steps]
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if s >= rough * (1 - 1e-9))
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, f"{i * step:.{digits}f}".replace("-", "−")) for i in range(first, last + 1)]


def axis(rows: Sequence[Mapping[str, Any]], direction: str) -> Axis | None:
    """The axis on which the methods of a panel can be told apart; None where no row has a mean.

    Methods that are far worse than the others, and far controls, lie outside. Of all others, the mean ± sd
    and the interval (``ci_low``, ``ci_high``, where a row has these) lie on the axis.
    """
    known = [(row["mean"], *_reach(row), row["role"] == "control") for row in rows if pd.notna(row["mean"])]
    if not known:
        return None
    inner = sorted([one for one in known if not one[3]] or known, reverse=direction != "min")
    means = [mean for mean, *_ in inner]
    for k in range(max(3, (len(means) + 1) // 2), len(means)):
        gap, span = abs(means[k] - means[k - 1]), abs(means[k - 1] - means[0])
        if gap > FAR * span > 0:
            inner = inner[:k]
            break
    low, high = _ends(inner)
    room = ROOM * (high - low)
    held = [*inner, *(one for one in known if one[3] and low - room <= one[0] <= high + room)]
    while (ends := _ends(held)) != (low, high):
        low, high = ends
        held = [one for one in known if low <= one[0] <= high]
    pad = 0.04 * (high - low) or 0.05 * abs(high) or 0.05
    return Axis(low - pad, high + pad)


def effect_axis(effects: Sequence[Effect]) -> Axis:
    """The axis of effects, with zero on it."""
    bounds = [(0.0, 0.0, 0.0), *((e.mean, e.low, e.high) for e in effects)]
    rows = [{"mean": m, "sd": 0.0, "ci_low": a, "ci_high": b, "role": "method"} for m, a, b in bounds]
    found = axis(rows, "min")
    pad = 0.04 * (found.high - found.low)
    return Axis(min(found.low, -pad), max(found.high, pad))


def rank_axis(rows: Sequence[Mapping[str, Any]]) -> Axis:
    """The axis of mean ranks with half a critical difference to each side."""
    means = [row["mean_rank"] for row in rows]
    half = 0.0 if pd.isna(rows[0]["critical_difference"]) else rows[0]["critical_difference"] / 2
    return Axis(max(0.5, min(means) - half - 0.2), max(means) + half + 0.2)


@dataclass(frozen=True)
class Costs:
    """Methods by cost and score, and the steps of the front: nothing scores better at a lower cost."""

    cost: Axis
    score: Axis
    rows: Sequence[Mapping[str, Any]]
    front: Sequence[Mapping[str, Any]]
    measure: str
    direction: str

    def at(self, row: Mapping[str, Any]) -> tuple[float, float]:
        """Position from the left and from above, in per cent; better scores are higher."""
        height = self.score.at(row["mean"])
        return self.cost.at(row[self.measure]), 100 - height if self.direction == "max" else height

    def tags(self, title: str) -> list[tuple[Mapping[str, Any], str, int, int]]:
        """Methods of the front whose names find room: row, side of the dot, and shift in pixels.

        ``title`` stands above the upward axis.
        """
        taken = [(x - 1, y - 3, x + 1, y + 3) for x, y in map(self.at, self.rows)]
        taken.append((0, -12, WIDE * len(title), -2))
        found = []
        for row in sorted(self.front, key=self.at, reverse=True):
            x, y = self.at(row)
            width, height = WIDE * min(TAG, len(row["method"])) + 1, 8
            for side, dx, dy, left, top in (
                ("end", -8, -7, x - width - 2, y - height - 2),
                ("start", 8, -7, x + 1, y - height - 2),
                ("start", 8, 15, x + 1, y + 2),
                ("end", -8, 15, x - width - 2, y + 2),
            ):
                box = (left, top, left + width, top + height)
                if left >= 0 and box[2] <= 100 and not any(_overlap(box, other) for other in taken):
                    taken.append(box)
                    found.append((row, side, dx, dy))
                    break
        return found


def costs(rows: Sequence[Mapping[str, Any]], measure: str, direction: str) -> Costs | None:
    """Score against ``seconds`` or ``peak_memory_gb`` of methods; None where fewer than two have both."""
    known = [r for r in rows if r["role"] != "control" and pd.notna(r["mean"]) and r[measure] > 0]
    scale = axis([{name: row[name] for name in ("mean", "sd", "role")} for row in known], direction)
    known = [row for row in known if scale and scale.holds(row["mean"])]
    if len(known) < 2:
        return None
    sign = 1 if direction == "min" else -1
    front, best = [], math.inf
    for row in sorted(known, key=lambda row: (row[measure], sign * row["mean"], row["method"])):
        if sign * row["mean"] < best:
            best = sign * row["mean"]
            front.append(row)
    known.sort(key=front.__contains__)  # drawn last, on top of the others
    values = [row[measure] for row in known]
    cost = Axis(min(values) / 1.5, max(values) * 1.5, log=True)
    return Costs(cost, scale, known, front, measure, direction)


def _reach(row: Mapping[str, Any]) -> tuple[float, float]:
    """The ends of the mean ± sd and the interval of a row."""
    mean, sd = row["mean"], 0.0 if pd.isna(row["sd"]) else row["sd"]
    ends = [mean - sd, mean + sd, *filter(pd.notna, (row.get("ci_low"), row.get("ci_high")))]
    return min(ends), max(ends)


def _ends(found: Sequence[tuple[float, float, float, bool]]) -> tuple[float, float]:
    return min(low for _, low, _, _ in found), max(high for _, _, high, _ in found)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
