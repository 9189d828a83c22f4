"""Kernel ridge regression over halves of the batches: the known score, its clip, and its approximation."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from omegaconf import OmegaConf
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge as Reference

from scmobench.data.preprocess import zscore_rows
from scmobench.data.reduce import SVD
from scmobench.experiment.config import build, conf_dir, for_subtask
from scmobench.models.prediction import guanlab_krr, kernel_ridge
from scmobench.models.prediction.guanlab_krr import GuanlabKRR, halves
from scmobench.models.prediction.kernel_ridge import fit_ridge
from scmobench.models.prediction.projection import bounds, input_cells
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import PredictionData


def from_conf(subtask: str, **changed) -> GuanlabKRR:
    block = OmegaConf.to_container(OmegaConf.load(conf_dir() / "model" / "guanlab_krr.yaml"))
    return build(for_subtask(block["predict_modality"], subtask) | changed)


def answer(model: GuanlabKRR, data: PredictionData, seed: int = 0) -> np.ndarray:
    return model.fit(data.for_fit(model.transductive, False), seed).predict(data)


@pytest.fixture
def to_atac(tiny_multiome) -> PredictionData:
    return PredictModality().split(tiny_multiome).data


@pytest.mark.parametrize(("subtask", "score"), [("GEX2ADT", 0.5248), ("ADT2GEX", 0.4762)])
def test_starter_kit_score_is_that_of_the_original_code(starter_kit, subtask: str, score: float) -> None:
    names = ("train_mod1", "train_mod2", "test_mod1", "test_mod2")
    if subtask == "ADT2GEX":
        names = ("train_mod2", "train_mod1", "test_mod2", "test_mod1")
    *parts, truth = (starter_kit[name] for name in names)
    found = answer(from_conf(subtask), PredictionData("kit", subtask, *parts))
    assert np.sqrt(((found - truth.X.toarray()) ** 2).mean()) == pytest.approx(score, abs=0.0005)


def test_with_one_training_batch_every_model_sees_all_cells_and_halves_validate(to_atac) -> None:
    to_atac.train_mod1.obs["batch"] = "one"
    model = GuanlabKRR(n1=20, n2=10, alpha=0.1, repeats=2)
    found = answer(model, to_atac, seed=3)
    n = to_atac.train_mod1.n_obs
    Z = zscore_rows(SVD(20, 3).fit_transform(input_cells(to_atac))).astype(float)
    svd2 = SVD(10, 3)
    target = svd2.fit_transform(to_atac.train_mod2.X)

    def ridge(members: np.ndarray, cells: np.ndarray) -> np.ndarray:
        return Reference(alpha=0.1, kernel=RBF(10)).fit(Z[members], target[members]).predict(cells)

    np.testing.assert_allclose(found, np.clip(ridge(np.arange(n), Z[n:]) @ svd2.components_, 0, 1), atol=1e-5)
    assert "every model sees all cells" in model.report()["notes"]
    out, rng = np.zeros((n, 10)), np.random.default_rng(3)
    for _ in range(2):
        first, second = halves(np.repeat("one", n), rng)
        out[second] += ridge(first, Z[second]) / 2
        out[first] += ridge(second, Z[first]) / 2
    error = np.clip(out @ svd2.components_, 0, 1) - to_atac.train_mod2.X.toarray()
    assert model.report()["validation"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)


def test_answer_is_the_mean_of_ten_ridge_models_on_halves_of_the_batches(to_atac) -> None:
    found = answer(GuanlabKRR(n1=20, n2=10, alpha=0.1), to_atac, seed=3)
    both = input_cells(to_atac)
    Z = zscore_rows(SVD(20, 3).fit_transform(both)).astype(float)
    n = to_atac.train_mod1.n_obs
    svd2 = SVD(10, 3)
    target = svd2.fit_transform(to_atac.train_mod2.X)
    batch = to_atac.train_mod1.obs["batch"].astype(str).to_numpy()
    assert len(set(batch)) == 2  # each halving is the same two models
    each = [
        Reference(alpha=0.1, kernel=RBF(10)).fit(Z[:n][batch == b], target[batch == b]).predict(Z[n:])
        for b in set(batch)
    ]
    expected = np.clip(np.mean(each, axis=0) @ svd2.components_, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_legacy_clips_the_sum_of_the_models_before_dividing(to_atac) -> None:
    model = GuanlabKRR(n1=20, n2=10, alpha=0.1)
    right = answer(model, to_atac)
    assert (right > 0.1).any()
    model.legacy = True
    wrong = model.predict(to_atac)
    # a peak is cut at a tenth if the sum of its ten models exceeds 1; all others are right
    np.testing.assert_allclose(wrong, np.minimum(right, 0.1), atol=1e-6)


def test_legacy_leaves_targets_without_an_upper_bound_alone(tiny_paired) -> None:
    data = PredictModality().split(tiny_paired).data
    model = GuanlabKRR(n1=20, n2=10)
    right = answer(model, data)
    model.legacy = True
    assert right.max() > 1
    np.testing.assert_allclose(model.predict(data), right, rtol=1e-5, atol=1e-6)


def test_peaks_that_are_not_binary_have_no_upper_bound(to_atac) -> None:
    many = to_atac.train_mod2.copy()
    many.X = many.X * 7
    assert bounds(to_atac) == (0.0, 1.0)
    assert bounds(dataclasses.replace(to_atac, train_mod2=many)) == (0.0, None)


def test_targets_below_zero_can_be_predicted_down_to_the_lowest_of_training(tiny_paired) -> None:
    data = PredictModality().split(tiny_paired).data
    data.train_mod2.X = sp.csr_matrix(data.train_mod2.X.toarray() - 1)
    found = answer(GuanlabKRR(n1=20, n2=10), data)
    assert bounds(data) == (-1.0, None)
    assert -1 <= found.min() < 0


@pytest.mark.parametrize("width", [14, 300])
def test_all_cells_as_landmarks_give_the_exact_solution(width: int) -> None:
    rng = np.random.default_rng(0)
    cells = zscore_rows(rng.standard_normal((260, width)))
    targets = rng.standard_normal((260, 5))
    members = np.arange(0, 200)
    exact = fit_ridge(cells, targets, members, length_scale=10, alpha=0.2)
    nystroem = fit_ridge(cells, targets, members, length_scale=10, alpha=0.2, landmarks=members)
    wanted = exact.predict(cells, cells[200:])
    np.testing.assert_allclose(nystroem.predict(cells, cells[200:]), wanted, atol=1e-5 * np.abs(wanted).max())


def test_fewer_landmarks_come_near_and_are_noted(to_atac, monkeypatch) -> None:
    exact = answer(GuanlabKRR(n1=5, n2=10), to_atac)
    monkeypatch.setattr(kernel_ridge, "CHUNK", 7)
    model = GuanlabKRR(n1=5, n2=10, exact_up_to=20, landmarks=30)
    rough = answer(model, to_atac)
    assert all(len(ridge.places) == 30 for ridge in model.models)
    assert 0 < np.abs(rough - exact).mean() < 0.05 * np.abs(exact).mean()
    assert "30 Nyström landmarks" in model.report()["notes"]


def test_halves_are_of_batches() -> None:
    batches = np.repeat(list("abcde"), [3, 9, 4, 1, 7])
    seen = set()
    for seed in range(20):
        first, second = halves(batches, np.random.default_rng(seed))
        assert sorted([*first, *second]) == list(range(len(batches)))
        assert len(set(batches[first])) == 2
        assert not set(batches[first]) & set(batches[second])
        seen.add(frozenset(batches[first]))
    assert len(seen) > 5
    first, second = halves(np.repeat("a", 9), np.random.default_rng(0))
    assert (len(first), len(second)) == (4, 5)


def test_another_seed_another_answer(tiny_paired) -> None:
    data = PredictModality().split(tiny_paired, "to_gex").data
    data.train_mod1.obs["batch"] = "one"
    assert not np.array_equal(*(answer(from_conf("ADT2GEX"), data, seed) for seed in (4, 5)))


def test_validation_is_of_cells_that_the_models_did_not_see(to_atac) -> None:
    model = GuanlabKRR(n1=20, n2=10, alpha=1e-4, repeats=2)
    answer(model, to_atac)
    cells, truth = model.cells, to_atac.train_mod2.X.toarray()
    rmse = {}
    for seen in (True, False):
        found = np.zeros((len(cells), 10))
        for ridge in model.models:
            rows = np.isin(np.arange(len(cells)), ridge.places) == seen
            found[rows] += ridge.predict(cells, cells[rows]) / 2
        error = np.clip(model.svd2.inverse_transform(found), 0, 1) - truth
        rmse[seen] = np.sqrt((error**2).mean())
    assert model.report()["validation"] == pytest.approx(rmse[False], rel=1e-5)
    assert rmse[True] < 0.99 * rmse[False]


def test_raw_inputs_that_are_too_large_are_refused(tiny_paired, monkeypatch) -> None:
    monkeypatch.setattr(guanlab_krr, "RAW_LIMIT_GB", 1e-6)
    data = PredictModality().split(tiny_paired, "to_gex").data
    with pytest.raises(ValueError, match="set n1"):
        answer(from_conf("ADT2GEX"), data)
