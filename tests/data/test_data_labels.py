"""Labels in every form that files store them in: one form comes out, or a line says what is wrong."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scmobench.data.check import check
from scmobench.data.labels import NUMBERS, tidy_labels
from scmobench.experiment.evaluate import evaluate, scorer_inputs

NOTHING = [np.nan, None, pd.NA, pd.NaT, "nan", "NaN", "NA", "<NA>", "N/A", "n/a", "None", "null", "", "  "]
NOTHING += [b"", "#NA", "#N/A N/A", "1.#QNAN", "-1.#IND", "N.A.", -(2**31)]  # the last is R's missing integer
VALUES = [0.25, -1.5, 3.0, 0.1]
NUMBER_FORMS = {
    "float64": lambda v: np.array(v),
    "float32": lambda v: np.array(v, np.float32).astype(float).round(7).astype(np.float32),
    "big-endian": lambda v: np.array(v).astype(">f8"),
    "text": lambda v: [str(x) for x in v],
    "text with blanks": lambda v: [f" {x} " for x in v],
    "bytes": lambda v: [str(x).encode() for x in v],
    "pandas text": lambda v: pd.array([str(x) for x in v], dtype="string"),
    "objects": lambda v: np.array(v, dtype=object),
    "nullable": lambda v: pd.array(v, dtype="Float64"),
    "categories": lambda v: pd.Categorical(v),
    "categories of text": lambda v: pd.Categorical(map(str, v), categories=[*{*map(str, v)}, "unused"]),
}


def tidy(column: str, values: object) -> pd.Series:
    obs = pd.DataFrame({column: pd.Series(values)})
    return tidy_labels("mine", obs.set_axis([f"c{i}" for i in range(len(obs))]))[column]


@pytest.mark.parametrize("form", NUMBER_FORMS)
@pytest.mark.parametrize("column", NUMBERS)
def test_numbers_in_any_form_are_the_same_floats(column, form):
    found = tidy(column, NUMBER_FORMS[form](VALUES))
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(VALUES, abs=1e-8 if form == "float32" else 0)


@pytest.mark.parametrize(
    "values", [[1, 0, 2], np.array([1, 0, 2], ">i4"), pd.array([1, 0, 2], "Int64"), ["1", "0", "2"]]
)
def test_whole_numbers_are_numbers_too(values):
    assert tidy("S_score", values).tolist() == [1.0, 0.0, 2.0]
    assert tidy("cell_type", values).tolist() == ["1", "0", "2"]
    assert tidy("S_score", np.array([0.5, 2, -1], np.float16)).tolist() == [0.5, 2.0, -1.0]
    assert tidy("S_score", [True, False]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_missing_is_missing_in_every_column(nothing):
    assert tidy("S_score", pd.Series([0.5, nothing, 2], dtype=object)).isna().tolist() == [False, True, False]
    for column in ("batch", "cell_type", "phase"):
        values = pd.Series(["A", nothing, "B"], dtype=object)
        for form in (values, values.astype("category")):
            found = tidy(column, form)
            assert found.isna().tolist() == [False, True, False]
            assert found.cat.categories.tolist() == ["A", "B"]
    with pytest.raises(ValueError, match=r"mine: 1 cells have no is_scored, e.g. c1"):
        tidy("is_scored", pd.Series([True, nothing, False], dtype=object))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 10], ["0", "1", "10"]),
        ([0.0, 1.0, np.nan], ["0", "1", None]),
        (pd.array([0, 1, None], dtype="Int64"), ["0", "1", None]),
        (pd.Categorical([2, 1, 2]), ["2", "1", "2"]),
        ([1, "1", 1.0], ["1", "1", "1"]),
        (pd.Categorical([1, "1", "2"]), ["1", "1", "2"]),
        ([True, False, True], ["True", "False", "True"]),
        (pd.array([True, False, None], dtype="boolean"), ["True", "False", None]),
        ([b"T", b"B", b"NA"], ["T", "B", None]),
        ([0.5, 1.25, 2.0], ["0.5", "1.25", "2"]),
        (pd.array(["T", "B", None], dtype="string"), ["T", "B", None]),
        (["CD4 T", " CD4 T", "unknown"], ["CD4 T", " CD4 T", "unknown"]),
        ([b"caf\xe9", b"caf\xe8"], ["caf\\xe9", "caf\\xe8"]),
    ],
)
@pytest.mark.parametrize("column", ["batch", "cell_type", "phase"])
def test_names_are_text_whatever_they_were(column, values, expected):
    found = tidy(column, values)
    assert isinstance(found.dtype, pd.CategoricalDtype)
    assert [None if pd.isna(v) else v for v in found] == expected
    assert all(type(name) is str for name in found.cat.categories)


def test_types_keep_the_order_of_their_categories_and_lose_unused_ones():
    values = pd.Categorical(["b", "a", "b"], categories=["unused", "b", "a"])
    assert tidy("cell_type", values).cat.categories.tolist() == ["b", "a"]
    assert tidy("batch", values).cat.categories.tolist() == ["a", "b"]


FLAG_FORMS = [[True, False], [1, 0], [1.0, 0.0], ["True", "False"], ["TRUE", " false"], ["1", "0"]]
FLAG_FORMS += [
    ["1.0", "0.0"],
    [b"true", b"false"],
    *map(pd.Categorical, ([True, False], ["True", "False"], [1, 0])),
]
FLAG_FORMS += [pd.array([True, False], dtype="boolean"), pd.array([1, 0], dtype="Int8")]


@pytest.mark.parametrize("values", FLAG_FORMS)
@pytest.mark.parametrize("column", ["is_train", "is_scored"])
def test_flags_are_bools_whatever_they_were(column, values):
    found = tidy(column, values)
    assert found.dtype == bool
    assert found.tolist() == [True, False]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("S_score", ["0.1", "high"], "expected S_score to be finite numbers or missing, found high; "),
        ("S_score", ["0.1", "0,2"], "found 0,2;"),
        ("S_score", ["0.1", "1_000"], "found 1_000;"),
        ("S_score", [0.1, np.inf], "found inf;"),
        ("G2M_score", pd.Categorical(["0.1", "-inf"]), "found -inf;"),
        ("S_score", ["0.1", "1e999"], "found 1e999;"),
        ("pseudotime_order_GEX", [0.1 + 0j, 1j], "found .*0.1"),
        ("pseudotime_order_GEX", np.array([0.1 + 0j, 1], np.complex64), "found "),
        ("pseudotime_order_ADT", pd.Series([0.1, 2 + 0j], dtype=object), r"found \(2\+0j\)"),
        ("pseudotime_order_ADT", pd.Series([0.1, np.complex64(2)], dtype=object), r"found \(2\+0j\)"),
        ("pseudotime_order_ATAC", pd.to_datetime(["2021-01-01", "2021-01-02"]), "found 2021"),
        ("cell_type", [1j, 2j], "expected cell_type to be names, found 1j, 2j"),
        ("is_scored", [0, 2], "expected is_scored to be true or false for every cell, found 2;"),
        ("is_scored", ["train", "test"], "found test, train;"),
        ("is_train", [0.5, 1], "found 0.5;"),
        ("is_train", [1j, 0j], "found 1j"),
        ("is_scored", [False, False], "expected cells with is_scored, found none"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(column, values, message):
    with pytest.raises(ValueError, match=f"mine: .*{message}"):
        tidy(column, values)


def test_input_and_other_columns_are_left_alone():
    obs = pd.DataFrame({"S_score": ["0.5", "NA"], "donor": ["NA", "d"]}, index=["a", "b"])
    before = obs.copy()
    assert tidy_labels("mine", obs)["donor"].tolist() == ["NA", "d"]
    pd.testing.assert_frame_equal(obs, before)
    assert tidy_labels("mine", tidy_labels("mine", obs)).equals(tidy_labels("mine", obs))


def test_the_hash_of_a_dataset_does_not_depend_on_the_form(tiny_paired):
    numbers = [c for c in NUMBERS if c in tiny_paired.obs]
    assert len(numbers) == 4
    for form in set(NUMBER_FORMS) - {"float32"}:
        changed = {c: NUMBER_FORMS[form](tiny_paired.obs[c].tolist()) for c in numbers}
        changed |= {"is_train": tiny_paired.obs["is_train"].astype("boolean")}
        changed |= {"is_scored": tiny_paired.obs["is_scored"].astype(int).astype("category")}
        again = check(replace(tiny_paired, obs=tiny_paired.obs.assign(**changed)))
        assert again.hash == tiny_paired.hash
        pd.testing.assert_frame_equal(again.obs, tiny_paired.obs)


def test_a_dataset_with_types_or_batches_missing_in_words_is_refused(tiny_paired):
    first = tiny_paired.obs.index[0]
    for column, advice in (("batch", ""), ("cell_type", ", or go without: dataset.cell_type=null")):
        obs = tiny_paired.obs.copy()
        obs[column] = ["nan", *obs[column][1:]]
        told = f"tiny_cite: 1 cells have no {column}, e.g. {first}; .* leave these cells out{advice}$"
        with pytest.raises(ValueError, match=told):
            check(replace(tiny_paired, obs=obs))


def solution(n: int = 60) -> tuple[AnnData, AnnData]:
    """A small embedding and its solution."""
    rng = np.random.default_rng(0)
    kind = np.arange(n) % 3
    obs = pd.DataFrame(
        {
            "batch": np.arange(n) // 3 % 2,
            "cell_type": kind,
            "is_scored": np.arange(n) < n - 6,
            "S_score": rng.normal(size=n),
            "G2M_score": rng.normal(size=n),
            "pseudotime_order_GEX": np.where(kind == 2, np.nan, rng.random(n)),
            "pseudotime_order_ADT": rng.random(n),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    gex = AnnData(rng.random((n, 30)).astype(np.float32), obs=obs)
    return AnnData(rng.normal(size=(n, 4)) + kind[:, None], obs=obs[[]]), gex


def test_a_foreign_solution_scores_the_same_in_every_form(tmp_path):
    prediction, plain = solution()
    scores = evaluate("joint_embedding", prediction, plain)
    assert scores["mean"].reason == ""
    forms = {
        "batch": lambda v: v.astype("category"),
        "cell_type": lambda v: v.astype(float),
        "is_scored": lambda v: v.astype(str).astype("category"),
        "pseudotime_order_GEX": lambda v: v.map(repr).astype("category"),
        "pseudotime_order_ADT": lambda v: v.astype(str),
        "S_score": lambda v: v.astype(str).astype("category"),
        "G2M_score": lambda v: v.astype("category"),
    }
    other = plain.copy()
    for column, form in forms.items():
        other.obs[column] = form(plain.obs[column])
    other.obs["is_train"] = "whatever"
    other.write_h5ad(tmp_path / "solution.h5ad")
    assert evaluate("joint_embedding", prediction, ad.read_h5ad(tmp_path / "solution.h5ad")) == scores
    scored = scorer_inputs("joint_embedding", prediction, other)[0]
    assert scored.n_cells == 54


def test_a_foreign_solution_that_cannot_be_read_is_refused():
    prediction, other = solution()
    for column, value in (("S_score", "high"), ("is_scored", "maybe"), ("pseudotime_order_ADT", 1j)):
        wrong = other.copy()
        wrong.obs[column] = value
        with pytest.raises(ValueError, match=f"the solution: expected {column} to be"):
            evaluate("joint_embedding", prediction, wrong)


def test_types_of_a_matching_are_read_in_every_form():
    n = 20
    pairing = np.random.default_rng(0).permutation(n)
    plain = AnnData(np.eye(n)[np.argsort(pairing)], uns={"pairing_ix": pairing})
    weights = AnnData(np.random.default_rng(1).random((n, n)))
    values = []
    for types in (np.arange(n) % 3, [str(k % 3) for k in range(n)], pd.Categorical(np.arange(n) % 3 * 1.0)):
        plain.obs["cell_type"] = types
        values.append(evaluate("match_modality", weights, plain)["cell_type_match"].value)
    assert values[0] == values[1] == values[2]
    assert values[0] is not None
    plain.obs["cell_type"] = ["N/A", *["T", "B"] * 9, "T"]
    assert evaluate("match_modality", weights, plain)["cell_type_match"].reason == "1 cells have no cell_type"
