"""Principal components against scikit-learn's."""

import platform

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA

from scmobench.metrics.components import principal_components

EXACT = platform.machine() == "x86_64"  # elsewhere compilers join products and sums as they like


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(203, 90), (90, 203)])
def test_components_are_scikit_learns_to_the_last_digit(shape, dtype):
    rng = np.random.default_rng(0)
    filled = rng.random(shape) < rng.random((shape[0], 1)) * 0.4  # rows of unequal length
    matrix = sp.csr_matrix(np.where(filled, rng.exponential(size=shape), 0), dtype=dtype)
    pca = PCA(20, svd_solver="arpack", random_state=np.random.RandomState(0))
    expected = np.abs(pca.fit_transform(matrix).astype(np.float32))
    found, variances = principal_components(matrix, 20)
    if EXACT:
        assert (np.abs(found) == expected).all()
        assert (variances == pca.explained_variance_).all()
    np.testing.assert_allclose(variances, pca.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(np.abs(found), expected, atol=1e-2)
