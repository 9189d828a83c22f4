"""What GitHub shows: a picture and narrow tables, in brief for the README, in full for the folder."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from scmobench.leaderboard.evidence import FEWEST_SEEDS
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.summary import LEVELS, Boards, Line, Summary
from scmobench.leaderboard.tables import TITLES

BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"
MOST = 6  # data columns of a table, beside the method and its mean rank
BRIEF = 3  # methods in the README's tables; scMoGNN and the best trivial control stand there in any case
THEMES = ("light", "dark")
SIZES = {"width": 860, "row": 18, "column": 25, "names": 135, "head": 126, "gap": 64}
"""Of the picture, in its own units."""


def readme_section(boards: Boards) -> str:
    """The README's tables of all tasks in brief, with their markers."""
    tables = {task: _narrow(summary, _brief(summary)) for task, (_, summary) in boards.items()}
    return filled("readme.md.jinja", tables=tables, titles=TITLES, **_legend(tables.values())).strip()


def folder_page(boards: Boards, published: Iterable[str]) -> str:
    """README of the leaderboard's folder: picture, narrow tables of all methods, links.

    The tasks in ``published`` have published figures.
    """
    tables = {task: _narrow(summary, summary.lines) for task, (_, summary) in boards.items()}
    shown = {"tables": tables, "published": set(published), "titles": TITLES}
    return filled("folder.md.jinja", **shown, **_legend(tables.values()))


def pictures(boards: Boards) -> dict[str, str]:
    """The summaries of all tasks as SVG, one file for light and one for dark pages."""
    shown = {TITLES[task]: summary for task, (_, summary) in boards.items()}
    places, height = _places(shown.values())
    placed = [(title, found, *place) for (title, found), place in zip(shown.items(), places, strict=True)]
    about = {"boards": placed, "height": height, "levels": LEVELS} | SIZES
    return {f"summary-{t}.svg": filled("picture.svg.jinja", theme=t, **about) for t in THEMES}


def replaced(path: Path, section: str) -> str:
    """The text of a file with its marked part replaced.

    Raises ValueError if the markers are not there once each, begin before end.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or begin > end:
        raise ValueError(
            f"{path}: expected one line {BEGIN} and below it one line {END}; add them where tables go"
        )
    return text[:begin] + section + text[end + len(END) :]


def _legend(tables: Iterable[Summary]) -> dict[str, Any]:
    """What the legend of narrow tables says of seeds and of means of fewer metrics."""
    tiles = [t for table in tables for line in table.lines for t in line.tiles if t]
    counts = [tile["n"] for tile in tiles if pd.notna(tile["mean"])]
    many = [n for n in counts if n >= FEWEST_SEEDS]
    seeds = f"{' to '.join(map(str, sorted({min(many), max(many)})))} seeds" if many else "seeds"
    seeds += " (fewer: in brackets)" if len(many) < len(counts) else ""
    marked = any(tile["mark"] for tile in tiles)
    part = " <sup>5/6</sup>: mean of fewer metrics (the page says which)." if marked else ""
    return {"seeds": seeds, "part": part, "fewest": FEWEST_SEEDS}


def _narrow(summary: Summary, lines: Sequence[Line]) -> Summary:
    """Some lines on few panels: real cells before simulated ones, from GEX before to GEX, a data set once."""

    def order(place: int) -> tuple[bool, bool, int]:
        panel = summary.panels[place]
        return not panel.key["subtask"].startswith("GEX"), "simulated" in panel.about.label.lower(), place

    places = sorted(sorted(range(len(summary.panels)), key=order)[:MOST])
    cut = [replace(line, tiles=[line.tiles[place] for place in places]) for line in lines]
    return replace(summary, panels=[summary.panels[place] for place in places], lines=cut)


def _brief(summary: Summary) -> list[Line]:
    """The first methods, scMoGNN, and the best control that is not handed the solution."""
    methods = [line for line in summary.lines if line.role != "control"]
    controls = [line for line in summary.lines if line.role == "control"]
    trivial = [c for c in controls if not any(tile and tile["handed"] for tile in c.tiles)]
    best = sorted(trivial, key=lambda line: (-_gain(line), line.method))
    own = [line for line in methods[BRIEF:] if line.method == "scmognn"]
    return [*methods[:BRIEF], *own, *best[:1]]


def _places(summaries: Iterable[Summary]) -> tuple[list[tuple[int, int]], int]:
    """Where each summary stands in the picture, the first shelf with room for it, and the height of all."""
    shelves: list[list[int]] = []  # how full a shelf is, and how tall
    found = []
    for summary in summaries:
        wide = SIZES["names"] + SIZES["column"] * len(summary.panels)
        tall = SIZES["head"] + SIZES["row"] * len(summary.lines)
        shelf = next((s for s in shelves if s[0] + SIZES["gap"] + wide <= SIZES["width"]), None)
        if shelf is None:
            shelves.append(shelf := [-SIZES["gap"], 0])
        x = shelf[0] + SIZES["gap"]
        shelf[:] = x + wide, max(shelf[1], tall)
        found.append((x, shelves.index(shelf)))
    tops = [sum(tall + 24 for _, tall in shelves[:n]) for n in range(len(shelves) + 1)]
    return [(x, tops[n]) for x, n in found], tops[-1] + 24


def _gain(line: Line) -> float:
    """The mean scaled score of a control; those without any come last."""
    return fmean([t["scaled"] for t in line.tiles if t and pd.notna(t["scaled"])] or [-math.inf])
