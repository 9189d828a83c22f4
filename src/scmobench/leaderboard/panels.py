"""Panels: the rows of one comparable group of runs, arranged and worded for tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from scmobench.leaderboard.comparison import between_seeds
from scmobench.leaderboard.roster import COMPONENTS
from scmobench.leaderboard.tables import ABSENT, VARIANT, groups, heading, primary, score

ROLES = {"method": "Methods", "supervised": "Label-supervised track", "control": "Controls"}

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """The mean of one metric as text; ``note`` tells why it is missing or partial."""

    text: str
    note: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Panel:
    """One comparable group of runs.

    Attributes
    ----------
    key : the values of `scmobench.leaderboard.roster.COMPARABLE`.
    headings : of the metrics, the ranking metric first.
    direction : of the ranking metric, ``min`` or ``max``.
    rows : of the standings, for the ranking metric; methods before controls, best first. In
        addition they have ``role`` (one of `ROLES`), ``variant`` (an ablation, or changed settings),
        and in the order of the headings ``cells`` and ``seeds`` (scores by seed).
    """

    key: Mapping[str, str]
    headings: Sequence[str]
    direction: str
    rows: Sequence[Row]

    @cached_property
    def roles(self) -> dict[str, list[Row]]:
        """Rows of each role."""
        return {role: [row for row in self.rows if row["role"] == role] for role in ROLES}

    @cached_property
    def tracks(self) -> dict[str, list[Row]]:
        """Methods that are ranked together, by their role; where there are none, one track without any."""
        tracks = {role: self.roles[role] for role in ("method", "supervised") if self.roles[role]}
        return tracks or {"method": []}

    @cached_property
    def notes(self) -> list[str]:
        """Notes of all cells, once each, in the order in which the tables of the tracks show them."""
        rows = [row for methods in self.tracks.values() for row in (*methods, *self.roles["control"])]
        return list(dict.fromkeys(cell.note for row in rows for cell in row["cells"] if cell.note))

    @cached_property
    def failures(self) -> list[tuple[str, Any, str]]:
        """Method, seed and message of each failed run."""
        rows = sorted(self.rows, key=lambda row: row["method"])
        runs = [(row["method"], *failure) for row in rows for failure in row["failures"]]
        return [(name, seed, " ".join(message.split())[:300] or "no message") for name, seed, message in runs]


def panels(standings: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> list[Panel]:
    """Panels of one task, from its standings and the metadata of its metrics."""
    first = primary(metrics)
    direction = metrics[first]["direction"]
    found = []
    for key, table in groups(standings):
        held = set(table["metric"]) - {first, ""}
        order = [first, *(m for m in metrics if m in held), *sorted(held - {*metrics})]
        methods: dict[tuple, dict[str, Row]] = {}
        for row in table.to_dict("records"):
            methods.setdefault((row["method"], row["source"], row["kind"]), {})[row["metric"]] = row
        rows = sorted((_row(of, order) for of in methods.values()), key=lambda row: _place(row, direction))
        headings = [heading(metric, metrics) for metric in order]
        found.append(Panel(key, headings, direction, rows))
    return found


def remarks(methods: Sequence[Row]) -> list[str]:
    """Sentences on the gap between the first two methods of a track, and on methods with the same scores."""
    ranked = sorted((row["rank"], row["method"], row) for row in methods if pd.notna(row["rank"]))
    sentences = []
    if len(ranked) > 1:
        (_, one, first), (_, other, second) = ranked[:2]
        gap = between_seeds(first["by_seed"].values(), second["by_seed"].values())
        sentences.append(f"{one} against {other}: {gap}.")
    for one, other in combinations(methods, 2):
        both = one["by_seed"].keys() & other["by_seed"].keys()
        pairs = zip(one["seeds"], other["seeds"], strict=True)
        if both and all(a.get(seed) == b.get(seed) for a, b in pairs for seed in both):
            sentences.append(f"{one['method']} and {other['method']}: the same scores, seed by seed.")
    return sentences


def _row(of: Mapping[str, Row], order: Sequence[str]) -> Row:
    """The row of a method's ranking metric, from its rows by metric."""
    unscored = dict.fromkeys(("mean", "sd", "n", "rank", "scaled", "ci_low", "ci_high"))
    unscored |= {"metric": order[0], "reason": "", "by_seed": {}, "full": False}
    row = of.get(order[0]) or {**next(iter(of.values())), **unscored}
    role = "supervised" if row["label_supervised"] is True else "method"
    return row | {
        "variant": row["kind"] == "method" and bool(VARIANT.search(row["method"])),
        "role": "control" if row["kind"] == "control" else role,
        "cells": [_cell(of.get(metric), counted=metric == order[0]) for metric in order],
        "seeds": [of[metric]["by_seed"] if metric in of else {} for metric in order],
    }


def _place(row: Row, direction: str) -> tuple:
    """Order in a table: methods before controls, means of more metrics first, then best first."""
    control = row["kind"] == "control"
    if pd.isna(row["mean"]):
        return control, True, 0, 0.0, row["method"]
    have = int((row["applicable"] or str(len(COMPONENTS))).split("/")[0])
    return control, False, -have, row["mean"] if direction == "min" else -row["mean"], row["method"]


def _cell(row: Row | None, counted: bool) -> Cell:
    if row is None:
        return Cell(ABSENT)
    note = f"{row['metric']}: {row['reason']}" if row["reason"] else ""
    if pd.isna(row["mean"]):
        return Cell("n/a", note) if note else Cell(ABSENT, failed=row["failed"] > 0)
    some_seeds = note and not row["applicable"]
    text = score(row["mean"], row["sd"], row["n"] if counted or some_seeds else None)
    return Cell(f"{text} of {row['applicable']}" if note and row["applicable"] else text, note)
