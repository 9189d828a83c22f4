"""The axis of a figure, which shows the mean of each method as a dot and ± sd as a line.

Positions across are per cent of the axis, so that a figure fits any screen while its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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


def axis(rows: Sequence[Mapping[str, Any]], direction: str) -> Axis | None:
    """The axis on which the methods of a panel can be told apart; None where no row has a mean.

    Methods that are far worse than the others, and far controls, lie outside.
    """
    table = pd.DataFrame(rows, columns=["mean", "sd", "role"]).astype({"mean": float, "sd": float})
    table = table.dropna(subset="mean").fillna({"sd": 0.0})
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
