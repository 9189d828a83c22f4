"""The weighted kNN graph against scanpy's."""

import numpy as np
import pytest
from anndata import AnnData

from scmobench.metrics.connectivity import connectivities
from scmobench.metrics.distances import nearest_cells


@pytest.mark.usefixtures("plain_umap")
def test_connectivities_equal_scanpys():
    import scanpy as sc

    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(240, 5)).astype(np.float32)
    embedding[rng.random(240) < 0.2] = embedding[7]  # more equal cells than neighbours
    reference = AnnData(obsm={"X_emb": embedding})
    sc.pp.neighbors(reference, n_neighbors=15, use_rep="X_emb", transformer="sklearn")
    ours = connectivities(*nearest_cells(embedding, 15))
    assert np.abs(ours - reference.obsp["connectivities"]).max() < 1e-5
    assert np.abs(ours - ours.T).max() == 0


def test_row_strengths_sum_to_log2_of_the_neighbours():
    embedding = np.random.default_rng(0).normal(size=(60, 5))
    indices, distances = nearest_cells(embedding + 1e4, 15)  # far away: rounding shows
    assert np.array_equal(indices[:, 0], np.arange(60))
    assert not distances[:, 0].any()
    union = connectivities(indices, distances).toarray()
    # The union of both directions holds at least what each row holds on its own.
    assert (union.sum(axis=1) > np.log2(15) - 1e-3).all()
    assert union.max() <= 1 + 1e-6
