"""Joint-embedding metrics against independent computations, and where they do not apply."""

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scib
from anndata import AnnData
from scipy.sparse.csgraph import connected_components
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import normalized_mutual_info_score, pairwise_distances
from sklearn.neighbors import kneighbors_graph

from planted import overlapping
from scmobench.metrics.asw import asw_batch, asw_label
from scmobench.metrics.cell_cycle import cc_cons
from scmobench.metrics.graph_conn import graph_conn
from scmobench.metrics.neighbors import ScoredEmbedding
from scmobench.metrics.nmi import nmi, nmi_leiden
from scmobench.metrics.trajectory import ti_cons_batch_mean
from scmobench.types import PROTOCOL, NotApplicable, Score

SIX = [nmi, asw_label, asw_batch, graph_conn, cc_cons, ti_cons_batch_mean]


def cells(n: int = 240, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, AnnData]:
    """Cells of four types in two batches, both drawn at random."""
    rng = np.random.default_rng(seed)
    kind, batch = rng.integers(4, size=n), rng.integers(2, size=n)
    return overlapping(kind, batch, rng, spread)


def value(metric, embedding: np.ndarray, solution: AnnData) -> float:
    """The number, whether the metric gives it alone or with a note."""
    return number(metric(ScoredEmbedding(embedding, solution)))


def number(score: Score | float) -> float:
    return score.value if isinstance(score, Score) else score


