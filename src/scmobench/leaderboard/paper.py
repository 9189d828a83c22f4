"""The tables of the scMoGNN paper: published figures beside runs of the same settings, and a verdict."""

from collections.abc import Iterable
from statistics import fmean

import pandas as pd
from scipy.special import stdtrit

from scmobench.leaderboard.published import DATASETS
from scmobench.leaderboard.roster import Record, number
from scmobench.types import PROTOCOL

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


def paper(records: Iterable[Record], published: pd.DataFrame) -> pd.DataFrame:
    """Each figure of the tables of Wen et al. 2022 beside our runs on the official files.

    A published figure is one run. It counts as reproduced where it lies within the 95 % prediction interval
    for one more seed: mean ± t(n - 1) sd sqrt(1 + 1/n). The ensemble's ``Overall`` takes the ensembles from
    GEX and single networks to GEX, as the paper does.

    Parameters
    ----------
    records : runs; those of other data or protocols are left out.
    published : figures, from `scmobench.leaderboard.published.read_published`.

    Returns
    -------
    DataFrame with ``task``, ``subtask``, ``method`` (as published), ``published`` (NaN where we know no
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
