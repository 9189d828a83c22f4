"""Published figures: read, placed beside our runs on the same test set, and tabled on their own."""

from pathlib import Path

import pandas as pd

from scmobench.leaderboard.roster import COMPARABLE
from scmobench.leaderboard.standings import frame
from scmobench.leaderboard.tables import score
from scmobench.types import PROTOCOL

CITE, MULTIOME = "neurips2021_cite_phase2", "neurips2021_multiome_phase2"
DATASETS = dict.fromkeys(("GEX2ADT", "ADT2GEX", "GEX-ADT"), CITE)
DATASETS |= dict.fromkeys(("GEX2ATAC", "ATAC2GEX", "GEX-ATAC"), MULTIOME) | {
    "Overall": f"{CITE} + {MULTIOME}"
}
TEXTS = ["applicable", "reason", "device", "normalization", "data_hash", "config_hash", "task_settings"]


def read_published(path: str | Path) -> pd.DataFrame:
    """Published figures in the long form of `standings`, ``source`` being ``published``.

    Each figure belongs to the data set whose official test set it was scored on. ``reference`` holds its
    kind, source and note. The organisers' ``arithmetic_mean`` is the plain mean of the six embedding
    metrics; it is called ``mean`` here.

    Raises ValueError if a figure's protocol or subtask is not known here.
    """
    rows = pd.read_csv(path)
    if strange := sorted({*rows["protocol"]} - {PROTOCOL} | {*rows["subtask"]} - {*DATASETS}, key=str):
        raise ValueError(
            f"{path}: expected protocol {PROTOCOL} and subtasks {', '.join(DATASETS)}; found {strange}: "
            "name the data set that these figures were scored on in scmobench/leaderboard/published.py"
        )
    note = rows["note"].fillna("")
    table = rows.rename(columns={"value": "mean", "std": "sd"}).assign(
        metric=rows["metric"].replace("arithmetic_mean", "mean"),
        dataset=rows["subtask"].map(DATASETS),
        reference=rows["kind"] + ": " + rows["source"] + note.where(note == "", "; " + note),
        source="published",
        **dict.fromkeys(TEXTS, ""),
    )
    return frame(table).sort_values(["task", "dataset", "subtask", "method", "metric"], ignore_index=True)


def join_published(standings: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our standings with published figures added where data set and protocol are the same.

    The added rows have no rank and no scaled score: for some of those entries it is not known whether they
    used labels or test inputs. Nothing is added where we have no run of that data set under that protocol.
    """
    ours = standings[list(COMPARABLE)].drop_duplicates()
    same = ["task", "dataset", "subtask", "protocol"]
    beside = published.drop(columns=["normalization", "data_hash", "task_settings"]).merge(ours, on=same)
    joined = pd.concat([standings, beside[standings.columns]], ignore_index=True)
    return joined.sort_values([*COMPARABLE], kind="stable", ignore_index=True)


def published_table(published: pd.DataFrame, metric: str, direction: str) -> pd.DataFrame:
    """One row a method and kind; one column a subtask; best first.

    Methods that cover the task come first, by their published ``Overall``, else by the mean of their
    subtasks. In matching one direction of each modality pair covers the task, as the other direction is the
    transposed problem. The rest follow, those with the same subtasks together. ``Overall`` is shown as
    published, never computed.

    Parameters
    ----------
    published : figures of one task, from `read_published`.

    Returns
    -------
    DataFrame with ``method``, the subtasks (text, or None), ``kind``, ``source``.
    """
    part = published[published["metric"] == metric]
    order = [s for s in DATASETS if s in set(part["subtask"])]
    needed = [{s} for s in order if s != "Overall"]
    if set(part["task"]) == {"match_modality"}:
        needed = [{"GEX2ADT", "ADT2GEX"}, {"GEX2ATAC", "ATAC2GEX"}]
    rows = []
    for (method, kind), figures in part.groupby(["method", "kind"]):
        values = figures.set_index("subtask")["mean"]
        value = values["Overall"] if "Overall" in values else values.mean()
        covered = "Overall" in values or all(options & {*values.index} for options in needed)
        have = () if covered else tuple(order.index(s) for s in values.index)
        texts = {r.subtask: score(r.mean, r.sd, r.n) for r in figures.itertuples()}
        sources = "; ".join(sorted({r.split(": ", 1)[1] for r in figures["reference"]}))
        place = (not covered, -len(have), have, value if direction == "min" else -value, method)
        rows.append((place, [method, *map(texts.get, order), kind, sources]))
    rows.sort(key=lambda row: row[0])
    return pd.DataFrame([row for _, row in rows], columns=["method", *order, "kind", "source"])
