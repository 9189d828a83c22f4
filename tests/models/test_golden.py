"""Scores of the competition's own code, and scib's, on its own fixture."""

import warnings
from pathlib import Path

import anndata as ad
import pytest

from places import KIT
from scmobench.experiment.evaluate import evaluate, metrics, scorer_inputs
from scmobench.types import COUNTED, PROTOCOL, Score


def read(folder: Path, name: str) -> ad.AnnData:
    """One file of the fixture, written by an old anndata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_h5ad(folder / f"{KIT}.{name}.h5ad")


@pytest.fixture(scope="module")
def embedding_scores(golden_dir: Path) -> dict[str, Score]:
    """All scores of the golden embedding."""
    folder = golden_dir / "joint_embedding"
    return evaluate("joint_embedding", read(folder, "prediction"), read(folder, "solution"))


def test_prediction_scores_are_the_competitions(golden_dir):
    folder = golden_dir / "predict_modality"
    scores = evaluate("predict_modality", read(folder, "prediction"), read(folder, "test_mod2"))
    kept = read(folder, "scores")
    for name, value in zip(kept.uns["metric_ids"], kept.uns["metric_values"], strict=True):
        assert scores[name].value == pytest.approx(float(value), abs=1e-6)
    assert scores["rmse"].value == pytest.approx(0.5542967, abs=1e-6)
    assert scores["mae"].value == pytest.approx(0.3597729, abs=1e-6)


def test_nmi_is_the_competitions_to_the_last_digits(embedding_scores, golden_dir):
    kept = read(golden_dir / "joint_embedding", "scores")
    assert embedding_scores["nmi"].value == pytest.approx(float(kept.uns["metric_values"][0]), abs=1e-15)
    assert embedding_scores["nmi"].value == pytest.approx(0.7168236193401997, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "value", "within"),
    [
        ("asw_label", 0.519801, 1e-6),
        ("asw_batch", 0.817626, 1e-6),
        ("graph_conn", 0.857982, 1e-6),
        ("cc_cons", 0.424268, 5e-6),  # in float32: 0.424269 on another processor
    ],
)
def test_other_embedding_scores_are_scibs(embedding_scores, name, value, within):
    assert embedding_scores[name].value == pytest.approx(value, abs=within)


def test_recomputed_cell_cycle_is_noted(embedding_scores):
    assert embedding_scores["cc_cons"].reason == "S and G2M scores recomputed from 4 G2/M and 3 S genes"


def test_a_trajectory_without_root_is_not_applicable(embedding_scores):
    score = embedding_scores["ti_cons_batch_mean"]
    assert score.value is None
    assert "No root cell found" in score.reason
    assert "99 of 600 cells" in score.reason
    assert embedding_scores["mean"].reason == "of 5/6"


def test_on_the_competitions_test_sets_a_missing_root_counts_as_0(embedding_scores, golden_dir):
    prediction, solution = (read(golden_dir / "joint_embedding", name) for name in ("prediction", "solution"))
    solution.uns["protocol"] = PROTOCOL
    found = metrics("joint_embedding")
    score = found["ti_cons_batch_mean"](*scorer_inputs("joint_embedding", prediction, solution))
    assert score.value == 0
    assert score.reason.startswith("no root cell is found by pseudotime_order_GEX (99 of 600 cells")
    assert score.reason.endswith("0 is counted for it, as in the competition")
    mean = found["mean"].mean(embedding_scores | {"ti_cons_batch_mean": score})
    assert mean.value == pytest.approx(embedding_scores["mean"].value * 5 / 6)
    assert mean.reason == f"ti_cons_batch_mean has no value in part: {COUNTED}"
