"""The first models: known scores on the starter kit, and planted signal that each has to find."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from omegaconf import OmegaConf

from scmobench.data.preprocess import zscore_rows
from scmobench.data.reduce import SVD
from scmobench.experiment.config import build, conf_dir
from scmobench.models.embedding.svd_embedding import SVDEmbedding
from scmobench.models.matching.linear_hungarian import LinearHungarian
from scmobench.models.prediction.knn import KNN
from scmobench.models.prediction.svd_linear import SVDLinear
from scmobench.types import EmbeddingData, MatchingData, PredictionData


def cells(X: np.ndarray, batch: str = "a") -> AnnData:
    made = AnnData(sp.csr_matrix(X, dtype=np.float32))
    made.obs["batch"] = batch
    return made


@pytest.fixture
def linked() -> tuple[np.ndarray, np.ndarray]:
    """120 cells of two modalities (30 and 12 features) that are linear in the same four factors."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((120, 4))
    noise = rng.standard_normal((120, 42)) * 0.02
    both = hidden @ rng.standard_normal((4, 42)) + noise
    return both[:, :30], both[:, 30:]


def prediction_data(linked: tuple[np.ndarray, np.ndarray]) -> PredictionData:
    mod1, mod2 = linked
    return PredictionData("planted", "GEX2ADT", cells(mod1[:80]), cells(mod2[:80]), cells(mod1[80:]))


@pytest.mark.parametrize(("name", "rmse"), [("mean", 0.794), ("svd_linear", 0.571), ("knn", 0.550)])
def test_starter_kit_scores_are_the_known_ones(
    starter_kit: dict[str, AnnData], name: str, rmse: float
) -> None:
    *parts, truth = starter_kit.values()
    data = PredictionData("kit", "GEX2ADT", *parts)
    model = build(OmegaConf.load(conf_dir() / "model" / f"{name}.yaml").predict_modality)
    answer = model.fit(data.for_fit(model.transductive, False), 0).predict(data)
    assert np.sqrt(((answer - truth.X.toarray()) ** 2).mean()) == pytest.approx(rmse, abs=0.003)


@pytest.mark.parametrize("transductive", [False, True])
def test_svd_linear_recovers_a_linear_link(linked, transductive: bool) -> None:
    data = prediction_data(linked)
    model = SVDLinear(8, transductive).fit(data.for_fit(transductive, False), 0)
    error = model.predict(data) - linked[1][80:]
    assert np.sqrt((error**2).mean()) < 0.05 * linked[1].std()
    assert model.report()["parameters"] == 8 * 8 + 8


def test_knn_is_the_mean_of_the_nearest_training_cells(linked) -> None:
    data = prediction_data(linked)
    found = KNN(n_components=4, k=3).fit(data.for_fit(False, False), 5).predict(data)
    svd = SVD(4, 5).fit(data.train_mod1.X)
    train, test = svd.transform(data.train_mod1.X), svd.transform(data.test_mod1.X)
    nearest = np.argsort(((test[:, None] - train[None]) ** 2).sum(axis=2), axis=1)[:, :3]
    np.testing.assert_allclose(found, linked[1][:80][nearest].mean(axis=1), rtol=1e-4, atol=1e-5)
    everyone = KNN(n_components=4, k=500).fit(data.for_fit(False, False), 5).predict(data)
    np.testing.assert_allclose(everyone, np.tile(linked[1][:80].mean(axis=0), (40, 1)), atol=1e-4)


@pytest.mark.parametrize("center", [True, False])
def test_linear_hungarian_finds_planted_pairs(linked, center: bool) -> None:
    mod1, mod2 = linked
    rng = np.random.default_rng(1)
    train, test = rng.permutation(80), rng.permutation(40)
    data = MatchingData(
        "planted",
        "GEX2ADT",
        cells(mod1[:80]),
        cells(mod2[:80][train]),
        train,
        cells(mod1[80:]),
        cells(mod2[80:][test]),
    )
    model = LinearHungarian(n_components=8, center=center).fit(data.for_fit(False, False), 0)
    matching = model.predict(data)
    assert (test[matching.indices] == np.arange(40)).mean() > 0.9
    left, right = model.sides(data)
    np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(right, axis=1), 1, rtol=1e-5)


def embedding_data(linked: tuple[np.ndarray, np.ndarray]) -> EmbeddingData:
    mod1, mod2 = (cells(X) for X in linked)
    for modality in (mod1, mod2):
        modality.obs["is_train"] = np.arange(120) < 80
    return EmbeddingData("planted", "GEX-ADT", mod1, mod2, labels=pd.DataFrame(index=mod1.obs_names[:80]))


def test_svd_embedding_is_both_modalities_side_by_side(linked) -> None:
    data = embedding_data(linked)
    both = SVDEmbedding(5, 3).fit(data, 2).predict(data)
    parts = [SVD(n, 2).fit_transform(X) for n, X in zip((5, 3), linked, strict=True)]
    np.testing.assert_array_equal(both, np.hstack([zscore_rows(part) for part in parts]))
    gex = SVDEmbedding(5, 0).fit(data, 2).predict(data)
    mod2 = SVDEmbedding(0, 3).fit(data, 2).predict(data)
    np.testing.assert_array_equal(np.hstack([gex, mod2]), both)


def test_svd_embedding_can_do_without_the_test_cells(linked) -> None:
    data = embedding_data(linked)
    model = SVDEmbedding(5, 3, transductive=False)
    found = model.fit(data.for_fit(model.transductive, False), 0).predict(data)
    changed = linked[0].copy()
    changed[80:] *= -3
    other = embedding_data((changed, linked[1]))
    again = SVDEmbedding(5, 3, transductive=False).fit(other.for_fit(False, False), 0).predict(data)
    assert found.shape == (120, 8)
    assert found.tobytes() == again.tobytes()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        SVDEmbedding(80, 40)
