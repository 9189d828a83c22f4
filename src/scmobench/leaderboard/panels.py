"""Panels: the rows of one comparable group of runs, arranged and worded for tables and figures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from scmobench.leaderboard import plain_words
from scmobench.leaderboard.roster import FLAGS, VARIANT
from scmobench.leaderboard.tables import ABSENT, groups, heading, primary, score

EXTERNAL = "external: its prediction was submitted"
NAMED = 3  # methods that a sentence names; of more it tells the number
DIGITS = 4  # of a score without its spread, at most
ROLES = {"method": "Methods", "supervised": "Label-supervised track", "control": "Controls"}

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """The mean of one metric as text; ``note`` tells why it is missing or partial, ``place`` sorts it."""

    text: str
    note: str = ""
    place: float | None = None


@dataclass(frozen=True)
class Panel:
    """One comparable group of runs.

    ``rows`` are those of the standings for the ranking metric: methods before controls, best first. They also
    have ``role`` (one of `ROLES`), ``handed`` (of a control: the solution), ``tested`` (the rank rests on a
    test), ``leads`` (tested, and not told from the best of its track), ``brief`` (the score without its
    spread), ``mark`` (``5/6`` for a mean of five metrics where the data support six), and in the order of the
    headings ``cells`` and ``seeds`` (scores by seed).
    """

    key: Mapping[str, str]  # the values of `scmobench.leaderboard.roster.COMPARABLE`
    id: str  # its name on the page, the task with a number
    title: str  # its subtask as papers write it
    about: plain_words.Dataset  # its data set in words
    headings: Sequence[str]  # of the metrics, the ranking metric first
    direction: str  # of the ranking metric, ``min`` or ``max``
    rows: Sequence[Row]

    @cached_property
    def main(self) -> list[Row]:
        """Rows of methods and controls: no ablations or changed settings of a method that is here too."""
        plain = {row["method"] for row in self.rows if not row["variant"]}
        return [r for r in self.rows if not (r["variant"] and VARIANT.split(r["method"])[0] in plain)]

    @cached_property
    def roles(self) -> dict[str, list[Row]]:
        """Main rows of each role that has any."""
        found = {role: [row for row in self.main if row["role"] == role] for role in ROLES}
        return {role: rows for role, rows in found.items() if rows}

    @property
    def measure(self) -> str:
        """The ranking metric without its arrow."""
        return self.headings[0].rstrip(" ↑↓")

    @property
    def supported(self) -> int:
        """How many metrics the data support of those whose mean ranks the task; 0 without such a mean."""
        return max((int(row["applicable"].partition("/")[2] or 0) for row in self.rows), default=0)

    @cached_property
    def failures(self) -> list[tuple[str, Any, str]]:
        """Method, seed and message of each failed run."""
        rows = sorted(self.rows, key=lambda row: row["method"])
        runs = [(row["method"], *failure) for row in rows for failure in row["failures"]]
        return [(name, seed, " ".join(message.split())[:300] or "no message") for name, seed, message in runs]

    @cached_property
    def verdicts(self) -> list[str]:
        """For each track of methods: who leads, by how much, how surely; and who has the same scores."""
        told = []
        for role in ("method", "supervised"):
            rows = self.roles.get(role, [])
            track = f"{ROLES[role]}: " if role == "supervised" and "method" in self.roles else ""
            told += [f"{track}{sentence}" for sentence in _lead(rows)] + _same(rows)
        return told

    @cached_property
    def worse(self) -> str:
        """Methods with a worse mean than the best control that is not handed the answer; empty if none is."""
        sign = 1 if self.direction == "min" else -1
        methods = [r for r in self.main if r["role"] != "control" and pd.notna(r["rank"])]
        controls = [r for r in self.roles.get("control", []) if r["full"] is True and not r["handed"]]
        if not controls:
            return ""
        best = min(controls, key=lambda row: sign * row["mean"])
        names = [row["method"] for row in methods if sign * row["mean"] > sign * best["mean"]]
        than = f"mean than the control “{best['method']}”"
        if len(names) > NAMED:
            return f"{len(names)} of {len(methods)} methods have a worse {than}."
        return f"Worse {than}: {', '.join(names)}." if names else ""


def panels(standings: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]], task: str) -> list[Panel]:
    """Panels of one task, from the standings of all tasks and the metadata of its metrics."""
    first = primary(metrics)
    found: list[Panel] = []
    held = groups(standings[standings["task"] == task])
    named = Counter((key["dataset"], key["subtask"]) for key, _ in held)
    for number, (key, table) in enumerate(held, 1):
        others = set(table["metric"]) - {first, ""}
        order = [first, *(m for m in metrics if m in others), *sorted(others - {*metrics})]
        methods: dict[str, dict[str, Row]] = {}
        for row in table.to_dict("records"):
            methods.setdefault(row["method"], {})[row["metric"]] = row
        rows = sorted((_row(of, order, metrics) for of in methods.values()), key=_place)
        about = plain_words.dataset(key["dataset"], standings[standings["dataset"] == key["dataset"]])
        headings = [heading(metric, metrics) for metric in order]
        title, direction = plain_words.direction(key["subtask"]), metrics[first]["direction"]
        if named[key["dataset"], key["subtask"]] > 1:
            title += f", data {key['data_hash'][:6]}"
        found.append(Panel(key, f"{task}-{number}", title, about, headings, direction, rows))
    return found


def _lead(methods: Sequence[Row]) -> list[str]:
    """A sentence on the first methods of a track, best first, and on the gap to the next one."""
    ranked = [row for row in methods if pd.notna(row["rank"])]
    if len(ranked) < 2:
        return []
    if not ranked[0]["tested"]:
        seeds = f"{ranked[0]['n']} seed" + ("s" if ranked[0]["n"] > 1 else "")
        return [f"{ranked[0]['method']} has the best mean, untested ({seeds})."]
    first = [row["method"] for row in ranked if row["leads"]]
    behind = next((row for row in ranked if row["rank"] > 1), None)
    more = [f"{len(first) - NAMED} more"] if len(first) > NAMED else []
    names = first[:NAMED] + more
    text = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    together = f" lead together: the tests {_over(ranked[0])} cannot tell them apart"
    text += together if len(first) > 1 else " leads"
    if behind is None:
        return [f"{text}."]
    if not behind["tested"] or pd.isna(behind["gap_low"]):
        return [f"{text}. Next is {behind['method']}, untested."]
    low, high = sorted((abs(behind["gap_low"]), abs(behind["gap_high"])))
    interval = f"95 % interval {low:.2g} to {high:.2g}, {_over(behind)}"
    return [f"{text}. Next is {behind['method']}, {abs(behind['gap']):.2g} behind the best ({interval})."]


def _over(row: Row) -> str:
    """What a test rests on: ``over 5 seeds and 400 cells``."""
    return "over " + row["evidence"].replace(" × ", " and ")


def _same(methods: Sequence[Row]) -> list[str]:
    sentences = []
    for one, other in combinations(methods, 2):
        both = one["by_seed"].keys() & other["by_seed"].keys()
        pairs = zip(one["seeds"], other["seeds"], strict=True)
        if both and all(a.get(seed) == b.get(seed) for a, b in pairs for seed in both):
            sentences.append(f"{one['method']} and {other['method']}: the same scores, seed by seed.")
    return sentences


def _row(of: Mapping[str, Row], order: Sequence[str], metrics: Mapping[str, Mapping[str, Any]]) -> Row:
    """The row of a method's ranking metric, from its rows by metric."""
    unscored = dict.fromkeys(("mean", "sd", "n", "rank", "scaled", "ci_low", "ci_high"))
    unscored |= {"metric": order[0], "reason": "", "by_seed": {}, "applicable": ""}
    unscored |= {"full": False, "tested": False}
    row = of.get(order[0]) or {**next(iter(of.values())), **unscored}
    role = "supervised" if row["label_supervised"] is True else "method"
    cells = [_cell(of.get(m), m == order[0], metrics.get(m, {}).get("direction")) for m in order]
    return row | {
        "role": "control" if row["kind"] == "control" else role,
        "handed": all(row[flag] is True for flag in FLAGS),
        "tested": row["tested"] is True,
        "leads": row["tested"] is True and row["rank"] == 1,
        "gloss": EXTERNAL if row["source"] == "external" else plain_words.gloss(row["method"]),
        "cells": cells,
        "brief": _brief(cells[0].text.split(" ")[0], row["mean"]),
        "mark": row["applicable"] if pd.notna(row["mean"]) and cells[0].note else "",
        "seeds": [of[metric]["by_seed"] if metric in of else {} for metric in order],
    }


def _brief(text: str, mean: float | None) -> str:
    """A mean in four significant digits at most."""
    decimals, digits = len(text.partition(".")[2]), len(text.replace(".", "").lstrip("-0"))
    return text if pd.isna(mean) or digits <= DIGITS else f"{mean:.{max(0, decimals - digits + DIGITS)}f}"


def _place(row: Row) -> tuple:
    """Order in a table: methods before controls, best first; last those that lack a metric, or all."""
    place = row["cells"][0].place
    return row["kind"] == "control", place is None, row["full"] is not True, place or 0.0, row["method"]


def _cell(row: Row | None, counted: bool, direction: str | None) -> Cell:
    """A cell; what is better comes first."""
    if row is None:
        return Cell(ABSENT)
    note = f"{row['metric']}: {row['reason']}" if row["reason"] else ""
    if pd.isna(row["mean"]):
        return Cell("n/a" if note else "failed" if row["failed"] > 0 else ABSENT, note)
    of = row["applicable"] if note else ""
    text = score(row["mean"], row["sd"], row["n"] if counted or (note and not of) else None)
    text += f" of {of}" if of else ""
    return Cell(text, note, -row["mean"] if direction == "max" else row["mean"])
