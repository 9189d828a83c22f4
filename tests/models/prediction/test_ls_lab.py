"""Boosting and networks over folds: what is averaged, and which cells each part has seen."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from planted import error, side
from scmobench.data.reduce import SVD
from scmobench.models.prediction import ls_lab
from scmobench.models.prediction.ls_lab import LSLab, fold_cells
from scmobench.models.prediction.networks import apply_network
from scmobench.models.prediction.projection import input_cells
from scmobench.models.prediction.svd_linear import SVDLinear
from scmobench.tasks.predict_modality import PredictModality
from scmobench.types import PredictionData

SHORT = {"n1": 8, "n2": 4, "folds": 2, "rounds": 5, "max_epochs": 2}


@pytest.fixture
def to_adt(tiny_paired) -> PredictionData:
    return PredictModality().split(tiny_paired).data


def curved() -> tuple[PredictionData, np.ndarray]:
    """300 cells whose 12 targets are a curved function of 20 inputs; 100 of them test cells."""
    rng = np.random.default_rng(0)
    hidden = rng.uniform(-2, 2, (300, 3))
    inputs = hidden @ rng.standard_normal((3, 20)) + 0.02 * rng.standard_normal((300, 20))
    bent = np.column_stack([np.abs(hidden), np.sin(2 * hidden)])
    target = np.clip(bent @ rng.standard_normal((6, 12)) + 5, 0, None)
    even = np.where(np.arange(300) % 2, "a", "b")
    mod1, mod2 = side(inputs, "GEX", even), side(target, "ADT", even)
    sides = mod1[:200].copy(), mod2[:200].copy(), mod1[200:].copy()
    return PredictionData("curved", "GEX2ADT", *sides), target[200:]


def test_a_curved_link_is_found_and_the_validation_score_foretells_the_test() -> None:
    data, truth = curved()
    settings = {"learning_rate": 0.2, "networks": ((64, 64),), "max_epochs": 25, "batch_size": 20}
    model = LSLab(n1=4, n2=6, folds=2, rounds=30, **settings)
    found = model.fit(data, 0).predict(data)
    linear = SVDLinear(6).fit(data, 0).predict(data)
    assert error(found, truth) < 0.6 * error(linear, truth)
    assert model.report()["validation"] == pytest.approx(error(found, truth), rel=0.3)


def test_answer_is_half_boosting_half_networks_over_the_folds(to_adt) -> None:
    model = LSLab(**SHORT, networks=((6,), (7, 7))).fit(to_adt, 0)
    scores = SVD(8, 0).fit(input_cells(to_adt)).transform(to_adt.test_mod1.X)
    total = 0
    for fold in model.fitted:
        assert (len(fold.boosting.trees), len(fold.networks)) == (5, 2)
        trees = fold.boosting.predict(scores)
        first, second = (apply_network(network, scores) for network in fold.networks)
        total = total + (trees / 2 + first / 4 + second / 4) @ fold.svd.components_
    np.testing.assert_allclose(model.predict(to_adt), np.clip(total / 2, 0, None), rtol=1e-4, atol=1e-5)


def test_validation_is_of_the_fold_that_was_kept_out(to_adt) -> None:
    """Targets of the kept cells that no model can know must show in full in the score."""
    noise = to_adt.train_mod2.X.toarray()
    noise[:] = np.random.default_rng(0).uniform(0, 10, noise.shape)
    to_adt.train_mod2.X = csr_matrix(noise.astype(np.float32))
    model = LSLab(**(SHORT | {"rounds": 60, "n2": 19}), networks=(), learning_rate=0.3, l2=0.0)
    model.fit(to_adt, 0)
    assert model.report()["validation"] > noise.std()


def test_networks_normalise_before_the_relu_and_all_but_the_first_decay(to_adt, monkeypatch) -> None:
    seen = []
    original = ls_lab.fit_network

    def spy(network, inputs, targets, settings, **cells):
        seen.append((network, settings.weight_decay))
        return original(network, inputs, targets, settings, **cells)

    monkeypatch.setattr(ls_lab, "fit_network", spy)
    LSLab(**SHORT, networks=((6,), (7, 7)), weight_decay=0.5).fit(to_adt, 0)
    assert [decay for _, decay in seen] == [0.0, 0.5] * 2
    for network, _ in seen:
        kinds = [type(layer).__name__ for layer in network.layers]
        assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * (len(kinds) // 3) + ["Linear"]


def test_every_batch_is_spread_over_all_folds() -> None:
    batches = np.repeat(["a", "b", "c"], [50, 20, 10])
    kept = [fold for _, fold in fold_cells(batches, 5, 0)]
    assert sorted(np.concatenate(kept)) == list(range(80))
    for fold in kept:
        assert [(batches[fold] == name).sum() for name in "abc"] == [10, 4, 2]
    for learned, fold in fold_cells(batches, 5, 1):
        assert not set(learned) & set(fold)
    assert len(list(fold_cells(np.array(["a", "a", "b"]), 5, 0))) == 3


def test_peaks_are_predicted_between_closed_and_open(tiny_multiome) -> None:
    data = PredictModality().split(tiny_multiome).data
    found = LSLab(**(SHORT | {"rounds": 30, "n2": 20}), networks=(), learning_rate=0.5).fit(data, 0)
    found = found.predict(data)
    assert (found.min(), found.max()) == (0, 1)


def test_another_seed_another_answer(to_adt) -> None:
    models = [LSLab(**SHORT, networks=((6,),)).fit(to_adt, seed) for seed in (1, 2)]
    assert not np.array_equal(*(model.predict(to_adt) for model in models))


def test_too_few_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="2 training cells"):
        list(fold_cells(np.array(["a"]), 5, 0))