def silhouettes(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(b - a) / max(a, b) of each cell by its definition."""
    widths = []
    for i, own in enumerate(labels):
        same = (labels == own) & (np.arange(len(labels)) != i)
        if not same.any():
            widths.append(0.0)
            continue
        a = distances[i, same].mean()
        b = min(distances[i, labels == other].mean() for other in set(labels) - {own})
        widths.append((b - a) / max(a, b))
    return np.array(widths)


def test_asw_label_equals_its_definition():
    embedding, solution = cells()
    widths = silhouettes(pairwise_distances(embedding), solution.obs["cell_type"].to_numpy(str))
    assert value(asw_label, embedding, solution) == pytest.approx((widths.mean() + 1) / 2, abs=1e-6)


def test_asw_batch_equals_its_definition():
    embedding, solution = cells()
    types, batches = (solution.obs[c].to_numpy(str) for c in ("cell_type", "batch"))
    means = []
    for kind in np.unique(types):
        inside = types == kind
        widths = silhouettes(pairwise_distances(embedding[inside]), batches[inside])
        means.append((1 - np.abs(widths)).mean())
    assert value(asw_batch, embedding, solution) == pytest.approx(np.mean(means), abs=1e-6)


def test_graph_connectivity_equals_components_of_a_plain_graph():
    embedding, solution = cells(spread=2.0)
    graph = kneighbors_graph(embedding.astype(float), 14)
    graph = graph + graph.T
    types = solution.obs["cell_type"].to_numpy(str)
    shares = []
    for kind in np.unique(types):
        inside = np.flatnonzero(types == kind)
        _, part = connected_components(graph[inside][:, inside], directed=False)
        shares.append(np.bincount(part).max() / len(inside))
    assert min(shares) < 1
    assert value(graph_conn, embedding, solution) == pytest.approx(np.mean(shares), abs=1e-12)


def test_cell_cycle_conservation_equals_regression_on_components():
    embedding, solution = cells()

    def explained(matrix: np.ndarray, scores: pd.DataFrame) -> float:
        pca = PCA(min(50, *matrix.shape), svd_solver="full").fit(matrix)
        components = pca.transform(matrix)
        fit = LinearRegression().fit(scores, components).predict(scores)
        r2 = 1 - ((components - fit) ** 2).sum(0) / ((components - components.mean(0)) ** 2).sum(0)
        return (np.maximum(r2, 0) * pca.explained_variance_).sum() / pca.explained_variance_.sum()

    kept = []
    for batch in ("b0", "b1"):
        inside = (solution.obs["batch"] == batch).to_numpy()
        scores = solution.obs.loc[inside, ["S_score", "G2M_score"]]
        before = explained(solution.X[inside].toarray().astype(float), scores)
        after = explained(embedding[inside].astype(float), scores)
        kept.append(max(0, 1 - abs(after - before) / before))
    score = cc_cons(ScoredEmbedding(embedding, solution))
    assert score.value == pytest.approx(np.mean(kept), abs=1e-4)
    assert score.reason == "S and G2M scores of the dataset"


def test_trajectory_follows_the_reference_order():
    rng = np.random.default_rng(0)
    _, solution = cells(300)
    along = np.sort(rng.random(300))
    solution.obs["pseudotime_order_GEX"] = along
    solution.obs["pseudotime_order_ATAC"] = along
    solution.obs["cell_type"] = pd.Categorical([f"t{int(4 * a)}" for a in along])
    line = along[:, None] * 3 + rng.normal(scale=0.3, size=(300, 5))
    assert value(ti_cons_batch_mean, line, solution) > 0.9
    assert value(ti_cons_batch_mean, -line, solution) > 0.9  # only the order counts
    shuffled = rng.permutation(300)
    expected = (spearmanr(along, along[shuffled])[0] + 1) / 2
    assert value(ti_cons_batch_mean, line[shuffled], solution) == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_trajectory_is_scibs_also_of_some_cells_and_several_parts(seed):
    embedding, solution = cells(seed=seed)
    rng = np.random.default_rng(seed)
    embedding[rng.choice(240, 30)] += 100
    solution.obs["pseudotime_order_GEX"] *= [-1, 1][seed % 2]
    solution.obs.loc[rng.random(240) < 0.3, "pseudotime_order_ATAC"] = np.nan
    scored, expected = ScoredEmbedding(embedding, solution), []
    for name in ("pseudotime_order_GEX", "pseudotime_order_ATAC"):
        after = scored.connected_cells("batch", "cell_type")
        before = AnnData(obs=after.obs.assign(**{name: solution.obs[name]}))
        expected.append(scib.metrics.trajectory_conservation(before, after, "cell_type", name, "batch"))
    assert ti_cons_batch_mean(scored).value == pytest.approx(np.mean(expected), abs=1e-12)


def test_trajectory_uses_both_references():
    embedding, solution = cells()
    both = value(ti_cons_batch_mean, embedding, solution)
    solution.obs["pseudotime_order_ADT"] = solution.obs.pop("pseudotime_order_ATAC")
    assert value(ti_cons_batch_mean, embedding, solution) == pytest.approx(both)
    first = solution.copy()
    first.obs["pseudotime_order_ADT"] = first.obs["pseudotime_order_GEX"]
    second = solution.copy()
    second.obs["pseudotime_order_GEX"] = second.obs["pseudotime_order_ADT"]
    alone = [value(ti_cons_batch_mean, embedding, s) for s in (first, second)]
    assert alone[0] != alone[1]
    assert both == pytest.approx(np.mean(alone))


def test_a_root_that_is_missing_for_one_reference_counts_as_half_a_0_in_the_competition():
    embedding, solution = cells()
    apart = solution.obs["cell_type"].to_numpy() == "t0"  # the start of one order is not in the largest part
    moved = embedding + 1000 * apart[:, None]
    solution.obs["pseudotime_order_ATAC"] *= -1
    with pytest.raises(NotApplicable, match="No root cell found"):
        value(ti_cons_batch_mean, moved, solution)
    solution.uns["protocol"] = PROTOCOL
    score = ti_cons_batch_mean(ScoredEmbedding(moved, solution))
    assert 0 < score.value <= 0.5
    assert score.reason.startswith("no root cell is found by pseudotime_order_GEX (240 of 240")
    assert "ATAC" not in score.reason
    solution.obs["pseudotime_order_GEX"] *= -1
    assert ti_cons_batch_mean(ScoredEmbedding(moved, solution)).reason == ""
    solution.uns["protocol"] = "another"
    assert value(ti_cons_batch_mean, moved, solution) > score.value


def test_a_trajectory_that_rounding_decides_is_not_applicable():
    """Another processor's score would differ."""
    embedding, solution = cells()
    types = np.eye(4, dtype=np.float32)[solution.obs["cell_type"].cat.codes]
    with pytest.raises(NotApplicable, match=r"240 of 240 cells .* at points of more than 15 cells"):
        value(ti_cons_batch_mean, types, solution)
    few = np.where(np.arange(240)[:, None] < 16, types, embedding[:, :4])
    assert ti_cons_batch_mean(ScoredEmbedding(few, solution)).value > 0.5, "no point has more than 15 cells"
    angle = 2 * np.pi * np.arange(240) / 240  # each axis of a ring's diffusion map may be rotated
    ring = np.c_[np.cos(angle), np.sin(angle)]
    with pytest.raises(NotApplicable, match="equal eigenvalues"):
        value(ti_cons_batch_mean, ring, solution)


def test_clusters_equal_to_types_are_a_perfect_nmi():
    _, solution = cells(300)
    codes = solution.obs["cell_type"].cat.codes.to_numpy()
    apart = np.random.default_rng(0).normal(size=(300, 3)) * 0.1 + codes[:, None] * 50.0
    assert value(nmi, apart, solution) == pytest.approx(1)
    assert value(nmi_leiden, apart, solution) == pytest.approx(1)
    assert value(graph_conn, apart, solution) == pytest.approx(1)
    assert value(asw_label, apart, solution) > 0.98


@pytest.mark.parametrize("seed", range(4))
def test_numbers_for_names_change_no_digit_of_an_nmi(seed):
    scored = ScoredEmbedding(*cells(300, seed, spread=3.0))
    placed, values = scored.connected_cells("cell_type"), []
    types = placed.obs["cell_type"].to_numpy(str)
    for step in range(1, 21):
        sc.tl.leiden(placed, step / 10, flavor="igraph", n_iterations=2, directed=False, random_state=0)
        values.append(normalized_mutual_info_score(types, placed.obs["leiden"].to_numpy(str)))
    assert nmi_leiden(scored) == max(values)


def test_permuting_cells_changes_nothing_but_noise_of_clustering():
    embedding, solution = cells(500)
    order = np.random.default_rng(3).permutation(500)
    usual = ScoredEmbedding(embedding, solution)
    moved = ScoredEmbedding(embedding[order], solution[order].copy())
    for metric in (*SIX, nmi_leiden):
        noise = 0.03 if metric in (nmi, nmi_leiden) else 1e-5
        assert number(metric(moved)) == pytest.approx(number(metric(usual)), abs=noise), metric


def test_same_input_gives_the_same_number_between_zero_and_one():
    embedding, solution = cells()
    for given in (embedding, *(np.random.default_rng(0).normal(size=(240, width)) for width in (1, 20))):
        one, two = (ScoredEmbedding(given, solution) for _ in range(2))
        for metric in (*SIX, nmi_leiden):
            assert 0 <= number(metric(one)) == number(metric(two)) <= 1, metric


def test_cell_cycle_is_recomputed_from_the_organisms_genes():
    embedding, solution = cells()
    names = ["MCM5", "PCNA", "TYMS", "FEN1", "HMGB2", "CDK1", "NUSAP1", "UBE2C"]
    solution.var_names = names + [f"gene{i}" for i in range(72)]
    given = value(cc_cons, embedding, solution)
    solution.obs = solution.obs.drop(columns=["S_score", "G2M_score"])
    score = cc_cons(ScoredEmbedding(embedding, solution))
    assert score.reason == "S and G2M scores recomputed from 4 G2/M and 4 S genes"
    assert score.value != given
    for organism, reason in (("", "uns"), ("zebra", "organism 'zebra' not supported")):
        solution.uns["organism"] = organism
        with pytest.raises(NotApplicable, match=reason):
            value(cc_cons, embedding, solution)


@pytest.mark.parametrize(("size", "place"), [(1e-30, 0), (1e-300, 0), (1, 1e8), (1e-9, 1)])
def test_neither_place_nor_size_of_an_embedding_changes_a_score(size, place):
    embedding, solution = cells()
    moved = embedding.astype(np.float64) * size + place
    for metric in (asw_label, asw_batch, cc_cons, ti_cons_batch_mean, nmi):
        assert value(metric, moved, solution) == pytest.approx(value(metric, embedding, solution), rel=1e-5)


@pytest.mark.parametrize(("size", "place"), [(1e-300, 0), (1e300, 0), (1e-9, 0), (1, 1e5), (1e17, 0)])
def test_neither_place_nor_size_of_cell_cycle_scores_changes_what_they_explain(size, place):
    embedding, solution = cells()
    right = value(cc_cons, embedding, solution)
    solution.obs["S_score"] = solution.obs["S_score"] * size + place
    assert value(cc_cons, embedding, solution) == pytest.approx(right, rel=1e-9)


def test_a_constant_cell_cycle_score_explains_nothing_whatever_its_size():
    embedding, solution = cells()
    found = [
        value(cc_cons, embedding, AnnData(solution.X, solution.obs.assign(S_score=constant)))
        for constant in (0.1, 1e9)
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-9)


def test_only_scored_cells_count():
    embedding, solution = cells()
    rng = np.random.default_rng(0)
    keep = rng.random(240) < 0.7
    solution.obs["is_scored"] = keep
    disturbed = embedding.copy()
    disturbed[~keep] = 100 * rng.normal(size=((~keep).sum(), 5))
    for metric in SIX:
        alone = value(metric, embedding[keep], solution[keep].copy())
        assert value(metric, disturbed, solution) == pytest.approx(alone, abs=1e-6)


def test_no_scored_cell_is_explained():
    embedding, solution = cells()
    solution.obs["is_scored"] = False
    with pytest.raises(ValueError, match="is_scored"):
        ScoredEmbedding(embedding, solution)


def test_solution_is_left_alone():
    embedding, solution = cells()
    before = solution.copy()
    scored = ScoredEmbedding(embedding, solution)
    for metric in SIX:
        metric(scored)
    pd.testing.assert_frame_equal(solution.obs, before.obs)
    assert (solution.X != before.X).nnz == 0
    assert not solution.obsp


def test_silhouettes_of_cells_at_one_point_are_no_rounding_errors():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({c: pd.Categorical(rng.choice(list("xyz"), 300)) for c in ("batch", "cell_type")})
    solution = AnnData(np.zeros((300, 3), np.float32), obs=obs.set_axis(obs.index.astype(str)))
    for seed in range(12):  # where scikit-learn's distances of equal cells are not 0 depends on the values
        point = np.random.default_rng(seed).normal(size=(1, 20)).astype(np.float32) * 3
        assert value(asw_batch, np.repeat(point, 300, axis=0), solution) == 1
        assert value(asw_label, np.repeat(point, 300, axis=0), solution) == 0.5
