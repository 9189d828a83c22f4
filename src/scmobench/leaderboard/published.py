"""Published figures: read, placed beside our runs on the same test set, and tabled on their own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scmobench.leaderboard.roster import COMPARABLE
from scmobench.leaderboard.standings import COLUMNS, frame
from scmobench.leaderboard.tables import ABSENT, GENERATED, TITLES, markdown_table, score
from scmobench.types import PROTOCOL

EXPECTED = ["task", "subtask", "method", "metric", "value", "std", "n", "kind", "protocol", "source", "note"]
DATASETS = {
    "GEX2ADT": "neurips2021_cite_phase2",
    "ADT2GEX": "neurips2021_cite_phase2",
    "GEX-ADT": "neurips2021_cite_phase2",
    "GEX2ATAC": "neurips2021_multiome_phase2",
    "ATAC2GEX": "neurips2021_multiome_phase2",
    "GEX-ATAC": "neurips2021_multiome_phase2",
    "Overall": "neurips2021_cite_phase2 + neurips2021_multiome_phase2",
}


def read_published(path: str | Path) -> pd.DataFrame:
    """Published figures in the long form of `standings`, ``source`` being ``published``.

    Each figure belongs to the dataset whose official test set it was scored on. ``reference``
    holds its kind, source and note. The organisers' ``arithmetic_mean`` is the plain mean of the
    six embedding metrics and is called ``mean`` here.

    Raises
    ------
    ValueError : columns are missing, or a figure's protocol or subtask is not known here.
    """
    rows = pd.read_csv(path)
    if absent := [column for column in EXPECTED if column not in rows]:
        raise ValueError(f"{path}: expected columns {', '.join(EXPECTED)}; missing {', '.join(absent)}")
    if strange := sorted({*rows["protocol"]} - {PROTOCOL} | {*rows["subtask"]} - {*DATASETS}, key=str):
        raise ValueError(
            f"{path}: expected protocol {PROTOCOL} and subtasks {', '.join(DATASETS)}; found {strange}: "
            "say in scmobench/published.py which dataset these figures were scored on"
        )
    table = frame([{}] * len(rows))
    for ours, theirs in {"mean": "value", "sd": "std", "n": "n"}.items():
        table[ours] = rows[theirs].astype(table[ours].dtype)
    for column in ("task", "subtask", "method", "kind", "protocol"):
        table[column] = rows[column]
    table["metric"] = rows["metric"].replace("arithmetic_mean", "mean")
    table["dataset"] = rows["subtask"].map(DATASETS)
    table["source"] = "published"
    note = rows["note"].fillna("")
    table["reference"] = rows["kind"] + ": " + rows["source"] + note.where(note == "", "; " + note)
    for column in (
        "applicable",
        "reason",
        "device",
        "normalization",
        "data_hash",
        "config_hash",
        "task_settings",
    ):
        table[column] = ""
    return table.sort_values(["task", "dataset", "subtask", "method", "metric"], ignore_index=True)


def join_published(standings: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our standings with published figures added where dataset and protocol are the same.

    The added rows have no rank and no scaled score: whether those entries used labels or test
    inputs is not known for all of them. Where we have no run of that dataset under that protocol
    nothing is added.
    """
    ours = standings[list(COMPARABLE)].drop_duplicates()
    same = ["task", "dataset", "subtask", "protocol"]
    beside = published.drop(columns=["normalization", "data_hash", "task_settings"]).merge(ours, on=same)
    if beside.empty:
        return standings
    joined = pd.concat([standings, beside[COLUMNS]], ignore_index=True)
    return joined.sort_values([*COMPARABLE], kind="stable", ignore_index=True)


def published_table(published: pd.DataFrame, metric: str, direction: str) -> pd.DataFrame:
    """One row a method and kind; one column a subtask; best first.

    Methods that cover the task come first, by their published ``Overall``, else by the mean of
    their subtasks. In matching one direction of each modality pair covers it, as the other is the
    transposed problem. The rest follow, those with the same subtasks together. ``Overall`` is
    shown as published, never computed.

    Parameters
    ----------
    published : figures of one task, from `read_published`.

    Returns
    -------
    DataFrame with ``method``, the subtasks (cells are (value, sd, n) or None), ``kind``, ``source``.
    """
    part = published[published["metric"] == metric]
    order = [s for s in DATASETS if s in set(part["subtask"])]
    needed = [{s} for s in order if s != "Overall"]
    if set(part["task"]) == {"match_modality"}:
        needed = [{"GEX2ADT", "ADT2GEX"}, {"GEX2ATAC", "ATAC2GEX"}]
    sign = 1 if direction == "min" else -1
    rows = []
    for (method, kind), figures in part.groupby(["method", "kind"], sort=True):
        cells = {r.subtask: (r.mean, r.sd, r.n) for r in figures.itertuples(index=False)}
        own = [value for s, (value, _, _) in cells.items() if s != "Overall"]
        value = sign * (cells["Overall"][0] if "Overall" in cells else sum(own) / len(own))
        covered = "Overall" in cells or all(options & cells.keys() for options in needed)
        have = () if covered else tuple(order.index(s) for s in cells)
        sources = "; ".join(sorted({r.split(": ", 1)[1] for r in figures["reference"]}))
        row = [method, *(cells.get(s) for s in order), kind, sources]
        rows.append((not covered, -len(have), have, value, method, row))
    rows.sort(key=lambda row: row[:5])
    return pd.DataFrame([row[5] for row in rows], columns=["method", *order, "kind", "source"])


def published_page(task: str, table: pd.DataFrame, label: str) -> str:
    """Published figures of one task, from `published_table`: comparable with no run on other data."""
    subtasks = list(table.columns[1:-2])
    body = []
    for row in table.to_dict("records"):
        name = f"*{row['method']}*" if row["kind"] == "control" else row["method"]
        figures = [ABSENT if row[s] is None else score(*row[s]) for s in subtasks]
        body.append([name, *figures, row["kind"], row["source"]])
    header = ["Method", *(f"{s}, {label}" for s in subtasks), "Kind", "Source"]
    about = (
        "Figures read in the sources named, all on the official private test set of the NeurIPS 2021 "
        "competition (phase 2). No run on another dataset is comparable with them. Methods that cover the "
        "whole task come first, best first. ± sd (number of seeds) where published."
    )
    title = f"# {TITLES.get(task, task)}: published figures"
    return "\n".join([GENERATED, "", title, "", about, "", markdown_table(header, body)]) + "\n"
