"""Panels: the rows of one comparable group of runs, arranged and worded for tables and figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import pandas as pd

from scmobench.leaderboard.comparison import between_seeds
from scmobench.leaderboard.roster import COMPONENTS
from scmobench.leaderboard.tables import ABSENT, groups, heading, primary, score

ROLES = {"method": "Methods", "supervised": "Label-supervised track", "control": "Controls"}
VARIANT = re.compile(r"[+\[]")
LONGEST_MESSAGE = 300
SIZES = {"n_train": "training cells", "n_test": "scored cells", "n_test_seen": "of these training cells"}


@dataclass(frozen=True)
class Cell:
    """The mean of one metric as text; ``note`` tells why it is missing or partial."""

    text: str
    note: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Entry:
    """A method's row of a table.

    Attributes
    ----------
    row : of the standings, for the metric that the task is ranked by.
    cells : of all metrics of the panel, the ranking metric first.
    by_seed : score by seed, for the same metrics.
    """

    row: Mapping[str, Any]
    cells: Sequence[Cell] = ()
    by_seed: Sequence[Mapping[Any, float]] = ()

    @property
    def name(self) -> str:
        """The method's."""
        return self.row["method"]

    @property
    def role(self) -> str:
        """One of `ROLES`."""
        if self.row["kind"] == "control":
            return "control"
        return "supervised" if self.row["label_supervised"] is True else "method"

    @property
    def solid(self) -> bool:
        """Whether the mean covers as many metrics as it should: that of a ranked method or of a control."""
        return pd.notna(self.row["rank"]) or (self.role == "control" and self.row["full"] is True)


@dataclass(frozen=True)
class Track:
    """Methods that are ranked together, and the rows of their table: these methods, then all controls."""

    role: str
    methods: Sequence[Entry]
    entries: Sequence[Entry]

    @property
    def remarks(self) -> list[str]:
        """Sentences on the gap between the first two methods, and on methods with the same scores."""
        return [*_first_against_second(self.methods), *_same_scores(self.methods)]


@dataclass(frozen=True)
class Panel:
    """One comparable group of runs.

    Attributes
    ----------
    key : the values of `scmobench.leaderboard.roster.COMPARABLE`.
    headings : of the metrics, the ranking metric first.
    direction : of the ranking metric, ``min`` or ``max``.
    entries : methods before controls, best first.
    provenance : data, normalisation, cells and settings that the runs share.
    """

    key: Mapping[str, str]
    headings: Sequence[str]
    direction: str
    entries: Sequence[Entry]
    provenance: str

    @property
    def where(self) -> str:
        """Subtask and data set in words."""
        return f"{self.key['subtask']} of {self.key['dataset']}"

    @cached_property
    def variants(self) -> list[Entry]:
        """Ablations and methods with changed settings."""
        return [e for e in self.entries if VARIANT.search(e.name) and e.row["kind"] == "method"]

    @cached_property
    def tracks(self) -> list[Track]:
        """Methods, then label-supervised methods; where there are neither, a track of controls."""
        roles = by_role(self.entries)
        controls = roles.pop("control")
        tracks = [Track(role, members, [*members, *controls]) for role, members in roles.items() if members]
        return tracks or [Track("method", [], controls)]

    @cached_property
    def notes(self) -> list[str]:
        """Notes of all cells, once each, in the order of the tracks."""
        cells = (cell for track in self.tracks for entry in track.entries for cell in entry.cells)
        return list(dict.fromkeys(cell.note for cell in cells if cell.note))

    @property
    def failures(self) -> list[str]:
        """A line for each failed run."""
        runs = [
            (e.name, *run) for e in self.entries if e.row["source"] == "ours" for run in e.row["failures"]
        ]
        return [
            f"{name}, seed {seed}: {' '.join((message or 'no message').split())[:LONGEST_MESSAGE]}"
            for name, seed, message in sorted(runs, key=lambda run: run[0])
        ]


