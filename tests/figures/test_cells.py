"""The numbers behind the pictures of cells, against numpy and by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scmobench.figures import cells
from scmobench.types import NotApplicable


def named(X, prefix):
    table = AnnData(X)
    table.var_names = [f"{prefix}{k}" for k in range(table.n_vars)]
    return table


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    truth = rng.poisson(0.6, (40, 6)).astype(np.float32)
    truth[:, 2] = 1  # does not vary
    answer = (truth + rng.normal(0, 1, truth.shape)).astype(np.float32)
    answer[:, 4] = 0.5  # one value for all cells
    found = cells.correlations(named(sp.csr_matrix(truth), "g"), named(answer, "g"))
    assert list(found.index) == ["g0", "g1", "g3", "g4", "g5"]
    for place in (0, 1, 3, 5):
        expected = np.corrcoef(truth[:, place], answer[:, place])[0, 1]
        assert found.loc[f"g{place}", "r"] == pytest.approx(expected, abs=1e-9)
        assert found.loc[f"g{place}", "detected"] == np.mean(truth[:, place] != 0)
    assert found.loc["g4", "r"] == 0


def test_a_truth_without_variation_has_no_correlations():
    same = named(np.ones((10, 3), np.float32), "g")
    with pytest.raises(NotApplicable, match="no feature of the truth varies"):
        cells.correlations(same, same)


def test_extremes_are_best_first_and_of_features_that_are_found():
    r = pd.DataFrame(
        {"r": [0.9, 0.1, 0.5, -0.2, 0.99, -0.9], "detected": [0.5, 0.5, 0.5, 0.5, 0.01, 0.01]},
        index=list("abcdxy"),
    )
    assert cells.extremes(r, 2) == (["a", "c"], ["b", "d"])
    assert cells.extremes(r, 3) == (["x", "a", "c"], ["b", "d", "y"])  # too few are found often: all count
    assert cells.extremes(r.iloc[:3], 7) == (["a"], ["b"])


def test_success_by_type_by_hand():
    # mod2 row k is cell pairing_ix[k]; the partner of cell i is column argsort(pairing_ix)[i]: 1, 2, 0
    solution = AnnData(
        np.zeros((3, 3), np.float32),
        obs=pd.DataFrame({"cell_type": ["B", "T", "B"]}, index=list("abc")),
        uns={"pairing_ix": np.array([2, 0, 1])},
    )
    given = [[0.5, 0.25, 0.25], [0.0, 0.4, 0.6], [0.2, 0.8, 0.0]]
    found = cells.success(solution, AnnData(sp.csr_matrix(np.array(given))))
    assert list(found.index) == ["B", "T"]
    assert found["cells"].tolist() == [2, 1]
    # cell a: 0.25 on column 1, its type B is cells a and c, columns 1 and 0; cell c: 0.2 on column 0
    np.testing.assert_allclose(found["partner"], [(0.25 + 0.2) / 2, 0.6])
    np.testing.assert_allclose(found["type"], [(0.75 + 1.0) / 2, 0.6])


@pytest.mark.usefixtures("plain_umap")
def test_layouts_repeat_and_lie_like_the_first():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 8, (3, 5)).repeat(20, axis=0)
    embedding = AnnData((centres + rng.normal(size=(60, 5))).astype(np.float32))
    first, again = cells.layout(embedding), cells.layout(embedding)
    np.testing.assert_array_equal(first, again)
    turned = first @ np.array([[0.0, 1.0], [1.0, 0.0]])
    back = cells.layout(embedding, like=turned)
    np.testing.assert_allclose(back, turned, atol=1e-4)


def test_a_curve_is_that_of_the_log(tmp_path):
    assert cells.curve(tmp_path) is None
    log = tmp_path / "training" / "metrics.csv"
    log.parent.mkdir()
    log.write_text("epoch,loss,step,validation\n0,,5,1.5\n0,0.9,5,\n2,,9,1.25\n2,0.5,9,\n")
    before = log.with_name("metrics.before-0.csv")  # of a run that was killed and went on
    before.write_text("epoch,loss,step,validation\n0,,5,9.0\n1,,7,1.4\n")
    assert cells.curve(tmp_path).to_dict() == {0: 1.5, 1: 1.4, 2: 1.25}
    log.write_text("epoch,loss\n0,1\n")
    with pytest.raises(ValueError, match=r"columns epoch and validation at .*metrics\.csv, found"):
        cells.curve(tmp_path)
