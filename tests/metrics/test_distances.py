"""One pass over the distances against scikit-learn's and scib's own."""

import numpy as np
import pandas as pd
import pytest
import scib
from anndata import AnnData
from sklearn.metrics import pairwise_distances

from scmobench.metrics import distances
from scmobench.metrics.asw import asw_batch, asw_label
from scmobench.metrics.distances import all_pairs, nearest_cells
from scmobench.metrics.neighbors import EMBEDDING, ScoredEmbedding

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
K = 15
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def cells(dtype: type, n: int = 700, types: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points far from the origin, of types of unequal size, over three tiles."""
    rng = np.random.default_rng(0)
    kinds = np.minimum(rng.integers(types, size=n), rng.integers(types, size=n))
    points = rng.normal(size=(n, 6)) + kinds[:, None] * 0.7 + 20
    return points.astype(dtype), kinds, rng.integers(3, size=n)


def test_fewer_cells_than_neighbours_have_sums_and_no_warning():
    points, types, batches = cells(np.float32, n=3)
    assert all_pairs(points, types, batches, K).to_type.any()


@BOTH
def test_sums_equal_those_of_all_distances(dtype):
    points, types, batches = cells(dtype)
    found, apart = all_pairs(points, types, batches, K), pairwise_distances(points).astype(float)
    to_type = [apart[:, types == code].sum(axis=1) for code in range(5)]
    inside = np.where(types[:, None] == types, apart, 0)
    to_batch = [inside[:, batches == code].sum(axis=1) for code in range(3)]
    share = 1e-8 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found.to_type.T, to_type, rtol=share)
    np.testing.assert_allclose(found.to_batch.T, to_batch, rtol=share)


@BOTH
@pytest.mark.parametrize("n", [17, 256, 700])
def test_nearest_cells_are_scikit_learns(dtype, n, monkeypatch):
    points, types, batches = cells(dtype, n)
    expected = nearest_cells(points, K)
    monkeypatch.setattr(distances, "nearest_cells", None)  # the pass is to find them
    found = all_pairs(points, types, batches, K)
    assert (found.nearest == expected[0]).all()
    assert np.abs(found.length - expected[1]).max() < 1e-6
    assert found.length.dtype == np.float32


def test_where_rounding_decides_scikit_learn_chooses():
    points, types, batches = cells(np.float32)
    grid = np.round(points)  # many equal distances
    pair = np.concatenate([points[:1], points[:-1]])  # two cells at one point
    for tied in (grid, pair):
        expected, found = nearest_cells(tied, K), all_pairs(tied, types, batches, K)
        assert (found.nearest == expected[0]).all()
        assert (found.length == expected[1]).all()


@BOTH
@pytest.mark.parametrize("types", [2, 5, 300])
def test_silhouettes_are_scibs(dtype, types):
    points, kinds, batches = cells(dtype, types=types)
    obs = pd.DataFrame({"cell_type": kinds, "batch": batches}).astype(str).astype("category")
    scored = ScoredEmbedding(points, AnnData(obs=obs.set_axis(obs.index.astype(str))))
    assert scored.matrix.dtype == dtype
    judged = scored.connected_cells("cell_type", "batch")
    expected = scib.metrics.silhouette(judged, "cell_type", EMBEDDING)
    assert asw_label(scored) == pytest.approx(expected, abs=1e-12)
    expected = scib.metrics.silhouette_batch(judged, "batch", "cell_type", EMBEDDING, verbose=False)
    assert asw_batch(scored) == pytest.approx(expected, abs=1e-12)
