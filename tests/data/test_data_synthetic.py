"""Simulated cells hold what they promise: seeds, sizes, batches, a trajectory, links between modalities."""

import time

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge

from scmobench.data import simulated_counts
from scmobench.data.simulated_counts import gene_counts, in_chunks
from scmobench.data.simulation import Cells, cycle_genes
from scmobench.data.synthetic import Synthetic
from scmobench.experiment.config import build, compose


@pytest.fixture(scope="module")
def cite():
    return build(compose(["dataset=synthetic_cite"]).dataset).load()


@pytest.fixture(scope="module")
def multiome():
    return build(compose(["dataset=synthetic_multiome"]).dataset).load()


def log_normalised(modality) -> np.ndarray:
    X = modality.X.toarray().astype(float)
    return np.log1p(X / X.sum(1, keepdims=True) * np.median(X.sum(1)))


def test_same_seed_same_bytes_other_seed_other_cells(tiny_paired):
    def tiny(seed: int):
        sizes = {"n_cells": 150, "n_genes": 120, "n_mod2": 20, "n_cell_types": 4}
        return Synthetic(name="t", seed=seed, test_batches=["batch3"], empty_features="drop", **sizes).load()

    assert tiny(0).hash == tiny(0).hash == tiny_paired.hash
    assert tiny(1).hash != tiny_paired.hash


def test_genes_do_not_depend_on_the_number_of_proteins():
    few, many = (Synthetic(name="t", n_cells=100, n_genes=60, n_mod2=n).read() for n in (10, 20))
    assert (few.mod1.X != many.mod1.X).nnz == 0


def test_counts_are_the_same_on_any_number_of_cores(monkeypatch):
    monkeypatch.setattr(simulated_counts, "FIRST", 40)  # entries: 10 cells of 4 features
    monkeypatch.setattr(simulated_counts, "CHUNK", 16)

    def drawn(workers: int) -> np.ndarray:
        def draw(rows: slice, rng: np.random.Generator) -> np.ndarray:
            return rng.poisson(1.0, (len(range(101)[rows]), 4))

        return in_chunks(101, 4, draw, np.random.default_rng(0), workers).toarray()

    counts = drawn(1)
    assert (counts == drawn(3)).all()
    assert counts.shape == (101, 4)
    whole = np.random.default_rng(0).poisson(1.0, (40, 4))
    assert (counts[:40] == whole).all()  # the first chunks share one stream
    later = counts[40:100].reshape(-1, 4 * 4)
    assert len(np.unique(later, axis=0)) == len(later)  # the later ones have streams of their own
    assert 0.8 < later.mean() < 1.2


def test_fewer_fragments_fill_fewer_peaks():
    few, many = (
        Synthetic(name="t", mod2="atac", n_cells=100, n_genes=60, n_mod2=400, fragments=rate).read().mod2.X
        for rate in (0.03, 0.12)
    )
    assert 0.2 < few.nnz / many.nnz < 0.5


def test_tiny_sets_load_fast():
    source = build(compose(["dataset=tiny_multiome"]).dataset)
    source.load()
    start = time.process_time()
    source.load()
    assert time.process_time() - start < 0.3


def test_annotation_is_complete(cite, multiome):
    for paired, kind in ((cite, "ADT"), (multiome, "ATAC")):
        assert paired.pair == ("GEX", kind)
        assert paired.obs["batch"].nunique() == 3
        assert paired.obs["cell_type"].nunique() == 8
        assert set(paired.obs["phase"]) == {"G1", "S", "G2M"}
        order = paired.obs[["pseudotime_order_GEX", f"pseudotime_order_{kind}"]]
        on_path = paired.obs["cell_type"].astype(str).str.startswith("A")
        assert (order.notna().all(axis=1) == on_path).all()
        assert spearmanr(order[on_path]).statistic > 0.95
        assert set(paired.obs.loc[~paired.obs["is_train"], "batch"]) == {"batch3"}


def test_batches_differ_in_depth_and_composition(cite):
    depth = cite.mod1.to_df().sum(axis=1).groupby(cite.obs["batch"], observed=True).median()
    assert depth.max() / depth.min() > 1.5
    share = cite.obs.groupby("batch", observed=True)["cell_type"].value_counts(normalize=True).unstack()
    assert (share.max() - share.min()).max() > 0.05


