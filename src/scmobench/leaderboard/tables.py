"""What tables share: the order of data, how a number is written, headings and Markdown."""

from __future__ import annotations

import re
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
VARIANT = re.compile(r"[+\[]")
"""What tells the name of an ablation, or of a method with changed settings, from the method's own."""
ARROWS = {"min": " ↓", "max": " ↑"}


def escaped(text: Any) -> str:
    """Text on one line, as a Markdown table holds it."""
    return " ".join(str(text).split()).replace("|", "\\|")


def score(value: float, sd: float | None = None, n: int | None = None) -> str:
    """``0.3841 ± 0.0012 (5)``; values below 0.001 keep four significant digits."""
    small = 0 < abs(value) < 1e-3
    text = f"{value:.4g}" if small else f"{value:.4f}"
    if pd.notna(sd):
        text += f" ± {sd:.2g}" if small else f" ± {sd:.4f}"
    return text + (f" ({n})" if pd.notna(n) else "")


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
