"""The tables of the scMoGNN paper: published figures beside runs of the same settings, and a verdict."""

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

import pandas as pd
from scipy.special import stdtrit

from scmobench.leaderboard.published import DATASETS
from scmobench.leaderboard.roster import Record, number
from scmobench.types import PROTOCOL

SINGLE = dict.fromkeys(("GEX2ADT", "ADT2GEX", "GEX2ATAC", "ATAC2GEX"), "scmognn")
ENSEMBLE = SINGLE | {"GEX2ADT": "scmognn+ensemble_competition", "GEX2ATAC": "scmognn+ensemble_seeds"}
PAIRS = ("GEX2ADT", "GEX2ATAC")


class Line(NamedTuple):
    """A figure of the paper, and our method by subtask that repeats it; several subtasks are averaged."""

    task: str
    subtask: str
    published: str
    metric: str
    methods: dict[str, str]


def _lines() -> list[Line]:
    rmse, match = ("predict_modality", "rmse"), ("match_modality", "match_probability")
    lines = [Line(rmse[0], s, "scMoGNN (single)", rmse[1], {s: SINGLE[s]}) for s in SINGLE]
    lines.append(Line(rmse[0], "Overall", "scMoGNN (single)", rmse[1], SINGLE))
    lines += [Line(rmse[0], s, "scMoGNN (ensemble)", rmse[1], {s: ENSEMBLE[s]}) for s in PAIRS]
    lines.append(Line(rmse[0], "Overall", "scMoGNN (ensemble)", rmse[1], ENSEMBLE))
    for published, method in (("scMoGNN", "scmognn"), ("without propagation", "scmognn+no_propagation")):
        lines += [Line(match[0], s, published, match[1], {s: method}) for s in PAIRS]
        lines.append(Line(match[0], "Overall", published, match[1], dict.fromkeys(PAIRS, method)))
    lines.append(Line("joint_embedding", "GEX-ADT", "scMoGNN", "mean", {"GEX-ADT": "scmognn"}))
    return lines


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
    rows = []
    for line in _lines():
        parts = [(line.task, DATASETS[s], s, method) for s, method in line.methods.items()]
        seeds = sorted({seed for *_, seed in scores})
        values = [[number(scores.get((*part, s), {}).get(line.metric)) for part in parts] for s in seeds]
        ours = pd.Series([fmean(each) for each in values if None not in each], dtype=float)
        figure = figures.get((line.task, line.subtask, line.published, line.metric), float("nan"))
        found = (figure, ours.mean(), ours.std(), len(ours), _verdict(ours, figure))
        rows.append((line.task, line.subtask, line.published, *found))
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
