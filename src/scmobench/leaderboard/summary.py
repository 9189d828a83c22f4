"""The summary of a task: methods against data sets, coloured by their scaled scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress, groupby
from statistics import median
from typing import Any

import pandas as pd

from scmobench.leaderboard import plain_words
from scmobench.leaderboard.across import COVERED
from scmobench.leaderboard.evidence import LEVEL
from scmobench.leaderboard.panels import ROLES, Panel, Row
from scmobench.leaderboard.roster import FLAGS

PODIUM = 3  # methods that a headline names; more where they share a mean rank
LEVELS = 10  # shades of the colour ramp


@dataclass(frozen=True)
class Line:
    """A method and its rows in the panels (``tiles``); ``missing`` names the data sets that its rank lacks.

    ``marks`` are T where it is transductive and L where it is label-supervised; a control has none. A tile
    has a ``shade``, too: ``h0`` to ``h9``, or ``worse`` than the trivial control.
    """

    method: str
    role: str
    marks: str
    gloss: str
    tiles: Sequence[Row | None]
    mean_rank: float
    missing: Sequence[str]
    seconds: float
    leads: int
    tested: int


@dataclass(frozen=True)
class Summary:
    """The summary of a task.

    ``few`` are panels with few methods, and ``rare`` methods with runs on few data sets, of those that the
    suite knows; what a user adds is always shown. ``top`` is the scaled score of the strongest colour.
    ``tracks`` are the rows of `scmobench.leaderboard.across.across` that have a mean rank, by role.
    """

    panels: Sequence[Panel]
    few: Sequence[Panel]
    lines: Sequence[Line]
    rare: Sequence[Line]
    top: float
    tracks: Mapping[str, Sequence[Mapping[str, Any]]]

    def best(self, role: str) -> list[list[Line]]:
        """The first methods of a role by mean rank: at least three, in groups whose printed rank is equal."""
        ranked = [line for line in self.lines if line.role == role and pd.notna(line.mean_rank)]
        shared = [list(same) for _, same in groupby(ranked, key=lambda line: f"{line.mean_rank:.1f}")]
        before = accumulate(map(len, shared), initial=0)
        return [same for same, count in zip(shared, before, strict=False) if count < PODIUM]

    def level(self, role: str) -> int:
        """How many methods cannot be told from the best one over data sets; 0 where no test is possible."""
        return sum("a" in row["group"] for row in self.tracks[role])

    def differ(self, role: str) -> bool:
        """Whether a test finds any order over data sets."""
        return bool(self.level(role)) and self.tracks[role][0]["p_friedman"] < LEVEL


Boards = Mapping[str, tuple[Sequence[Panel], Summary]]  # panels and summary of each task


def summary(panels: Sequence[Panel], across: pd.DataFrame) -> Summary:
    """The summary of the panels of a task, means over subtasks left out, and of its methods over all."""
    whole = [panel for panel in panels if panel.key["subtask"] != "Overall"]
    methods = [sum(not row["variant"] for row in _scored(panel)) for panel in whole]
    most = max(methods, default=0)
    enough = [
        n >= (COVERED * most if of.about.known else min(1, most))
        for n, of in zip(methods, whole, strict=True)
    ]
    shown, few = ([*compress(whole, chosen)] for chosen in (enough, [not one for one in enough]))
    top = max([row["scaled"] for panel in shown for row in _scored(panel) if row["scaled"] > 0], default=1.0)
    held = [{row["method"]: row for row in panel.main} for panel in shown]
    roles = {row["method"]: row["role"] for panel in shown for row in panel.main}
    means = {row["method"]: row for row in across.to_dict("records")}
    lines = [_line(m, role, [of.get(m) for of in held], top, means.get(m)) for m, role in roles.items()]
    order = [*ROLES].index
    lines.sort(key=lambda line: (order(line.role), pd.isna(line.mean_rank), line.mean_rank, line.method))
    often = [line for line in lines if _often(line) or not plain_words.gloss(line.method.split("+")[0])]
    return Summary(shown, few, often, [line for line in lines if line not in often], top, _tracks(across))


def _often(line: Line) -> bool:
    return sum(tile is not None for tile in line.tiles) >= COVERED * len(line.tiles)


def _tracks(across: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Rows of methods with a mean rank, best first, with their counts as ``text``."""
    rows = across[across["mean_rank"].notna()].to_dict("records")
    for row in rows:
        tests = row["wins"], row["ties"], row["losses"]
        counts = "–".join(map(str, tests)) if any(tests) else ""
        row["text"] = " · ".join(filter(None, (f"{row['mean_rank']:.1f}", counts, row["group"])))
    supervised = {"method": False, "supervised": True}
    return {role: [r for r in rows if r["label_supervised"] == flag] for role, flag in supervised.items()}


def _scored(panel: Panel) -> list[Row]:
    return [row for row in panel.main if row["role"] != "control" and pd.notna(row["mean"])]


def _line(method: str, role: str, rows: Sequence[Row | None], top: float, mean: Mapping | None) -> Line:
    tiles = [row and row | {"shade": _shade(row, top)} for row in rows]
    held = [row for row in rows if row is not None]
    rank, missing = (mean["mean_rank"], mean["missing"]) if mean else (math.nan, [])
    seconds = median([row["seconds"] for row in held if pd.notna(row["seconds"])] or [math.nan])
    leads, tested = (sum(row[name] for row in held) for name in ("leads", "tested"))
    flags = zip("TL", FLAGS, strict=True) if role != "control" else ()
    marks = ", ".join(mark for mark, flag in flags if any(row[flag] is True for row in held))
    return Line(method, role, marks, held[0]["gloss"], tiles, rank, missing, seconds, leads, tested)


def _shade(row: Mapping[str, Any], top: float) -> str:
    if pd.isna(row["scaled"]):
        return "none"
    return "worse" if row["scaled"] < 0 else f"h{min(LEVELS - 1, int(LEVELS * row['scaled'] / top))}"
