"""The truncated SVD against scikit-learn's, and its products against SciPy's: the same bits."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD

from scmobench.data import reduce
from scmobench.data.reduce import SVD, product


def counts(cells: int, features: int, filled: float = 0.2) -> sp.csr_matrix:
    matrix = sp.random(cells, features, filled, format="csr", dtype=np.float32, random_state=0)
    matrix.data = np.ceil(9 * matrix.data)
    return matrix


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize(("shape", "width"), [((400, 9), 1), ((1, 700), 300), ((300, 2000), 70)])
def test_a_product_has_the_bits_of_scipy(monkeypatch, shape, width, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(reduce, "SMALL", 0)
    monkeypatch.setattr(reduce, "TILE", 1 << 12)  # several tiles
    matrix = counts(*shape)
    dense = np.random.default_rng(0).standard_normal((shape[1], width)).astype(np.float32)
    assert np.array_equal(product(matrix, dense), matrix @ dense)
    by_row = np.asfortranarray(dense)
    assert np.array_equal(product(matrix, by_row), matrix @ dense)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    assert np.array_equal(product(matrix, dense), matrix @ dense)


def test_a_product_reads_what_cannot_be_written():
    matrix, dense = counts(50, 40), np.ones((40, 3), dtype=np.float32)
    for array in (matrix.data, matrix.indices, matrix.indptr, dense):
        array.setflags(write=False)
    assert np.array_equal(product(matrix, dense), matrix @ dense)


def test_a_product_takes_entries_in_any_order():
    matrix = counts(50, 40)
    dense = np.eye(40, dtype=np.float32)
    backwards = sp.csr_matrix((matrix.data[::-1], matrix.indices[::-1], matrix.indptr), shape=(50, 40))
    backwards.indptr = (matrix.nnz - matrix.indptr[::-1]).copy()
    assert np.array_equal(product(backwards, dense), backwards.toarray())


@pytest.mark.parametrize(
    ("shape", "components"), [((300, 120), 20), ((90, 400), 16), ((60, 8), 7), ((2, 2), 1), ((8, 60), 50)]
)
def test_the_svd_has_the_bits_of_scikit_learn(shape, components):
    matrix = counts(*shape, filled=0.4)
    ours, width = SVD(components, seed=3), min(components, min(shape) - 1)
    scores = ours.fit_transform(matrix)
    theirs = TruncatedSVD(width, random_state=3).fit(matrix)
    assert np.array_equal(ours.components_, theirs.components_)
    assert np.array_equal(scores, theirs.transform(matrix))