def test_equal_cells_differ_as_a_negative_binomial_says(cite):
    n = 4000
    zero = np.zeros(n)
    same = Cells(zero, zero.astype(int), zero, np.zeros((n, 2)), np.zeros((n, 1)), np.ones((n, 2)), ["A1"])
    X = gene_counts(same, np.zeros((1, 60)), 300, 0.0, -20.0, np.random.default_rng(0)).toarray()
    mean, variance = X.mean(0), X.var(0)
    dispersion = (variance - mean) / mean**2
    assert 0.10 < np.median(dispersion[mean > 2]) < 0.20
    lossy = gene_counts(same, np.zeros((1, 60)), 300, 0.0, 0.0, np.random.default_rng(0)).toarray()
    assert (lossy == 0).mean() > (X == 0).mean() + 0.1
    assert 0.05 < cite.mod1.X.nnz / np.prod(cite.mod1.shape) < 0.5


def test_cycle_genes_follow_the_planted_phase(cite):
    X = log_normalised(cite.mod1)
    s_genes, g2m_genes = (cite.mod1.var_names.isin(g) for g in cycle_genes())
    for genes, column in ((s_genes, "S_score"), (g2m_genes, "G2M_score")):
        assert genes.sum() >= 40
        active = cite.obs[column].to_numpy() > 0.5
        assert X[active][:, genes].mean() > 1.3 * X[~active][:, genes].mean()


def test_proteins_follow_their_gene_and_linear_models_beat_the_mean(cite):
    train = cite.obs["is_train"].to_numpy()
    genes, proteins = log_normalised(cite.mod1), np.log1p(cite.mod2.X.toarray())
    own = [
        spearmanr(genes[:, cite.mod1.var_names.get_loc(p)], proteins[:, i]).statistic
        for i, p in enumerate(cite.mod2.var_names)
    ]
    assert np.median(own) > 0.2
    y = proteins - proteins.mean(1, keepdims=True)
    z = TruncatedSVD(30, random_state=0).fit(genes[train]).transform(genes)
    fitted = Ridge(10.0).fit(z[train], y[train]).predict(z[~train])
    error = np.sqrt(((y[~train] - fitted) ** 2).mean())
    of_mean = np.sqrt(((y[~train] - y[train].mean(0)) ** 2).mean())
    assert 0.3 * of_mean < error < 0.85 * of_mean


def test_linked_peaks_open_with_their_gene(multiome):
    genes, peaks = log_normalised(multiome.mod1), (multiome.mod2.X > 0).toarray()
    types = multiome.obs["cell_type"].to_numpy()
    expression = np.stack([genes[types == t].mean(0) for t in np.unique(types)])
    opening = np.stack([peaks[types == t].mean(0) for t in np.unique(types)])
    named = multiome.mod2.var["regulates"].to_numpy()
    assert multiome.mod2.var_names.str.match(r"^chr\d+:\d+-\d+$").all()
    found = [
        np.corrcoef(expression[:, multiome.mod1.var_names.get_loc(g)], opening[:, j])[0, 1]
        for j, g in enumerate(named)
        if g
    ]
    assert 0.7 < (named != "").mean() < 0.9
    assert np.mean(found) > 0.35


def test_cell_types_are_learnable_but_not_trivial(cite, multiome):
    for modality, obs in ((cite.mod1, cite.obs), (multiome.mod2, multiome.obs)):
        train = obs["is_train"].to_numpy()
        z = TruncatedSVD(20, random_state=0).fit_transform(log_normalised(modality))
        model = LogisticRegression(max_iter=300).fit(z[train], obs["cell_type"][train])
        assert 0.7 < model.score(z[~train], obs["cell_type"][~train]) < 0.99


def test_more_proteins_than_genes_are_refused():
    with pytest.raises(ValueError, match="need as many genes"):
        Synthetic(name="t", n_mod2=500, n_genes=100).load()


def test_one_batch_and_many_types_work():
    paired = Synthetic(
        name="t", n_cells=300, n_batches=1, n_cell_types=25, n_states=0, empty_features="drop"
    ).load()
    assert paired.obs["cell_type"].nunique() > 20
    assert 0 < (~paired.obs["is_train"]).sum() < 150
