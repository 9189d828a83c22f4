"""The pages of our runs: one in Markdown for each task, and one in HTML for all of them.

The HTML page needs nothing else: no script, no font, no network. Published figures cannot be compared with
our runs; they stay in pages of their own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from itertools import count
from typing import Any

import pandas as pd

from scmobench.leaderboard.figures import LONGEST, Figure
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.panels import ROLES, VARIANT, Panel, by_role, panels
from scmobench.leaderboard.standings import Metadata
from scmobench.leaderboard.tables import TITLES

PAGE = "index.html"


def task_page(task: str, standings: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of one task: a table for each data set and subtask.

    Parameters
    ----------
    standings : rows of this task.
    metrics : metric -> metadata, of this task.
    """
    return filled("task.md.jinja", title=TITLES[task], panels=panels(standings, metrics))


def report_page(standings: pd.DataFrame, metrics: Metadata, published: Collection[str] = ()) -> str:
    """The HTML page: a figure, and a folded table, for each comparable group of runs.

    Parameters
    ----------
    standings : of our runs, from `scmobench.leaderboard.standings.standings`.
    metrics : task -> metric -> metadata.
    published : tasks that have a page of published figures.
    """
    tasks = [
        {
            "id": task,
            "title": title,
            "published": task in published,
            "panels": panels(standings[standings["task"] == task], metrics[task]),
        }
        for task, title in TITLES.items()
        if task in set(standings["task"])
    ]
    legend = re.split(r"^- ", filled("legend.md.jinja"), flags=re.M)[1:]
    figures = partial(_figures, count(1))
    words = {"legend": legend, "titles": ROLES, "longest": LONGEST}
    return filled("index.html.jinja", tasks=tasks, figures=figures, roles=by_role, **words)


def _figures(numbers: count, panel: Panel) -> list[Figure]:
    """The figure of methods and controls and, where there are any, that of ablations."""
    entries, variants, label = panel.entries, panel.variants, panel.headings[0]
    bases = {VARIANT.split(entry.name)[0] for entry in variants}
    beside = [entry for entry in entries if entry in variants or entry.name in bases]
    shown = [
        ([e for e in entries if e not in variants], [e for e in entries if e.role == "control" and e.solid]),
        (beside, [entry for entry in beside if entry.name in bases and pd.notna(entry.row["mean"])]),
    ]
    about = ("methods and controls", "ablations and changed settings")
    return [
        Figure(members, lined, label, panel.direction, f"{label}, {panel.where}: {words}", next(numbers))
        for (members, lined), words in zip(shown, about, strict=True)
        if members is not beside or variants
    ]
