"""The README's tables: a compact view of the standings, written between two markers."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import COMPARABLE
from scmobench.leaderboard.standings import Metadata
from scmobench.leaderboard.tables import TITLES, VARIANT, groups, heading, primary

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"
NAMES = ("{}", "{} (L)", "*{}*")
"""How the ``role`` of a column is written: method, label-supervised method, control."""


def readme_section(standings: pd.DataFrame, metrics: Metadata) -> str:
    """The tables of all tasks with their markers.

    Parameters
    ----------
    standings : of our runs, from `scmobench.leaderboard.standings.standings`.
    metrics : task -> metric -> metadata.
    """
    tables = []
    for task, title in TITLES.items():
        first = primary(metrics[task])
        rows = _shown(standings[(standings["task"] == task) & (standings["metric"] == first)])
        if not rows.empty:
            table = {"title": title, "heading": heading(first, metrics[task])}
            table["data"] = [key for key, _ in groups(rows)]
            table["cells"] = _cells(rows, higher_is_better=metrics[task][first]["direction"] == "max")
            tables.append(table)
    return filled("readme.md.jinja", tables=tables, names=NAMES).strip()


def replaced(text: str, section: str, path: str | Path = "README.md") -> str:
    """The text with its marked part replaced.

    Raises
    ------
    ValueError : the markers are not there once each, begin before end.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or begin > end:
        raise ValueError(
            f"{path}: expected one line {BEGIN} and below it one line {END}; add them where tables go"
        )
    return text[:begin] + section + text[end + len(END) :]


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows without ablations, changed settings, means over subtasks, and ensembles of few data sets."""
    variant = rows["method"].str.contains(VARIANT) & (rows["kind"] != "ensemble")
    pooled = (rows["subtask"] == "Overall") | rows["dataset"].str.contains("+", regex=False)
    rows = rows[~variant & ~pooled]
    role = rows["label_supervised"].astype(int).mask(rows["kind"] == "control", 2)
    best = rows["rank"] == rows.groupby([*COMPARABLE, role])["rank"].transform("min")
    covered = rows.groupby("method")["method"].transform("size")
    many = (rows["kind"] != "ensemble") | (2 * covered >= len(groups(rows)))
    return rows.assign(role=role, best=best)[many]


def _cells(rows: pd.DataFrame, higher_is_better: bool) -> pd.DataFrame:
    """A row for each data set and subtask, and a column for each method; cells hold rows of the standings.

    Methods come first that beat the largest share of the others, summed over rows.
    """
    rows = pd.concat([group.assign(place=place) for place, (_, group) in enumerate(groups(rows))])
    rows["shown"] = pd.Series(rows.to_dict("records"), index=rows.index)
    track = rows.groupby(["place", "role"])["mean"]
    beaten = track.rank(method="min", ascending=higher_is_better) - 1
    rows["beaten"] = beaten / (track.transform("size") - 1).clip(lower=1)
    order = rows.groupby(["role", "method"], as_index=False)["beaten"].sum().round(9)
    order = order.sort_values(["role", "beaten", "method"], ascending=[True, False, True])
    cells = rows.pivot(index="place", columns=["role", "method"], values="shown")
    return cells[pd.MultiIndex.from_frame(order[["role", "method"]])]
