"""The scorer: which metrics a task has, states of a score, intervals and paired tests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from scipy import stats

from scmobench.experiment.config import build
from scmobench.experiment.evaluate import Metric, _read, evaluate, intervals, metrics, paired_test, primary
from scmobench.experiment.loader import conf_dir
from scmobench.experiment.plan import Plan
from scmobench.models.base import SolutionControl
from scmobench.types import TASKS, NotApplicable, Score

SIX = {"nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean"}


def prediction_case(noise: float, n: int = 200, m: int = 30) -> tuple[AnnData, AnnData]:
    """A prediction with this much noise, and the same truth every time."""
    truth = np.random.default_rng(0).normal(size=(n, m))
    error = np.random.default_rng(int(noise * 100)).normal(scale=noise, size=(n, m))
    return AnnData((truth + error).astype(np.float32)), AnnData(sp.csr_matrix(truth.astype(np.float32)))


def matching_case(right: float, n: int = 100) -> tuple[AnnData, AnnData]:
    """A hard matching in which this share of cells is right."""
    rng = np.random.default_rng(0)
    pairing = rng.permutation(n)
    guess = np.argsort(pairing)
    wrong = np.arange(n)[: round(n * (1 - right))]
    guess[wrong] = np.roll(guess[wrong], 1)
    matrix = sp.csr_matrix((np.ones(n), (np.arange(n), guess)), shape=(n, n))
    obs = pd.DataFrame({"cell_type": rng.choice(["B", "T"], n)}, index=[str(i) for i in range(n)])
    return AnnData(matrix), AnnData(sp.csr_matrix((n, n)), obs=obs, uns={"pairing_ix": pairing})


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_one_ranking_metric_and_it_is_first(task):
    found = metrics(task)
    assert [m.primary for m in found.values()] == [True] + [False] * (len(found) - 1)
    assert primary(task).name == next(iter(found))
    for metric in found.values():
        assert metric.direction in ("min", "max")
        assert metric.label
        assert metric.citation
        assert len(metric.bounds) == 2
        assert bool(metric.mean_of) != (metric.function is not None)
        assert not (metric.primary and metric.extra)


def test_the_mean_is_of_exactly_the_six():
    found = metrics("joint_embedding")
    assert set(found["mean"].mean_of) == SIX
    assert not any(found[name].extra for name in SIX)
    assert found["nmi_leiden"].extra


def test_prediction_is_scored_with_all_eight():
    scores = evaluate("predict_modality", *prediction_case(0.5))
    assert len(scores) == 8
    assert scores["rmse"].value == pytest.approx(0.5, abs=0.02)
    assert all(np.isfinite(s.value) for s in scores.values())


def test_matching_reads_the_pairing_of_the_solution():
    prediction, solution = matching_case(0.7)
    scores = evaluate("match_modality", prediction, solution)
    assert scores["match_probability"].value == pytest.approx(0.7)
    assert scores["cell_type_match"].value > 0.7
    assert scores["foscttm"].value is None
    assert "of 10000 similarities" in scores["foscttm"].reason
    transposed = AnnData(prediction.X.T.tocsr())
    assert evaluate("match_modality", transposed, solution)["match_probability"].value < 0.1


def test_embedding_mean_is_marked_where_a_metric_does_not_apply():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"cell_type": rng.choice(["B", "T"], 60)}, index=[str(i) for i in range(60)])
    solution = AnnData(rng.random((60, 9)).astype(np.float32), obs=obs)
    scores = evaluate("joint_embedding", AnnData(rng.random((60, 4))), solution)
    applicable = [scores[name].value for name in SIX if scores[name].value is not None]
    assert len(applicable) == 3
    assert scores["mean"].reason == "of 3/6"
    assert scores["mean"].value == pytest.approx(np.mean(applicable))
    assert scores["asw_batch"] == Score(None, "the solution has no batch")


def test_the_mean_of_a_full_set_has_no_mark_and_of_none_no_value():
    metric = Metric("mean", "", "max", (0, 1), "", mean_of=("a", "b"))
    assert metric.mean({"a": Score(0.2), "b": Score(0.4, "note")}) == Score(pytest.approx(0.3), "")
    assert metric.mean({"a": Score(None, "x"), "b": Score(None, "y")}).value is None


def test_a_metric_that_does_not_apply_is_a_reason_and_not_a_number():
    def absent(*_):
        raise NotApplicable("no labels")

    def undefined(*_):
        return float("nan")

    assert Metric("m", "", "max", (0, 1), "", function=absent)(1) == Score(None, "no labels")
    score = Metric("m", "", "max", (0, 1), "", function=undefined)(1)
    assert score.value is None
    assert "not a finite number" in score.reason


@pytest.mark.parametrize("call", [metrics, lambda task: evaluate(task, AnnData(), AnnData())])
def test_an_unknown_task_is_explained(call):
    with pytest.raises(ValueError, match=r"expected a task of predict_modality.*found 'predict'"):
        call("predict")


@pytest.mark.parametrize(
    ("task", "case"), [("predict_modality", prediction_case(0.5)), ("match_modality", matching_case(0.6))]
)
def test_an_interval_holds_the_score_and_repeats(task, case):
    ((name, (low, high)),) = intervals(task, *case).items()
    assert name == primary(task).name
    assert low < evaluate(task, *case)[name].value < high
    assert intervals(task, *case) == {name: (low, high)}


def test_the_width_of_an_interval_is_that_of_a_binomial_share():
    low, high = intervals("match_modality", *matching_case(0.6))["match_probability"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.6 * 0.4 / 100), rel=0.1)


def test_intervals_and_tests_are_only_for_means_over_cells():
    case = prediction_case(0.5)
    assert intervals("joint_embedding", *case) == {}
    with pytest.raises(ValueError, match=r"by a mean over cells, found joint_embedding \(mean\)"):
        paired_test("joint_embedding", case[0], *case)


def test_paired_test_sees_a_better_prediction_and_no_difference_in_equal_ones():
    (good, solution), (bad, _) = prediction_case(0.5), prediction_case(0.6)
    found = paired_test("predict_modality", good, bad, solution)
    assert found.difference == pytest.approx(-0.1, abs=0.02)
    assert found.difference == found.a - found.b
    assert found.low < found.difference < found.high < 0
    half = (found.high - found.low) / 2
    assert half < 0.02, "far less than without the pairing"
    assert found.p_value < 1e-6
    assert found.n == 200
    squares = [np.asarray(np.square(p.X - solution.X).mean(axis=1)).ravel() for p in (good, bad)]
    expected = stats.ttest_rel(*squares)
    assert found.p_value == pytest.approx(expected.pvalue)
    roots = np.sqrt(np.mean(squares, axis=1))
    assert (found.a, found.b) == pytest.approx(tuple(roots))
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low / roots.sum(), high / roots.sum()))
    equal = paired_test("predict_modality", good, good.copy(), solution)
    assert (equal.difference, equal.low, equal.high, equal.p_value) == (0, 0, 0, 1)


def test_paired_test_of_matchings():
    (good, solution), (bad, _) = matching_case(0.9), matching_case(0.5)
    found = paired_test("match_modality", good, bad, solution)
    assert found.difference == pytest.approx(0.4)
    assert found.p_value < 1e-6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  bounds: [0, null]\n", ""),
        ("  bounds: [0, null]\n", "  bounds: 1\n"),
        ("direction: min", "direction: minimise"),
        ("citation:", "citaton:"),
        ("metadata:", "metdata:"),
    ],
)
def test_a_metric_file_without_what_tables_need_is_named(tmp_path: Path, old: str, new: str) -> None:
    text = (conf_dir() / "metric" / "predict_modality" / "rmse.yaml").read_text()
    assert old in text
    (tmp_path / "right.yaml").write_text(text)
    assert _read(tmp_path / "right.yaml").name == "right"
    (tmp_path / "mine.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=r"expected `metadata` in .*mine\.yaml with bounds, citation"):
        _read(tmp_path / "mine.yaml")


@pytest.mark.parametrize("task", ["predict_modality", "match_modality"])
def test_every_metric_prefers_the_solution_to_chance(task: str) -> None:
    problem = Plan.composed([f"task={task}", "dataset=tiny_cite"]).problem
    scores = {}
    for name in ("solution", "random", "constant" if task == "match_modality" else "mean"):
        plan = Plan.composed([f"task={task}", "dataset=tiny_cite", f"model={name}"])
        model = build(plan.settings)
        own = isinstance(model, SolutionControl)
        answer = (
            model.answer(problem.solution, 0) if own else model.fit(problem.data, 0).predict(problem.data)
        )
        packed = plan.task.pack(answer, problem.data, name)
        scores[name] = evaluate(task, *plan.task.check(packed, problem.solution))
    for name, metric in metrics(task).items():
        sign = 1 if metric.direction == "max" else -1
        best, *others = (found[name].value for found in scores.values())
        found = [other for other in others if best is not None and other is not None]
        assert all(sign * best > sign * other for other in found), name
