"""The page: one HTML file that opens from disk and asks no network.

Tables sort and filter by DataTables, which the package itables brings as one file: 0.6 MB, keyboard and
screen-reader support, kept up to date. Figures are SVG drawn by the templates: they need no script, print
sharply and follow the dark scheme.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from scmobench.leaderboard import axes
from scmobench.leaderboard.across import across
from scmobench.leaderboard.effects import effects
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.panels import ROLES, panels
from scmobench.leaderboard.provenance import provenance
from scmobench.leaderboard.published import published_table
from scmobench.leaderboard.roster import Record
from scmobench.leaderboard.standings import Metadata
from scmobench.leaderboard.summary import Boards, summary
from scmobench.leaderboard.tables import TITLES, heading, primary

PAGE = "index.html"
MEDIA = {"webp": "image/webp", "png": "image/png", "svg": "image/svg+xml", "jpg": "image/jpeg"}


def boards(standings: pd.DataFrame, metrics: Metadata) -> Boards:
    """Panels and summary of each task that has runs."""
    tasks = [task for task in TITLES if task in set(standings["task"])]
    found = {task: panels(standings, metrics[task], task) for task in tasks}
    return {task: (shown, summary(shown, across(standings, task))) for task, shown in found.items()}


def report_page(
    found: Boards,
    metrics: Metadata,
    published: pd.DataFrame,
    records: Iterable[Record],
    pictures: Path | None,
    methods: str,
) -> str:
    """The HTML page.

    Parameters
    ----------
    found : panels and summaries, from `boards`.
    metrics : task -> metric -> metadata.
    published : figures, from `scmobench.leaderboard.published.read_published`; they have a tab of their own.
    records : the runs, for where the page's numbers come from.
    pictures : folder of pictures of cells, with their index ``figures.json``.
    methods : the page of methods, as links of the page name it; empty where there is none.
    """
    told = provenance(records, [panel for members, _ in found.values() for panel in members])
    told = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return filled(
        "index.html.jinja",
        boards=found,
        titles=TITLES,
        roles=ROLES,
        methods=methods,
        published=_published(published, metrics),
        provenance=Markup(told.replace("<", "\\u003c")),  # a script element holds it whatever it says
        pictures=_pictures(pictures),
        anchor=lambda task, dataset: "-".join([task, *dataset.split()]),
        axes=axes,
        effects=effects,
        datatables=_datatables(),
    )


def _published(published: pd.DataFrame, metrics: Metadata) -> list[tuple[str, str, pd.DataFrame]]:
    """Task, heading and table of the published figures of each task that has any."""
    found = []
    for task in [task for task in TITLES if task in set(published["task"])]:
        first, rows = primary(metrics[task]), published[published["task"] == task]
        table = published_table(rows, first, metrics[task][first]["direction"])
        found.append((task, heading(first, metrics[task]), table))
    return found


def _pictures(folder: Path | None) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Pictures by task, data set and subtask, their files as data addresses."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    if folder is None or not (index := folder / "figures.json").is_file():
        return found
    for picture in json.loads(index.read_text(encoding="utf-8")):
        path = folder / picture["file"]
        coded = base64.b64encode(path.read_bytes()).decode()
        source = f"data:{MEDIA[path.suffix[1:]]};base64,{coded}"
        place = tuple(picture[name] for name in ("task", "dataset", "direction"))
        found.setdefault(place, []).append(picture | {"source": source})
    return found


def _datatables() -> Markup:
    """The library's file, its class under the name ``DataTable`` in place of its exports."""
    text = files("itables").joinpath("html", "dt_bundle.js").read_text(encoding="utf-8")
    (exports,) = re.findall(r"export\{([^}]*)\};?", text)
    (name,) = re.findall(r"([\w$]+) as default", exports)
    text = text.replace(f"export{{{exports}}}", f"const DataTable={name}")
    return Markup(text.replace("</script", "<\\/script"))
