"""Figures of the page: one row a method, its mean as a dot and ± sd as a line, drawn by a template as SVG.

Positions across are per cent of the axis, so that a figure fits any screen while its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from scmobench.leaderboard.panels import ROLES, Entry, by_role

LONGEST = 30  # characters of a name in a figure
EM = 6.9  # width of a character, pixels
ROOM = 0.5  # how far controls may stretch the axis to each side, in lengths of the methods' axis
FAR = 4.0  # a gap of this many spans of the better half or more puts what is worse outside the axis


@dataclass(frozen=True)
class Axis:
    """A linear axis."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Position of a value in per cent, at most those of the ends."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self) -> list[tuple[float, str]]:
        """A few round values, as numbers and as text."""
        rough = (self.high - self.low) / 7
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if s >= rough * (1 - 1e-9))
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, f"{i * step:.{digits}f}".replace("-", "−")) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Figure:
    """What a figure shows.

    Attributes
    ----------
    entries : methods and controls, best first.
    lined : those with a dashed line through the figure.
    label : of the axis.
    direction : ``min`` or ``max``, towards better.
    about : what the figure shows, for readers that do not see it.
    number : of the figure, unique in the page.
    """

    entries: Sequence[Entry]
    lined: Sequence[Entry]
    label: str
    direction: str
    about: str
    number: int

    @cached_property
    def axis(self) -> Axis | None:
        """The axis; none where nothing has a mean."""
        return axis(self.entries, self.direction)

    @cached_property
    def rows(self) -> list[Entry | str]:
        """Entries by role, below headings; methods without another track need none."""
        roles = by_role(self.entries)
        rows: list[Entry | str] = []
        for role, members in roles.items():
            if members and (role != "method" or roles["supervised"]):
                rows.append(ROLES[role])
            rows += members
        return rows

    @property
    def outside(self) -> list[Entry]:
        """Entries with a mean outside the axis."""
        return [e for e in self.entries if pd.notna(e.row["mean"]) and not self.axis.holds(e.row["mean"])]

    @property
    def left(self) -> int:
        """Width of ranks and names, pixels."""
        return round(44 + EM * max((min(len(e.name), LONGEST) for e in self.entries), default=0))

    @property
    def right(self) -> int:
        """Width of the scores, pixels."""
        return round(16 + EM * max((len(e.cells[0].text) for e in self.entries), default=0))


def axis(entries: Sequence[Entry], direction: str) -> Axis | None:
    """The axis on which the methods can be told apart: far worse ones and far controls lie outside it."""
    table = pd.DataFrame([{**e.row, "role": e.role} for e in entries], columns=["mean", "sd", "role"])
    table = table.astype({"mean": float, "sd": float}).dropna(subset="mean").fillna({"sd": 0.0})
    if table.empty:
        return None
    control = table["role"] == "control"
    inner = (table if control.all() else table[~control]).sort_values("mean", ascending=direction == "min")
    means = inner["mean"].to_numpy()
    for k in range(max(3, (len(means) + 1) // 2), len(means)):
        gap, span = abs(means[k] - means[k - 1]), abs(means[k - 1] - means[0])
        if gap > FAR * span > 0:
            inner = inner[:k]
            break
    low, high = (inner["mean"] - inner["sd"]).min(), (inner["mean"] + inner["sd"]).max()
    room = ROOM * (high - low)
    near = table["mean"][control & table["mean"].between(low - room, high + room)]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.04 * (high - low) or 0.05 * abs(high) or 0.05
    return Axis(low - pad, high + pad)
