"""Every metric on every input for which one of them is not defined: a value, or a reason, by this table.

The table is written from the definitions. A metric that it does not name has a value within its bounds.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from planted import overlapping
from scmobench.experiment.evaluate import evaluate, metrics
from scmobench.metrics.cell_cycle import cc_cons
from scmobench.metrics.neighbors import ScoredEmbedding

N = 120
Edit = Callable[[np.ndarray, AnnData], tuple[np.ndarray, AnnData]]  # of a prediction and its solution
PER_CELL = ("mean_pearson_per_cell", "mean_spearman_per_cell")
PER_GENE = ("mean_pearson_per_gene", "mean_spearman_per_gene")
OVERALL = ("overall_pearson", "overall_spearman")
CORRELATIONS = (*PER_CELL, *PER_GENE, *OVERALL)
GRAPH = ("nmi", "nmi_leiden", "graph_conn", "ti_cons_batch_mean")
TYPED = (*GRAPH, "asw_label", "asw_batch")
all_of = dict.fromkeys


def check_scores(task: str, prediction: AnnData, solution: AnnData, expected: dict) -> None:
    """Scores are the expected numbers and reasons, and otherwise finite and within their bounds."""
    known, scores = metrics(task), evaluate(task, prediction, solution)
    assert set(expected) <= set(scores)
    for name, score in scores.items():
        wanted = expected.get(name, "value")
        if wanted == "value" or isinstance(wanted, float):
            assert score.value is not None, f"{name}: {score.reason}"
            low, high = known[name].bounds
            assert low is None or low - 1e-9 <= score.value
            assert high is None or score.value <= high + 1e-9
            assert wanted == "value" or score.value == pytest.approx(wanted, abs=1e-12), name
        else:
            assert score.value is None, f"{name}: {score.value}"
            assert wanted in score.reason


def labelled(**columns: object) -> Edit:
    """Other labels in the solution: columns, or functions that make them of its table of cells."""

    def edit(prediction: np.ndarray, solution: AnnData) -> tuple[np.ndarray, AnnData]:
        solution = solution.copy()
        solution.obs = solution.obs.assign(**columns)
        return prediction, solution

    return edit


def without(*columns: str, **uns: str) -> Edit:
    def edit(prediction: np.ndarray, solution: AnnData) -> tuple[np.ndarray, AnnData]:
        solution = solution.copy()
        solution.uns |= uns
        solution.obs = solution.obs.drop(columns=list(columns))
        return prediction, solution

    return edit


def first(label: str, column: str) -> Callable[[pd.DataFrame], list]:
    """A column whose first value is this label."""
    return lambda obs: [label, *obs[column][1:]]


CELLS, FEATURES, EQUAL = "no cell of the truth", "no feature of the truth", "all values of the truth"
TRUTH_IS_EQUAL = all_of(PER_CELL, CELLS) | all_of(PER_GENE, FEATURES) | all_of(OVERALL, EQUAL)
PREDICTIONS = {
    "ordinary": (lambda t, p: (t, p), {}),
    "perfect": (lambda t, p: (t, t), {"rmse": 0.0, "mae": 0.0} | all_of(CORRELATIONS, 1.0)),
    # by the competition's definition a constant side is no correlation, and the truth does vary
    "constant prediction": (lambda t, p: (t, np.full_like(p, 0.1)), all_of(CORRELATIONS, 0.0)),
    "the mean of each feature": (lambda t, p: (t, np.tile(t.mean(0), (len(t), 1))), all_of(PER_GENE, 0.0)),
    "the mean of each cell": (
        lambda t, p: (t, np.tile(t.mean(1)[:, None], t.shape[1])),
        all_of(PER_CELL, 0.0),
    ),
    "one cell of the truth constant": (lambda t, p: (np.r_[np.full_like(t[:1], 0.1), t[1:]], p), {}),
    "truth without variance": (lambda t, p: (np.full_like(t, 0.1), p), TRUTH_IS_EQUAL),
    "truth of zeros": (lambda t, p: (np.zeros_like(t), p), TRUTH_IS_EQUAL),
    "cells of the truth constant": (
        lambda t, p: (np.tile(t[:, :1] + 0.1, t.shape[1]), p),
        all_of(PER_CELL, CELLS),
    ),
    "features of the truth constant": (
        lambda t, p: (np.tile(t[:1] + 0.1, (len(t), 1)), p),
        all_of(PER_GENE, FEATURES),
    ),
    "one cell": (lambda t, p: (t[:1], p[:1]), all_of(PER_GENE, FEATURES)),
    "one feature": (lambda t, p: (t[:, :1], p[:, :1]), all_of(PER_CELL, CELLS)),
    "one value": (lambda t, p: (t[:1, :1], p[:1, :1]), TRUTH_IS_EQUAL),
}


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions(name, form):
    rng = np.random.default_rng(0)
    truth = np.log1p(rng.poisson(1, size=(30, 12))).astype(np.float32)
    edit, expected = PREDICTIONS[name]
    truth, prediction = edit(truth, truth + rng.normal(size=truth.shape).astype(np.float32))
    check_scores("predict_modality", AnnData(prediction), AnnData(form(truth)), expected)


ONE_CELL = {
    "pairing_auroc": "one cell",
    "pairing_aupr": "one cell",
    "foscttm": "one cell",
    "cell_type_match": "one type",
}
MATCHINGS = {
    "ordinary": (lambda p, s: (p, s), {}),
    "few similarities stored": (
        lambda p, s: (sp.csr_matrix(p * (p > 0.5)), s),
        {"foscttm": "all are needed"},
    ),
    "zeros": (
        lambda p, s: (sp.csr_matrix(p.shape), s),
        {
            "match_probability": 0.0,
            "pairing_auroc": 0.5,
            "pairing_aupr": 1 / 30,
            "foscttm": "0 of 900 similarities",
            "cell_type_match": 0.0,
        },
    ),
    "all weights equal": (
        lambda p, s: (np.ones_like(p), s),
        {"match_probability": 1 / 30, "pairing_auroc": 0.5, "pairing_aupr": 1 / 30, "foscttm": 0.5},
    ),
    "one cell": (lambda p, s: (p[:1, :1], s[:1, :1].copy()), {"match_probability": 1.0} | ONE_CELL),
    "no types": (without("cell_type"), {"cell_type_match": "no cell_type"}),
    "one type": (labelled(cell_type="T"), {"cell_type_match": "one type"}),
    "a type is missing": (
        labelled(cell_type=["NA", *["T", "B"] * 14, "T"]),
        {"cell_type_match": "1 cells have no cell_type"},
    ),
    "all types are missing": (labelled(cell_type=np.nan), {"cell_type_match": "30 cells have no cell_type"}),
}


@pytest.mark.parametrize("name", MATCHINGS)
def test_matchings(name):
    rng = np.random.default_rng(0)
    names = [f"cell{i}" for i in range(30)]
    obs = pd.DataFrame({"cell_type": rng.choice(["T", "B"], 30)}, index=names)
    solution = AnnData(sp.csr_matrix((30, 30)), obs=obs, uns={"pairing_ix": rng.permutation(30)})
    edit, expected = MATCHINGS[name]
    prediction, solution = edit(rng.random((30, 30)) + 0.01, solution)
    solution.uns["pairing_ix"] = np.argsort(np.argsort(solution.uns["pairing_ix"][: solution.n_obs]))
    check_scores("match_modality", AnnData(prediction), solution, expected)


def case() -> tuple[np.ndarray, AnnData]:
    """As many cells of each of four types and two batches, of no organism."""
    embedding, solution = overlapping(np.arange(N) % 4, np.arange(N) // 4 % 2, np.random.default_rng(0))
    solution.obs["pseudotime_order_ADT"] = solution.obs.pop("pseudotime_order_ATAC")
    del solution.uns["organism"]
    return embedding, solution


def where(mask: np.ndarray, matrix: np.ndarray, constant: float = 0.3) -> np.ndarray:
    """The matrix with the rows of the mask at one point."""
    return np.where(mask[:, None], np.float32(constant), matrix)


def in_b1(obs: pd.DataFrame) -> np.ndarray:
    return (obs["batch"] == "b1").to_numpy()


def expressed(solution: AnnData, X: np.ndarray) -> AnnData:
    solution = solution.copy()
    solution.X = sp.csr_matrix(X)
    return solution


def cells(keep: slice):
    return lambda e, s: (e[keep], s[keep].copy())


def types_at_points(e: np.ndarray, s: AnnData) -> tuple[np.ndarray, AnnData]:
    points = np.random.default_rng(1).normal(size=(4, 20)).astype(np.float32)
    return without("pseudotime_order_GEX")(points[s.obs["cell_type"].astype("category").cat.codes], s)


def first_pseudotimes(number: int) -> Edit:
    return labelled(pseudotime_order_GEX=lambda obs: obs["pseudotime_order_GEX"].where(np.arange(N) < number))


FEW, CONSTANT = "too few for a graph", "scores of batch b0 do not vary"
NO_TYPE, NO_BATCH = "1 scored cells have no cell_type", "1 scored cells have no batch"
BATCHED = ("asw_batch", "cc_cons", "ti_cons_batch_mean")
LOST = {"mean": "none of"}
AT_ONE_POINT = all_of(GRAPH, "one point") | {"asw_label": 0.5, "asw_batch": 1.0, "cc_cons": "no variance"}
EMBEDDINGS = {
    "ordinary": (lambda e, s: (e, s), {}),
    "one dimension": (lambda e, s: (e[:, :1], s), {}),
    "dead dimensions": (lambda e, s: (np.c_[e, np.full((N, 3), np.float32(0.1))], s), {}),
    "all cells at 0": (lambda e, s: (np.zeros_like(e), s), AT_ONE_POINT),
    "all cells at another point": (lambda e, s: (np.tile(e[:1] / 3, (N, 4)), s), AT_ONE_POINT),
    "each type at a point": (
        types_at_points,
        {"asw_label": 1.0, "asw_batch": 1.0, "ti_cons_batch_mean": "no pseudotime"},
    ),
    "a batch at a point": (
        lambda e, s: (where(in_b1(s.obs), e), s),
        {"cc_cons": "embedding of batch b1", "ti_cons_batch_mean": "60 of 120 cells with"},
    ),
    "one type": (
        labelled(cell_type="T"),
        {"nmi": "one type", "nmi_leiden": "one type", "asw_label": "have 1", "graph_conn": 1.0},
    ),
    "each cell a type": (
        labelled(cell_type=lambda obs: obs.index),
        {
            "asw_label": "120 cells have 120",
            "asw_batch": "more than one batch",
            "graph_conn": "one scored cell",
        },
    ),
    "one batch": (labelled(batch="b"), {"asw_batch": "one batch"}),
    "each cell a batch": (
        labelled(batch=lambda obs: obs.index),
        {
            "asw_batch": "more than one batch",
            "cc_cons": "the smallest batch has 1",
            "ti_cons_batch_mean": "do not vary",
        },
    ),
    "each type in a batch of its own": (
        labelled(batch=lambda obs: obs["cell_type"]),
        {"asw_batch": "more than one batch"},
    ),
    "a batch of three cells": (
        labelled(batch=["b2"] * 3 + ["b1"] * (N - 3)),
        {"cc_cons": "the smallest batch has 3"},
    ),
    "a batch of four cells": (labelled(batch=["b2"] * 4 + ["b1"] * (N - 4)), {}),
    "15 cells": (cells(slice(15)), all_of(GRAPH, FEW)),
    "16 cells": (cells(slice(16)), {}),
    "one cell": (
        cells(slice(1)),
        all_of(GRAPH, FEW)
        | all_of(("nmi", "nmi_leiden"), "one type")
        | {"graph_conn": "one scored cell", "asw_label": "have 1", "asw_batch": "one batch"}
        | {"cc_cons": "the smallest batch has 1"}
        | LOST,
    ),
    "no types": (without("cell_type"), all_of(TYPED, "no cell_type")),
    "no batches": (without("batch"), all_of(BATCHED, "no batch")),
    "a type is missing": (labelled(cell_type=first("", "cell_type")), all_of(TYPED, NO_TYPE)),
    "a batch is missing": (labelled(batch=first("None", "batch")), all_of(BATCHED, NO_BATCH)),
    "no scores and no organism": (without("S_score"), {"cc_cons": f"{N} of {N} cells have no S and"}),
    "no scores and no genes": (
        without("S_score", organism="human"),
        {"cc_cons": f"{N} of {N} cells have no S and G2M scores, and too few cell-cycle genes: 0 G2/M"},
    ),
    "a score is missing": (
        labelled(S_score=first("NA", "S_score")),
        {"cc_cons": f"1 of {N} cells have no S and G2M scores, and uns['organism']"},
    ),
    "scores constant": (labelled(S_score=0.1, G2M_score=-0.3), {"cc_cons": CONSTANT}),
    "scores constant but for rounding": (
        labelled(S_score=np.where(np.arange(N) % 3, 0.3, 0.1 + 0.2), G2M_score=0),
        {"cc_cons": CONSTANT},
    ),
    "scores constant in a batch": (
        labelled(
            S_score=lambda obs: np.where(in_b1(obs), 0.1, obs["S_score"]),
            G2M_score=lambda obs: np.where(in_b1(obs), 0.1, obs["G2M_score"]),
        ),
        {"cc_cons": "scores of batch b1 do not vary"},
    ),
    "one score constant": (labelled(S_score=0.1), {}),
    "expression constant": (
        lambda e, s: (e, expressed(s, np.full(s.shape, np.float32(0.1)))),
        {"cc_cons": "expression of batch b0 has no variance"},
    ),
    "expression constant in a batch": (
        lambda e, s: (e, expressed(s, where(in_b1(s.obs), s.X.toarray()))),
        {"cc_cons": "expression of batch b1 has no variance"},
    ),
    "most genes silent": (
        lambda e, s: (e, expressed(s, s.X.toarray() * (np.arange(80) < 10).astype(np.float32))),
        {},
    ),
    "no pseudotime": (without("pseudotime_order_GEX"), {"ti_cons_batch_mean": "no pseudotime_order_GEX"}),
    "two pseudotimes": (
        first_pseudotimes(2),
        {"ti_cons_batch_mean": "connected cells have a pseudotime; 11"},
    ),
    "fifteen pseudotimes": (
        first_pseudotimes(15),
        {"ti_cons_batch_mean": "connected cells have a pseudotime; 11 are needed"},
    ),
    "pseudotimes all missing": (
        labelled(pseudotime_order_ADT="nan"),
        {"ti_cons_batch_mean": "pseudotime_order_ADT and"},
    ),
    "pseudotime constant": (labelled(pseudotime_order_GEX=0.1), {"ti_cons_batch_mean": "do not vary"}),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings(name):
    edit, expected = EMBEDDINGS[name]
    embedding, solution = edit(*case())
    check_scores("joint_embedding", AnnData(embedding), solution, expected)


def test_dead_dimensions_do_not_count():
    embedding, solution = case()
    alone = cc_cons(ScoredEmbedding(embedding, solution)).value
    dead = np.c_[embedding[:, :2], np.full((N, 2), np.float32(0.1)), embedding[:, 2:], np.zeros((N, 1), "f4")]
    assert cc_cons(ScoredEmbedding(dead, solution)).value == alone
    dead[in_b1(solution.obs), 1] = 0  # dead in one batch
    assert cc_cons(ScoredEmbedding(dead, solution)).value != alone
