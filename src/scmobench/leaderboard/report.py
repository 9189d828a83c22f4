"""The pages of our runs: one in Markdown for each task, and one in HTML for all of them.

The HTML page needs nothing else: no script, no font, no network. Published figures cannot be compared with
our runs; they stay in pages of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from scmobench.leaderboard.figures import axis
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.panels import ROLES, Panel, Row, panels, remarks
from scmobench.leaderboard.standings import Metadata
from scmobench.leaderboard.tables import TITLES, VARIANT

PAGE = "index.html"


def task_page(task: str, standings: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of one task: a table for each data set and subtask.

    Parameters
    ----------
    standings : rows of this task.
    metrics : metric -> metadata, of this task.
    """
    shown = panels(standings, metrics)
    return filled("task.md.jinja", title=TITLES[task], panels=shown, remarks=remarks)


def report_page(standings: pd.DataFrame, metrics: Metadata, published: Collection[str] = ()) -> str:
    """The HTML page: a figure, and a folded table, for each comparable group of runs.

    Parameters
    ----------
    standings : of our runs, from `scmobench.leaderboard.standings.standings`.
    metrics : task -> metric -> metadata.
    published : tasks that have a page of published figures.
    """
    tasks = {
        task: panels(standings[standings["task"] == task], metrics[task])
        for task in TITLES
        if task in set(standings["task"])
    }
    return filled(
        "index.html.jinja",
        tasks=tasks,
        published=published,
        titles=TITLES,
        roles=ROLES,
        legend=re.split(r"^- ", filled("legend.md.jinja"), flags=re.M)[1:],
        axis=axis,
        figures=_figures,
        remarks=remarks,
    )


def _figures(panel: Panel) -> list[tuple[str, list[str | Row], list[Row]]]:
    """What each figure shows in words, its headings and rows, and the rows with a dashed line through it."""
    main = [row for row in panel.rows if not row["variant"]]
    controls = [row for row in main if row["role"] == "control" and row["full"]]
    figures = [("methods and controls", _lines(main), controls)]
    bases = {VARIANT.split(row["method"])[0] for row in panel.rows if row["variant"]}
    if bases:
        beside = [row for row in panel.rows if row["variant"] or row["method"] in bases]
        lined = [row for row in beside if row["method"] in bases and pd.notna(row["mean"])]
        figures.append(("ablations and changed settings", _lines(beside), lined))
    return figures


def _lines(rows: Sequence[Row]) -> list[str | Row]:
    """Rows by role below headings; methods without another track need no heading."""
    roles = {row["role"] for row in rows}
    lines: list[str | Row] = []
    for role, title in ROLES.items():
        if role in roles and (role != "method" or "supervised" in roles):
            lines.append(title)
        lines += [row for row in rows if row["role"] == role]
    return lines
