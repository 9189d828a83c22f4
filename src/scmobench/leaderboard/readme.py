"""The README's tables: a compact view of the standings, written between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import COMPARABLE
from scmobench.leaderboard.standings import Metadata
from scmobench.leaderboard.tables import (
    ABSENT,
    TITLES,
    VARIANT,
    groups,
    heading,
    markdown_table,
    primary,
    score,
)

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
    tables = {}
    for task, title in TITLES.items():
        first = primary(metrics[task])
        rows = _shown(standings[(standings["task"] == task) & (standings["metric"] == first)])
        if not rows.empty:
            label = f"**{title}** — {heading(first, metrics[task])}"
            tables[label] = _summary(rows, higher_is_better=metrics[task][first]["direction"] == "max")
    return filled("readme.md.jinja", tables=tables).strip()


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


def _summary(rows: pd.DataFrame, higher_is_better: bool) -> str:
    """A table with a row for each data set and subtask, and a column for each method.

    Methods come first that beat the largest share of the others, summed over rows.
    """
    data = groups(rows)
    rows = pd.concat([group.assign(place=place) for place, (_, group) in enumerate(data)])
    track = rows.groupby(["place", "role"])["mean"]
    beaten = track.rank(method="min", ascending=higher_is_better) - 1
    rows["beaten"] = beaten / (track.transform("size") - 1).clip(lower=1)
    rows["text"] = [_cell(row) for row in rows.to_dict("records")]
    order = rows.groupby(["role", "method"], as_index=False)["beaten"].sum().round(9)
    order = order.sort_values(["role", "beaten", "method"], ascending=[True, False, True])
    cells = rows.pivot(index="place", columns=["role", "method"], values="text").fillna(ABSENT)
    cells = cells[pd.MultiIndex.from_frame(order[["role", "method"]])]
    header = ["Data", *(NAMES[role].format(name.replace("+", "<br>+")) for role, name in cells.columns)]
    lines = zip(_data_names([key for key, _ in data]), cells.to_numpy(), strict=True)
    return markdown_table(header, [[name, *texts] for name, texts in lines])


def _data_names(keys: list[dict[str, str]]) -> list[str]:
    """Data set and subtask; where they have several data hashes or normalisations, these too."""
    names = [(key["dataset"], key["subtask"]) for key in keys]
    details = [f"{key['data_hash'][:6]} {key['normalization']}" for key in keys]
    return [
        "<br>".join([*name, detail] if names.count(name) > 1 else name)
        for name, detail in zip(names, details, strict=True)
    ]


def _cell(row: Mapping[str, Any]) -> str:
    if pd.isna(row["mean"]):
        return "n/a" if row["reason"] else "failed" if row["failed"] else ABSENT
    mean, _, spread = score(row["mean"], row["sd"], row["n"]).partition(" ")
    lines = [f"**{mean}**" if row["best"] is True else mean, spread]
    if row["reason"] and row["applicable"]:
        lines.append(f"of {row['applicable']}")
    return "<br>".join(line.replace(" ", "&nbsp;") for line in lines)  # narrow columns, no line broken
