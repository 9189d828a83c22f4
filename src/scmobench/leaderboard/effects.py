"""Effects: what an ablation or a changed setting does to its method, paired over seeds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from scmobench.experiment.config import headlines
from scmobench.leaderboard.evidence import LEVEL
from scmobench.leaderboard.panels import Panel
from scmobench.leaderboard.roster import VARIANT


@dataclass(frozen=True)
class Effect:
    """The mean difference of a variant to its method, over the ``n`` seeds that both have.

    ``low`` and ``high`` bound the mean with 95 % confidence; fewer than three seeds have no bounds. ``sure``:
    ``better`` or ``worse`` where the paired test tells the two apart, Holm-corrected over the variants of the
    method (`scmobench.leaderboard.evidence.evidence`); else empty.
    """

    method: str
    base: str
    gloss: str
    mean: float
    low: float
    high: float
    n: int
    sure: str

    @property
    def text(self) -> str:
        """The difference and its bounds, with as many digits as the width of the interval supports."""
        width = self.high - self.low
        size = width if width > 0 else abs(self.mean)
        digits = int(np.clip(1 - np.floor(np.log10(size)), 0, 6)) if size > 0 else 4
        numbers = [f"{value:+.{digits}f}".replace("-", "−") for value in (self.mean, self.low, self.high)]
        return numbers[0] + ("" if np.isnan(width) else f" [{numbers[1]}, {numbers[2]}]") + f" ({self.n})"


def effects(panel: Panel) -> list[Effect]:
    """Effects of all variants in a panel on the ranking metric, the most harmful ones last."""
    bases = {row["method"]: row["by_seed"] for row in panel.main if not row["variant"]}
    sign, found = 1 if panel.direction == "min" else -1, []
    for row in panel.rows:
        base, own = VARIANT.split(row["method"])[0], row["by_seed"]
        gaps = [own[seed] - unchanged for seed, unchanged in bases.get(base, {}).items() if seed in own]
        if row["variant"] and row["full"] is True and gaps:
            mean = float(row["gap"] if pd.notna(row["gap"]) else np.mean(gaps))
            sure = ("better" if sign * mean < 0 else "worse") if row["p_holm"] < LEVEL else ""
            told = row["method"], base, headlines("ablation").get(row["method"][len(base) + 1 :], "")
            found.append(Effect(*told, mean, row["gap_low"], row["gap_high"], len(gaps), sure))
    return sorted(found, key=lambda effect: (effect.base, sign * effect.mean, effect.method))
