"""What tables share: the order of data, how a number is written, headings and Markdown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from scmobench.leaderboard.roster import COMPARABLE
from scmobench.types import SUBTASKS

TITLES = {
    "predict_modality": "Modality prediction",
    "match_modality": "Modality matching",
    "joint_embedding": "Joint embedding",
}
ABSENT = "—"
TINY = 1e-6  # of the value; a smaller spread is rounding
ARROWS = {"min": " ↓", "max": " ↑"}


def escaped(text: Any) -> str:
    """Text on one line, as a Markdown table holds it."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def score(value: float, sd: float | None = None, n: int | None = None) -> str:
    """``0.384 ± 0.003 (5)``: as many decimals as the spread supports.

    That is one digit of the sd that is not 0, two where it begins with 1; the mean has the same decimals.
    Without spread the value has four digits.
    """
    spread = sd if pd.notna(sd) and sd > TINY * abs(value) else 0.0
    text = f"{value:.{_decimals(spread, 1) if spread else _decimals(value, 4)}f}"
    if pd.notna(sd):
        text += f" ± {spread:.{_decimals(spread, 1)}f}" if spread else " ± 0"
    return text + (f" ({n})" if pd.notna(n) else "")


def _decimals(number: float, digits: int) -> int:
    """Decimals that show so many digits of a number; one digit more for a single one that would be a 1."""
    if not number:
        return digits - 1
    shown = f"{abs(number):.{digits - 1}e}"
    return max(0, digits - 1 + (digits == 1 and shown[0] == "1") - int(shown.split("e")[1]))


def primary(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """The metric that a task is ranked by."""
    return next(name for name, metadata in metrics.items() if metadata.get("primary"))


def heading(metric: str, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """A metric's label with an arrow towards better."""
    metadata = metrics.get(metric, {})
    return f"{metadata.get('label', metric)}{ARROWS.get(metadata.get('direction'), '')}"


def groups(standings: pd.DataFrame) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Comparable rows together, data sets by name, subtasks in the competition's order."""
    order = {name: place for place, name in enumerate((*SUBTASKS, "Overall"))}
    found = [(dict(zip(COMPARABLE, k, strict=True)), g) for k, g in standings.groupby(list(COMPARABLE))]
    return sorted(found, key=lambda f: (f[0]["dataset"], order.get(f[0]["subtask"], 99), *f[0].values()))
