"""Published figures: read, tabled, placed beside our runs on the same test set, and repeated by them."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import pandas as pd
from scipy.special import stdtrit

from scmobench.experiment.config import conf_dir
from scmobench.leaderboard.roster import COMPARABLE, Record, number
from scmobench.leaderboard.standings import frame
from scmobench.leaderboard.tables import score
from scmobench.types import PROTOCOL

CITE, MULTIOME = "neurips2021_cite_phase2", "neurips2021_multiome_phase2"
DATASETS = dict.fromkeys(("GEX2ADT", "ADT2GEX", "GEX-ADT"), CITE)
DATASETS |= dict.fromkeys(("GEX2ATAC", "ATAC2GEX", "GEX-ATAC"), MULTIOME)
DATASETS["Overall"] = f"{CITE} + {MULTIOME}"
TEXTS = ["applicable", "reason", "device", "normalization", "data_hash", "config_hash", "task_settings"]
PUBLISHED = Path("published", "published.csv")
SINGLE = dict.fromkeys(("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX"), "scmognn")
ENSEMBLE = SINGLE | {"GEX2ADT": "scmognn+ensemble_competition", "GEX2ATAC": "scmognn+ensemble_seeds"}
PAIRS = ("GEX2ADT", "GEX2ATAC")
UNPROPAGATED = dict.fromkeys(PAIRS, "scmognn+no_propagation")
TABLES = (
    ("predict_modality", "rmse", "scMoGNN (single)", SINGLE, tuple(SINGLE)),
    ("predict_modality", "rmse", "scMoGNN (ensemble)", ENSEMBLE, PAIRS),
    ("match_modality", "match_probability", "scMoGNN", dict.fromkeys(PAIRS, "scmognn"), PAIRS),
    ("match_modality", "match_probability", "without propagation", UNPROPAGATED, PAIRS),
    ("joint_embedding", "mean", "scMoGNN", {"GEX-ADT": "scmognn"}, ("GEX-ADT",)),
)
"""Task, metric, method as the paper names it, our method by subtask, and the subtasks that the paper tells
one by one; then it tells the mean over all of them."""


def published_figures(results: Path | None = None) -> pd.DataFrame | None:
    """Published figures of a folder of results, else of the checkout; None where there are none."""
    places = [folder / PUBLISHED for folder in (results, conf_dir().parent / "results") if folder]
    return next((read_published(path) for path in places if path.is_file()), None)


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

    ``published`` are figures of one task, from `read_published`. Returns the columns ``method``, the subtasks
    (text, or None), ``kind`` and ``source``.
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


def paper_table(records: Iterable[Record]) -> str:
    """`paper` as text. Raises FileNotFoundError without published figures."""
    figures = published_figures()
    if figures is None:
        raise FileNotFoundError(f"expected {PUBLISHED} in results/, found none: run this in a checkout")
    table = paper(records, figures).round({"mean": 4, "sd": 4})
    return table.to_string(index=False, na_rep="—")


def paper(records: Iterable[Record], published: pd.DataFrame) -> pd.DataFrame:
    """Each figure of the tables of Wen et al. 2022 beside our runs on the official files.

    A published figure is one run. It counts as reproduced where it lies within the 95 % prediction interval
    for one more seed: mean ± t(n - 1) sd sqrt(1 + 1/n). The ensemble's ``Overall`` takes the ensembles from
    GEX and single networks to GEX, as the paper does. Records of other data or protocols are left out;
    ``published`` are from `read_published`.

    Returns the columns ``task``, ``subtask``, ``method`` (as published), ``published`` (NaN where we know no
    figure), ``mean``, ``sd``, ``n`` (seeds that all subtasks have) and ``verdict``: reproduced, differs, not
    run, too few seeds (below two), or no published figure.
    """
    scores = {
        (r["task"], r["dataset"], r["subtask"], r["method"], r["seed"]): r["scores"]
        for r in records
        if r["status"] == "ok" and r.get("protocol") == PROTOCOL
    }
    papers = published[published["reference"].str.startswith("paper: ")]
    figures = papers.set_index(["task", "subtask", "method", "metric"])["mean"]
    seeds = sorted({seed for *_, seed in scores})
    rows = []
    for task, metric, method, ours, told in TABLES:
        for subtask in (*told, "Overall") if len(ours) > 1 else told:
            parts = [(task, DATASETS[s], s, ours[s]) for s in (ours if subtask == "Overall" else [subtask])]
            values = [[number(scores.get((*part, seed), {}).get(metric)) for part in parts] for seed in seeds]
            means = pd.Series([fmean(each) for each in values if None not in each], dtype=float)
            figure = figures.get((task, subtask, method, metric), float("nan"))
            found = (figure, means.mean(), means.std(), len(means), _verdict(means, figure))
            rows.append((task, subtask, method, *found))
    columns = ["task", "subtask", "method", "published", "mean", "sd", "n", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _verdict(ours: pd.Series, figure: float) -> str:
    n = len(ours)
    if n == 0:
        return "not run"
    if pd.isna(figure):
        return "no published figure"
    if n < 2:
        return "too few seeds"
    reach = stdtrit(n - 1, 0.975) * ours.std() * (1 + 1 / n) ** 0.5
    return "reproduced" if abs(ours.mean() - figure) <= reach else "differs"