def panels(standings: pd.DataFrame, metrics: Mapping[str, Mapping[str, Any]]) -> list[Panel]:
    """Panels of one task, from its standings and the metadata of its metrics."""
    first = primary(metrics)
    direction = metrics[first]["direction"]
    found = []
    for key, rows in groups(standings):
        held = set(rows["metric"]) - {first, ""}
        order = [first, *(m for m in metrics if m in held), *sorted(held - {*metrics})]
        methods: dict[tuple, dict[str, dict]] = {}
        for row in rows.to_dict("records"):
            methods.setdefault((row["method"], row["source"], row["kind"]), {})[row["metric"]] = row
        entries = [_entry(of, order) for of in methods.values()]
        entries.sort(key=lambda entry: _place(entry.row, direction))
        headings = [heading(metric, metrics) for metric in order]
        found.append(Panel(key, headings, direction, entries, _provenance(key, rows)))
    return found


def by_role(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Entries of each role, in the order of `ROLES`."""
    return {role: [entry for entry in entries if entry.role == role] for role in ROLES}


def _entry(rows: Mapping[str, Mapping], order: Sequence[str]) -> Entry:
    unscored = {"metric": order[0], "reason": "", "by_seed": {}, "full": False}
    unscored |= dict.fromkeys(("mean", "sd", "n", "rank", "scaled", "ci_low", "ci_high"))
    row = rows.get(order[0]) or {**next(iter(rows.values())), **unscored}
    seeds = [rows[metric]["by_seed"] if metric in rows else {} for metric in order]
    return Entry(row, [_cell(rows.get(metric), metric == order[0]) for metric in order], seeds)


def _place(row: Mapping, direction: str) -> tuple:
    """Order in a table: methods before controls, means of more metrics first, then best first."""
    control = row["kind"] == "control"
    if pd.isna(row["mean"]):
        return control, True, 0, 0.0, row["method"]
    have = int((row["applicable"] or str(len(COMPONENTS))).split("/")[0])
    return control, False, -have, row["mean"] if direction == "min" else -row["mean"], row["method"]


def _cell(row: Mapping | None, counted: bool) -> Cell:
    if row is None:
        return Cell(ABSENT)
    note = f"{row['metric']}: {row['reason']}" if row["reason"] else ""
    if pd.isna(row["mean"]):
        return Cell("n/a", note) if note else Cell(ABSENT, failed=row["failed"] > 0)
    some_seeds = note and not row["applicable"]
    text = score(row["mean"], row["sd"], row["n"] if counted or some_seeds else None)
    return Cell(f"{text} of {row['applicable']}" if note and row["applicable"] else text, note)


def _provenance(key: Mapping[str, str], rows: pd.DataFrame) -> str:
    sizes = {name: rows[column].max() for column, name in SIZES.items()}
    parts = [
        key["data_hash"] and f"data `{'+'.join(h[:12] for h in key['data_hash'].split('+'))}`",
        key["normalization"],
        *(f"{size:,} {name}" for name, size in sizes.items() if pd.notna(size) and size),
        key["protocol"] and f"protocol {key['protocol']}",
        key["task_settings"] and f"task settings: {key['task_settings']}",
    ]
    return (" · ".join(filter(None, parts)) or "no run ended well") + "."


def _first_against_second(methods: Sequence[Entry]) -> list[str]:
    ranked = [entry for entry in methods if pd.notna(entry.row["rank"])]
    if len(ranked) < 2:
        return []
    first, second = sorted(ranked, key=lambda entry: (entry.row["rank"], entry.name))[:2]
    gap = between_seeds(first.row["by_seed"].values(), second.row["by_seed"].values())["statement"]
    return [f"{first.name} against {second.name}: {gap}."]


def _same_scores(methods: Sequence[Entry]) -> list[str]:
    """A sentence for each two methods with the same scores in all metrics and all seeds that both have."""
    lines = []
    for one, other in combinations(methods, 2):
        both = one.by_seed[0].keys() & other.by_seed[0].keys()
        pairs = zip(one.by_seed, other.by_seed, strict=True)
        if both and all(a.get(seed) == b.get(seed) for a, b in pairs for seed in both):
            lines.append(f"{one.name} and {other.name}: the same scores, seed by seed.")
    return lines
