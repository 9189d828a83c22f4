"""scMoGNN for joint embedding: losses, blocks, labels, options, and what must never happen."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from planted import some_cells
from scmobench.models.scmognn.embed_network import UNKNOWN, EmbedModule, EmbedSettings
from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding
from scmobench.models.scmognn.reduction import Reduction
from scmobench.tasks.joint_embedding import JointEmbedding

SMALL = {
    "components": {"GEX": 12, "ATAC": 12},
    "hidden": [24, 16],
    "decoder_hidden": [16],
    "learning_rate": 1e-2,
    "batch_size": 48,
    "max_epochs": 4,
    "patience": 4,
}
SHARE = 0.2


@pytest.fixture(scope="module")
def problem(three_batches):
    return JointEmbedding().split(three_batches)


@pytest.fixture(scope="module")
def data(problem):
    return problem.data


def answer(data, seed=0, **changes):
    model = ScMoGNNEmbedding(**{**SMALL, **changes})
    model.fit(data.for_fit(model.transductive, model.label_supervised), seed)
    return model, model.predict(data)


def small_module(cycle=None, **changes):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    states, scores = (torch.randn(*shape, generator=generator) for shape in ((2, 10, 5), (10, 2)))
    types = torch.tensor([0, 1, 2, 0, 1, 2, UNKNOWN, 0, 1, 2])
    blocks = {"cell_type": 3, "batch": 2, "cycle": 2, "free": 1}
    settings = EmbedSettings(**{"hidden": [6], "decoder_hidden": [4], "dropout": 0.0, **changes})
    cycle = scores if cycle is None else cycle
    return EmbedModule(states, types, cycle, blocks=blocks, batch_size=8, settings=settings)


def test_loss_written_out():
    module = small_module().eval()
    cells = torch.tensor([0, 4, 6, 9])
    mixture = module.states[:, cells].mean(dim=0)
    z = module.encoder(mixture)
    reconstruction = ((module.decoder(z) - mixture) ** 2).mean()
    chance = torch.log_softmax(z[:, :3], dim=1)
    cell_type = -(chance[0, 0] + chance[1, 1] + chance[3, 2]) / 3  # cell 6 has no type
    regulariser = 1e-2 * sum(z[i, 3:5].norm() for i in range(4)) / 4 * 8
    cycle = ((z[:, 5:7] - module.cycle[cells]) ** 2).mean()
    expected = 0.7 * reconstruction + 0.2 * cell_type + 0.05 * regulariser + 0.05 * cycle
    assert module.loss(cells).item() == pytest.approx(expected.item(), rel=1e-5)


def test_reconstruction_does_not_pull_at_the_layer_weights_through_its_target():
    module = small_module().eval()
    cells = torch.arange(10)
    found = torch.autograd.grad(module.losses(cells)["reconstruction"], module.mixer.logits)[0]
    mixture = module.mixer(module.states[:, cells])
    error = (module.decoder(module.encoder(mixture)) - mixture.detach()).square().mean()
    torch.testing.assert_close(found, torch.autograd.grad(error, module.mixer.logits)[0])
    mixture = module.mixer(module.states[:, cells])
    free = (module.decoder(module.encoder(mixture)) - mixture).square().mean()
    assert (found - torch.autograd.grad(free, module.mixer.logits)[0]).abs().max() > 1e-3


def test_uniform_batch_term_is_the_divergence_from_equal_chances():
    module = small_module(batch_target="uniform").eval()
    cells = torch.tensor([0, 4, 9])
    chance = torch.softmax(module(cells)[:, 3:5], dim=1)
    divergence = (0.5 * torch.log(0.5 / chance)).sum(dim=1).mean()
    assert module.losses(cells)["regulariser"].item() == pytest.approx(divergence.item(), rel=1e-4)


def test_cells_without_scores_are_left_out():
    cycle = torch.randn(10, 2)
    cycle[3, 0] = float("nan")
    module = small_module(cycle=cycle).eval()
    both, one = (module.losses(torch.tensor(cells))["cell_cycle"] for cells in ([2, 3], [2]))
    torch.testing.assert_close(both, one)
    assert "cell_cycle" not in module.losses(torch.tensor([3]))


def test_every_parameter_is_trained_and_layer_weights_do_not_decay():
    module = small_module()
    module.loss(torch.arange(10)).backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []
    optimiser = module.configure_optimizers()
    decay = {id(p): g["weight_decay"] for g in optimiser.param_groups for p in g["params"]}
    assert decay.pop(id(module.mixer.logits)) == 0
    assert set(decay.values()) == {1e-2}
    assert len(decay) == len(list(module.parameters())) - 1


def test_module_follows_a_permutation_of_cells():
    module = small_module().eval()
    order = torch.tensor([3, 1, 8, 0, 2, 7, 9, 6, 5, 4])
    before = module(slice(None))
    module.set_states(module.states[:, order])
    torch.testing.assert_close(module(slice(None)), before[order])


def test_blocks(data):
    model, embedding = answer(data)
    assert model.label_supervised
    assert model.blocks == {"cell_type": 4, "batch": 2, "cycle": 2, "free": 5}
    assert embedding.shape == (data.mod1.n_obs, 13)
    assert embedding.dtype == np.float32
    assert np.isfinite(embedding).all()


def test_label_free_variant(data):
    model, embedding = answer(data, cell_type_weight=0, cell_cycle_weight=0, free_unsupervised=7)
    assert not model.label_supervised
    assert model.blocks == {"cell_type": 0, "batch": 2, "cycle": 0, "free": 7}
    assert embedding.shape[1] == 9


def test_missing_cycle_scores_are_said(data):
    without = dataclasses.replace(data, labels=data.labels[["cell_type"]])
    model, embedding = answer(without)
    assert model.blocks["cycle"] == 0
    assert embedding.shape[1] == 11
    assert "no S_score and G2M_score" in model.report()["notes"]


def test_both_cycle_scores_are_learned_each_in_its_place(data):
    scores, train = data.labels[["S_score", "G2M_score"]], data.mod1.obs_names[data.mod1.obs["is_train"]]
    for name, place in (("S_score", 0), ("G2M_score", 1)):
        changed = dataclasses.replace(data, labels=data.labels.assign(**{name: 9.0}))
        cycle = answer(changed, max_epochs=1)[0].module.cycle
        assert (cycle[:, place] == 9).all()
        np.testing.assert_allclose(cycle[:, 1 - place], scores.loc[train].to_numpy(np.float32)[:, 1 - place])


def test_labels_are_joined_by_name_not_by_row(data):
    shuffled = dataclasses.replace(data, labels=data.labels.sample(frac=1, random_state=0))
    assert answer(shuffled)[1].tobytes() == answer(data)[1].tobytes()


def test_training_labels_teach_test_cells(problem, data):
    """Planted types: their logits name the types of cells whose labels were never seen."""
    _, embedding = answer(data, max_epochs=40, patience=40)
    is_train = data.mod1.obs["is_train"].to_numpy()
    types = problem.solution.obs["cell_type"].to_numpy()
    names = np.unique(types[is_train])
    guess = names[embedding[:, : len(names)].argmax(axis=1)]
    assert (guess == types)[~is_train].mean() > 0.6  # the largest type holds a third
    assert np.abs(embedding[:, 4:6]).mean() < 0.5 * np.abs(embedding[:, :4]).mean()


def test_label_free_variant_separates_planted_types(problem, data):
    free = {"cell_type_weight": 0, "cell_cycle_weight": 0, "free_unsupervised": 8}
    _, embedding = answer(data, max_epochs=40, patience=40, **free)
    types = problem.solution.obs["cell_type"].to_numpy()
    assert silhouette_score(embedding, types) > 0.05
    assert silhouette_score(embedding, np.random.default_rng(0).permutation(types)) < 0


def test_same_seed_same_bytes_other_seed_other_bytes(data):
    first = answer(data)[1]
    assert first.tobytes() == answer(data)[1].tobytes()
    assert not np.allclose(first, answer(data, seed=1)[1])


CHANGES = {"propagation": False, "graph": "separate", "transductive": False, "zscore": True, "layers": 2}
CHANGES |= {"center_batches": True, "harmony_theta": 4.0, "first_layer": 1, "components": {"GEX": 5}}
CHANGES |= {"cell_type_weight": 0.5, "regulariser_weight": 5.0, "cell_cycle_weight": 1.0, "output_relu": True}
CHANGES |= {"dropout": 0.0, "weight_decay": 0.5, "validation_share": 0.3, "validation": "batch_separated"}


@pytest.mark.parametrize("option", CHANGES)
def test_each_option_changes_the_embedding(data, option):
    base, changed = (answer(data, max_epochs=2, **c)[1] for c in ({}, {option: CHANGES[option]}))
    assert np.abs(base - changed).max() > 1e-4


def test_regulariser_off_drops_the_batch_block(data):
    model, embedding = answer(data, regulariser_weight=0, max_epochs=1)
    assert model.blocks["batch"] == 0
    assert embedding.shape[1] == 11


def test_a_single_training_batch_has_no_batch_block(data):
    train = data.mod1.obs["is_train"].to_numpy(bool)
    one = data.mod1.copy(), data.mod2.copy()
    for modality in one:
        modality.obs["batch"] = np.where(train, "batch1", "batch3")
    single = dataclasses.replace(data, mod1=one[0], mod2=one[1])
    model, embedding = answer(single, max_epochs=1)
    assert model.blocks["batch"] == 0
    assert embedding.shape[1] == answer(data, max_epochs=1)[1].shape[1] - 2
    assert "one training batch" in model.report()["notes"]


def test_best_epoch_is_restored_with_its_layer_weights(data, monkeypatch):
    seen = []
    original = EmbedModule.validation_step

    def spy(self, cells, index):
        original(self, cells, index)
        seen.append(self.mixer.logits.detach().clone())

    monkeypatch.setattr(EmbedModule, "validation_step", spy)
    model, _ = answer(data, max_epochs=40, patience=40, learning_rate=5e-2)
    best = model.fitted.best_epoch
    assert best < len(seen) - 1, "the best epoch must not be the last for this test to say anything"
    assert torch.equal(model.module.mixer.logits, seen[best])
    assert not torch.equal(seen[best], seen[-1])


def test_inductive_fit_ignores_test_cells(data):
    keep = data.mod1.obs["is_train"].to_numpy().copy()
    keep[np.flatnonzero(~keep)[:20]] = True
    other = some_cells(data, keep)
    for transductive, same in ((False, True), (True, False)):
        models = [answer(d, max_epochs=2, transductive=transductive)[0] for d in (data, other)]
        states = [torch.cat([p.flatten() for p in m.module.parameters()]) for m in models]
        assert torch.equal(*states) is same


def test_centred_batches_differ_in_nothing_but_their_means(data):
    plain, centred = (
        Reduction({"GEX": 6}, center_batches=on).fit(data.mod1).transform(data.mod1) for on in (False, True)
    )
    batch = data.mod1.obs["batch"].to_numpy()
    for name in np.unique(batch):
        rows = batch == name
        assert np.abs(plain[rows].mean(axis=0)).max() > 1e-3
        np.testing.assert_allclose(centred[rows], plain[rows] - plain[rows].mean(axis=0), atol=1e-5)


def test_data_without_labels_make_it_label_free_with_free_dimensions_in_their_place(data):
    model, _ = answer(dataclasses.replace(data, labels=None), max_epochs=1, free_unsupervised=7)
    assert not model.label_supervised
    assert model.blocks["free"] == 7


def test_a_last_step_of_one_cell_is_left_out(data):
    train = int(data.mod1.obs["is_train"].sum())
    fitted = train - round(SHARE * train)
    answer(data, batch_size=fitted - 1, validation_share=SHARE, max_epochs=1)


def test_refusals(data):
    with pytest.raises(ValueError, match="at most 100 dimensions"):
        answer(data, free=95)
    three = some_cells(data, slice(3))
    three.mod1.obs["is_train"] = True
    with pytest.raises(ValueError, match="at least 4 training cells, found 3"):
        answer(three)
