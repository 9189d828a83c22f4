"""Rivals of joint embedding on cells with planted types and batches."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from sklearn.metrics import silhouette_score

from planted import simulated, some_cells
from scmobench.experiment.config import compose, not_installed
from scmobench.experiment.plan import model_block
from scmobench.graph.propagation import standardised
from scmobench.models.embedding.harmony import Harmony, harmonised
from scmobench.models.embedding.jae import JAE
from scmobench.models.embedding.lsl_ae import LSLAutoencoder, TwinAutoencoder, feature_scale
from scmobench.models.embedding.mofa import MOFA
from scmobench.models.embedding.scvi_embedding import MultiVI, TotalVI
from scmobench.models.embedding.svd_embedding import SVDEmbedding
from scmobench.models.prediction.networks import apply_network
from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding
from scmobench.tasks.joint_embedding import JointEmbedding
from scmobench.training.validation import validation_cells

SMALL = {
    "components": {"GEX": 12},
    "hidden": [24, 16],
    "learning_rate": 1e-2,
    "batch_size": 48,
    "patience": 10,
}


def problem_of(**changes):
    return JointEmbedding().split(simulated(**{"n_cells": 240, "n_genes": 100} | changes))


@pytest.fixture(scope="module")
def problem():
    return problem_of()


def answer(model, data, seed=0):
    model.fit(data.for_fit(model.transductive, model.label_supervised), seed)
    return model.predict(data)


@pytest.mark.parametrize("kind", [Harmony, LSLAutoencoder, MOFA])
def test_label_free_models_are_declared(kind):
    assert (kind.transductive, kind.label_supervised) == (True, False)


def test_harmony_lowers_batch_separation_and_keeps_types():
    problem = problem_of(batch_effect=0.8, seed=3)
    labels = problem.solution.obs
    before = answer(SVDEmbedding(20, 10), problem.data)
    after = answer(Harmony(20, 10), problem.data)
    assert after.shape == before.shape
    assert silhouette_score(before, labels["batch"]) > 0.1, "there must be something to correct"
    assert silhouette_score(after, labels["batch"]) < 0.03
    assert silhouette_score(after, labels["cell_type"]) > 0.8 * silhouette_score(before, labels["cell_type"])


def test_harmony_without_pull_to_mix_corrects_less():
    data = problem_of(batch_effect=0.8, seed=3)
    weak, strong = (answer(Harmony(20, 10, theta=theta), data.data) for theta in (0.0, 4.0))
    batch = data.solution.obs["batch"]
    assert silhouette_score(weak, batch) > silhouette_score(strong, batch)


@pytest.mark.parametrize("model", ["scmognn", "jae"])
def test_inputs_corrected_by_harmony_bring_the_test_batch_nearer(model):
    """Within a type, because the labels separate the types with and without the correction."""
    problem = problem_of(batch_effect=1.2, seed=3)
    labels = problem.solution.obs
    given = {"components": {"GEX": 16}, "learning_rate": 3e-3, "max_epochs": 40, "batch_size": 64}
    kind = {"scmognn": ScMoGNNEmbedding, "jae": JAE}[model]
    given |= {"log_svd": True, "graph": "separate"} if model == "scmognn" else {}
    separation = []
    for theta in (0.0, 4.0):
        found = answer(kind(harmony_theta=theta, **given), problem.data)
        within = [labels["cell_type"] == name for name in labels["cell_type"].unique()]
        separation.append(np.mean([abs(silhouette_score(found[t], labels["batch"][t])) for t in within]))
    assert separation[1] < 0.8 * separation[0]


def test_harmonised_takes_any_shape_and_small_batches():
    rng = np.random.default_rng(0)
    batch = pd.Series(["a"] * 20 + ["b"] * 20)
    square = rng.normal(size=(40, 40)) + 3.0 * (batch == "b").to_numpy()[:, None]
    found = harmonised(square, batch, theta=4.0)  # as many components as cells: not to be turned
    assert np.corrcoef(found.ravel(), square.ravel())[0, 1] > 0.6
    gaps = [abs(x[:20].mean() - x[20:].mean()) for x in (square, found)]
    assert gaps[1] < 0.5 * gaps[0]
    lone = batch.copy()
    lone[lone.index[0]] = "c"
    narrow = square[:, :5].copy()
    narrow[0] = 0  # a batch of one cell, centred
    assert np.isfinite(harmonised(narrow, lone)).all()
    alone = harmonised(narrow, pd.Series(["a"] * 40))
    assert np.array_equal(alone, narrow.astype(np.float32))


def test_harmony_leaves_one_batch_alone():
    problem = problem_of(n_batches=1, test_batches=None)
    model = Harmony(12, 6)
    assert np.array_equal(answer(model, problem.data), answer(SVDEmbedding(12, 6), problem.data))
    assert "one batch" in model.report()["notes"]


def test_twin_autoencoder_weighs_modalities_alike():
    sizes = (6, 2)
    torch.manual_seed(0)
    network = TwinAutoencoder(sizes, hidden=4, latent=3, dropout=0.0)
    x = torch.rand(5, 8)
    scale = torch.from_numpy(feature_scale(sizes))
    joint = ((network(x) - x * scale) ** 2).mean()
    plain = network(x) / scale
    parts = [((a - b) ** 2).mean() for a, b in zip(plain.split(sizes, 1), x.split(sizes, 1), strict=True)]
    assert joint.item() == pytest.approx(sum(parts).item(), rel=1e-5)


def test_lsl_ae_validates_on_the_sum_of_both_modalities_errors(problem):
    data = problem.data.for_fit(True, False)
    model = LSLAutoencoder(max_epochs=1, min_genes=50).fit(data, 0)
    held_out = validation_cells(data.mod1.obs, "random", 0.2, 0)
    sides = (data.mod1, data.mod2)
    x = [side.X.toarray()[held_out][:, f] for side, f in zip(sides, model.features, strict=True)]
    genes, proteins = (part.shape[1] for part in x)
    assert genes != proteins
    scale = np.sqrt((genes + proteins) / np.repeat([genes, proteins], [genes, proteins]))
    squares = np.square(apply_network(model.module, np.hstack(x)) / scale - np.hstack(x))
    expected = np.sqrt(squares[:, :genes].mean() + squares[:, genes:].mean())
    assert model.fitted.best == pytest.approx(expected, rel=1e-5)


def test_lsl_ae_learns_and_separates_types(problem):
    embeddings = []
    for epochs in (1, 20):
        model = LSLAutoencoder(max_epochs=epochs, learning_rate=1e-3, min_genes=50)
        embeddings.append(answer(model, problem.data))
        assert embeddings[-1].shape == (240, 64)
    types = problem.solution.obs["cell_type"]
    assert silhouette_score(embeddings[1], types) > max(0.2, silhouette_score(embeddings[0], types))


def test_lsl_ae_reads_variable_genes_and_common_peaks():
    problem = problem_of(mod2="atac", n_mod2=150)
    model = LSLAutoencoder(max_epochs=1, min_genes=10, peak_share=0.2)
    threads = torch.get_num_threads()
    answer(model, problem.data)
    assert torch.get_num_threads() == threads
    genes, peaks = model.features
    assert 10 <= len(genes) < problem.data.mod1.n_vars
    table = problem.data.mod1.copy()
    assert table.obs["batch"].value_counts().min() >= 20  # else batches are ignored
    assert table.n_vars > 10  # else names sort as numbers do
    sc.pp.highly_variable_genes(table, batch_key="batch")
    assert np.array_equal(genes, np.flatnonzero(table.var["highly_variable"]))
    X = problem.data.mod2.X
    assert np.array_equal(peaks, np.flatnonzero(X.getnnz(axis=0) >= 0.2 * X.shape[0]))
    assert len(peaks) < X.shape[1]


def test_jae_is_supervised_by_training_labels_and_separates_types(problem):
    model = JAE(**SMALL, max_epochs=60)
    assert model.label_supervised
    embedding = answer(model, problem.data)
    assert model.blocks == {"cell_type": 4, "batch": 2, "cycle": 2, "free": 5}
    test = ~problem.data.mod1.obs["is_train"].to_numpy()
    types = problem.solution.obs["cell_type"].to_numpy()
    assert silhouette_score(embedding[test], types[test]) > 0.2
    codes = dict(enumerate(sorted(set(problem.data.labels["cell_type"]))))
    guessed = [codes[i] for i in embedding[test, :4].argmax(axis=1)]
    assert np.mean(guessed == types[test]) > 0.65  # the largest type holds a third
    # the batch block calls every batch about equally likely
    chance = torch.softmax(torch.from_numpy(embedding[:, 4:6]), dim=1)
    assert (chance - 0.5).abs().mean() < 0.1


def test_jae_is_scmognn_without_propagation_and_with_skip_connections(problem):
    """On the same inputs and with the same batch term and network the two are one and the same."""
    jae = JAE(**SMALL, max_epochs=3, batch_target="zero")
    network = {"skip_connections": True, "decoder_hidden": [16, 24], "dropout": 0.1}
    head = ScMoGNNEmbedding(**SMALL, max_epochs=3, propagation=False, log_svd=True, **network)
    assert answer(jae, problem.data).tobytes() == answer(head, problem.data).tobytes()
    uniform = answer(JAE(**SMALL, max_epochs=3), problem.data)
    assert uniform.tobytes() != answer(jae, problem.data).tobytes()
    with pytest.raises(TypeError, match="unexpected keyword argument 'propagation'"):
        JAE(propagation=True)


def test_jae_encoder_and_decoder_written_out(problem):
    model = JAE(**SMALL, max_epochs=2)
    embedding = answer(model, problem.data)
    p = {name: value.double().numpy() for name, value in model.module.state_dict().items()}

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    sides = zip(model.reductions, (problem.data.mod1, problem.data.mod2), strict=True)
    h = standardised(np.hstack([reduction.transform(cells) for reduction, cells in sides]))
    for block in (0, 1):  # of 24 and of 16
        start = np.maximum(linear(h, f"encoder.{block}.first"), 0)
        norm = f"encoder.{block}.second.1"
        scaled = (start - p[f"{norm}.running_mean"]) / np.sqrt(p[f"{norm}.running_var"] + 1e-5)
        scaled = scaled * p[f"{norm}.weight"] + p[f"{norm}.bias"]
        h = np.maximum(linear(scaled, f"encoder.{block}.second.2") + start, 0)
    h = np.maximum(linear(h, "encoder.2"), 0)
    np.testing.assert_allclose(embedding, h, rtol=1e-4, atol=1e-5)
    assert [block.second[0].p for block in model.module.encoder[:2]] == [0.1, 0.1]
    kinds = [getattr(layer, "out_features", type(layer).__name__) for layer in model.module.decoder.layers]
    assert kinds == [16, "ReLU", 24, "ReLU", model.module.states.shape[2]]
    assert JAE().decoder_hidden == [100, 120, 150]


def test_jae_reads_the_logarithm_of_shares(problem):
    model = JAE(**SMALL, max_epochs=1)
    answer(model, problem.data)
    counts = problem.data.mod1.layers["counts"].toarray()
    logs = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    u, s, _ = np.linalg.svd(logs, full_matrices=False)
    reduced = model.reductions[0].transform(problem.data.mod1)
    np.testing.assert_allclose(np.abs(reduced[:, 0]), np.abs(u[:, 0] * s[0]), rtol=1e-3)
    assert reduced.shape == (240, 12)
    mod2 = model.reductions[1].transform(problem.data.mod2)
    np.testing.assert_array_equal(mod2, problem.data.mod2.X.toarray())


def test_mofa_factors_follow_the_types(problem, capsys):
    pytest.importorskip("mofapy2")
    model = MOFA(factors=6, max_iterations=20)
    embedding = answer(model, problem.data)
    assert capsys.readouterr().out == ""
    assert embedding.shape == (240, 6)
    assert model.report()["epochs"] <= 20
    assert silhouette_score(embedding, problem.solution.obs["cell_type"]) > 0.1


def test_mofa_answers_by_name_and_knows_no_new_cells(problem):
    pytest.importorskip("mofapy2")
    model = MOFA(factors=3, max_iterations=3)
    embedding = answer(model, problem.data)
    order = np.arange(240)[::-1]
    turned = some_cells(problem.data, order)
    np.testing.assert_array_equal(model.predict(turned), embedding[order])
    model.fit(some_cells(problem.data, slice(50)), 0)
    with pytest.raises(ValueError, match="190 others"):
        model.predict(problem.data)


def test_mofa_refuses_what_does_not_fit(problem):
    pytest.importorskip("mofapy2")
    with pytest.raises(ValueError, match=r"would need about .* GB for 240 cells"):
        answer(MOFA(max_memory_gb=1e-4), problem.data)


@pytest.mark.parametrize(
    ("name", "served", "other", "package"),
    [("totalvi", "GEX-ADT", "GEX-ATAC", "scvi"), ("multivi", "GEX-ATAC", "GEX-ADT", "scvi")],
)
def test_a_missing_package_and_a_subtask_not_served_are_reported(monkeypatch, name, served, other, package):
    cfg = compose([f"model={name}", "task=joint_embedding"])
    with pytest.raises(ValueError, match=f"'{name}' serves {served}, not {other}"):
        model_block(cfg, "joint_embedding", other)
    monkeypatch.setattr("scmobench.experiment.config.find_spec", lambda _: None)
    assert not_installed(cfg.model) == f"{name} needs {package}: in the checkout, pip install -e '.[scvi]'"
    with pytest.raises(ValueError, match=f"{name} needs {package}"):
        model_block(cfg, "joint_embedding", served)


def test_scvi_models_refuse_other_modalities_and_missing_counts(problem):
    settings = {"latent": 5, "top_genes": 50, "max_epochs": 1, "learning_rate": 1e-3, "batch_size": 64}
    if not_installed({"name": "totalvi", "requires": {"scvi": "scvi"}}):
        with pytest.raises(ValueError, match=r"scvi is not installed: .*pip install -e '.\[scvi\]'"):
            answer(TotalVI(**settings), problem.data)
        return
    with pytest.raises(ValueError, match="MultiVI embeds GEX and ATAC, found"):
        answer(MultiVI(**settings), problem.data)
    bare = problem.data.mod2.copy()
    del bare.layers["counts"]
    with pytest.raises(ValueError, match="expected raw counts of ADT"):
        answer(TotalVI(**settings), dataclasses.replace(problem.data, mod2=bare))
