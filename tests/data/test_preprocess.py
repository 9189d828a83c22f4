"""Normalisation, TF-IDF, LSI and SVD: values against a dense computation, and what empty cells do."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from scmobench.data.portable_log1p import log1p
from scmobench.data.preprocess import TFIDF, highly_variable, normalize, zscore_rows
from scmobench.data.reduce import LSI, SVD

EVERY = np.ones(40, bool)


@pytest.fixture
def counts() -> sp.csr_matrix:
    """40 cells x 25 features with an empty cell and an empty feature."""
    X = np.random.default_rng(0).negative_binomial(1, 0.4, (40, 25)).astype(np.float32)
    X[3] = 0
    X[:, 7] = 0
    return sp.csr_matrix(X)


def test_log_library_scales_to_the_median_of_training_cells(counts):
    train = np.arange(40) < 30
    found = normalize(counts, "GEX", train)[0].toarray()
    sizes = counts.toarray().sum(1, keepdims=True)
    median = np.median(sizes[train & (sizes[:, 0] > 0)])
    np.testing.assert_allclose(found, np.log1p(median * counts.toarray() / np.maximum(sizes, 1)), rtol=1e-5)
    with pytest.raises(ValueError, match="expected counts in at least one training cell"):
        normalize(counts, "GEX", np.arange(40) == 3)


def test_portable_log1p_is_that_of_glibc_before_2_41():
    words = np.r_[np.arange(0, 0x7F800000, 1021), 0x3ED41000:0x3ED41800]  # all around sqrt(2) - 1, too
    every = words.astype(np.int32).view(np.float32)
    found = every.copy()
    log1p(found)
    exact = np.log1p(every.astype(np.float64))
    assert (np.abs(found - exact) / np.spacing(exact.astype(np.float32))).max() < 1.3  # of a last digit
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == "9a30700c001ed37e"  # by glibc 2.36


def test_empty_cells_do_not_count_in_the_median_library():
    counts = np.array([[0, 0], [0, 0], [0, 0], [1, 1], [3, 1]])
    found, _ = normalize(counts, "GEX", np.ones(5, bool))
    np.testing.assert_allclose(found.toarray()[3], np.log1p(3 * 0.5), rtol=1e-6)


def test_clr_is_seurats_form_and_not_negative(counts):
    found = normalize(counts, "ADT", EVERY)[0].toarray()
    X = counts.toarray()
    expected = np.log1p(X / np.exp(np.log1p(X).mean(1, keepdims=True)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.min() == 0


def test_atac_is_binarised(counts):
    found = normalize(counts, "ATAC", EVERY)[0]
    assert (found.toarray() == (counts.toarray() > 0)).all()


@pytest.mark.parametrize(("kind", "name"), [("GEX", "log_library"), ("ADT", "clr"), ("ATAC", "binarize")])
def test_empty_cells_stay_zero_and_the_input_is_untouched(counts, kind, name):
    before = counts.toarray()
    result, found = normalize(counts, kind, EVERY)
    assert found == name
    assert sp.issparse(result)
    assert result.dtype == np.float32
    assert (result[3].toarray() == 0).all()
    assert np.isfinite(result.data).all()
    result.data[:] = -1
    assert (counts.toarray() == before).all()


def test_an_unknown_modality_is_named(counts):
    with pytest.raises(ValueError, match="'RNA'"):
        normalize(counts, "RNA", EVERY)


def test_tfidf_and_lsi_against_a_dense_computation(counts):
    X = counts.toarray().astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nan_to_num(X / X.sum(1, keepdims=True)) * np.nan_to_num(40 / X.sum(0), posinf=0)
    tfidf = TFIDF().fit(counts).transform(counts)
    np.testing.assert_allclose(tfidf.toarray(), expected, rtol=1e-5)

    logs = np.log1p(1e4 * expected / np.maximum(expected.sum(1, keepdims=True), 1e-30))
    left, values, _ = np.linalg.svd(logs, full_matrices=False)
    with pytest.raises(ValueError, match="values >= 0 for an LSI, the lowest found is -1"):
        LSI(5).fit(-counts.sign())
    found = LSI(5, seed=1).fit(counts).transform(counts)
    assert found.shape == (40, 5)
    np.testing.assert_allclose(np.abs(found), np.abs(left * values)[:, 1:6], atol=0.02 * values[1])
    with_first = LSI(6, drop_first=False, seed=1).fit(counts).transform(counts)
    np.testing.assert_allclose(with_first[:, 1:], found, atol=1e-3)


def test_a_feature_without_training_counts_weighs_nothing_in_new_cells():
    tfidf = TFIDF().fit(np.array([[1.0, 0.0, 2.0], [2.0, 0.0, 1.0]]))
    found = tfidf.transform(np.array([[1.0, 1.0, 2.0]])).toarray()
    np.testing.assert_allclose(found, [[2 / 3 / 4, 0, 2 * 2 / 3 / 4]], rtol=1e-6)


def test_lsi_of_new_cells_uses_training_weights(counts):
    lsi = LSI(4).fit(counts[:30])
    both = lsi.transform(counts)
    np.testing.assert_array_equal(both[30:], lsi.transform(counts[30:]))


def test_svd_clips_its_width_and_repeats(counts):
    svd = SVD(100, seed=3)
    scores = svd.fit_transform(counts)
    assert scores.shape == (40, 24)
    np.testing.assert_allclose(svd.inverse_transform(scores), counts.toarray(), atol=1e-3)
    assert scores.tobytes() == SVD(100, seed=3).fit_transform(counts).tobytes()
    with pytest.raises(ValueError, match="at least 2"):
        SVD(5).fit(counts[:1])


def test_zscore_rows_keeps_constant_rows_at_zero():
    X = np.vstack([np.random.default_rng(0).normal(3, 2, (5, 8)), np.full((1, 8), 0.1), np.zeros((1, 8))])
    found = zscore_rows(X)
    np.testing.assert_allclose(found[:5].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(found[:5].std(1), 1, rtol=1e-5)
    assert (found[5:] == 0).all()
    np.testing.assert_allclose(zscore_rows(X, ddof=1)[:5].std(1, ddof=1), 1, rtol=1e-5)


@pytest.mark.parametrize("method", ["variance", "seurat_v3"])
def test_highly_variable_finds_planted_features(method):
    rng = np.random.default_rng(0)
    X = rng.poisson(3, (200, 300)).astype(np.float32)
    planted = [5, 20, 41]
    X[:, planted] = 15 * (rng.random((200, 3)) < 0.2)
    assert highly_variable(sp.csr_matrix(X), 3, method).tolist() == planted
    assert len(highly_variable(sp.csr_matrix(X), 400, method)) == 300


SINGLE_CELLS = """
import numpy as np, scipy.sparse as sp
from scmobench.data.preprocess import highly_variable
rng = np.random.default_rng(0)
shares = np.minimum(rng.gamma(0.5, 0.04, 5000), 0.95)
highly_variable(sp.csr_matrix(rng.random((60, 5000)) < shares, dtype=np.float32), 4000, "seurat_v3")
"""


def test_features_found_in_single_cells_have_no_trend_and_are_refused():
    # in a process of its own: the Fortran of the local regression leaves its memory in no good order
    done = subprocess.run([sys.executable, "-c", SINGLE_CELLS], capture_output=True, text=True)
    assert "NoTrendError: expected features whose variance follows their mean" in done.stderr
    assert "leave out those found in few cells" in done.stderr
