"""scMoGNN for matching: losses, symmetries, options, and what must never happen."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scmobench.models.scmognn.match_modality import ScMoGNNMatching, soft_matching
from scmobench.models.scmognn.match_network import MatchModule, MatchSettings, match_loss, top1
from scmobench.models.scmognn.reduction import Reduction
from scmobench.tasks.match_modality import MatchModality

SMALL = {
    "components": {"GEX": 12, "ATAC": 12},
    "joint_dim": 8,
    "gex_hidden": [24],
    "other_hidden": [24],
    "decoder_hidden": [16],
    "learning_rate": 1e-2,
    "batch_size": 64,
    "max_epochs": 6,
    "patience": 6,
}


@pytest.fixture(scope="module")
def problems(three_batches):
    return {
        direction: MatchModality().split(three_batches, direction) for direction in ("from_gex", "to_gex")
    }


@pytest.fixture(scope="module")
def data(problems):
    return problems["from_gex"].data


def answer(data, seed=0, **changes):
    model = ScMoGNNMatching(**{**SMALL, **changes})
    model.fit(data.for_fit(model.transductive, model.label_supervised), seed)
    return model, model.predict(data)


def small_module(states, **changes):
    torch.manual_seed(0)
    small = {"joint_dim": 4, "log_scale": 1.0, "gex_hidden": [6], "other_hidden": [5], "decoder_hidden": [5]}
    still = {"gex_dropout": 0.0, "other_dropout": 0.0, "decoder_dropout": 0.0}
    return MatchModule(states, MatchSettings(**{**small, **still, **changes}))


def random_states(n=9, widths=(5, 3), layers=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(layers, n, width, generator=generator) for width in widths]


def test_match_loss_is_minus_log_of_both_softmaxes():
    similarity = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
    weights = np.exp(similarity)
    rows = weights / weights.sum(axis=1, keepdims=True)
    columns = weights / weights.sum(axis=0, keepdims=True)
    expected = -(np.log(np.diag(rows)) + np.log(np.diag(columns))).sum() / 3
    assert match_loss(torch.from_numpy(similarity)).item() == pytest.approx(expected)


def test_top1_is_the_mean_of_both_directions():
    similarity = torch.tensor([[3.0, 4.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 1.0]])
    assert top1(similarity).item() == pytest.approx((2 / 3 + 1) / 2)


def test_training_loss_written_out():
    """Similarities of unit vectors times e^τ, and four decoding errors."""
    states = random_states()
    module = small_module(states)
    cells = torch.tensor([4, 0, 7])
    mixtures = [s[:, cells].mean(dim=0) for s in states]  # logits start equal
    joint = [e(m) for e, m in zip(module.encoders, mixtures, strict=True)]
    joint = [h / h.norm(dim=1, keepdim=True) for h in joint]
    expected = match_loss(joint[0] @ joint[1].T * np.e)
    for m, decode in enumerate(module.decoders):
        for source in joint:
            expected = expected + ((decode(source) - mixtures[m]) ** 2).mean()
    assert module.loss(cells).item() == pytest.approx(expected.item(), rel=1e-5)


def test_decoding_errors_do_not_pull_at_the_layer_weights():
    """As targets the mixtures are constants: else the layer that is easiest to decode would win."""
    states = random_states()
    module = small_module(states)
    for mixer in module.mixers:
        mixer.logits.data = torch.tensor([0.5, -0.5])
    cells = torch.tensor([4, 0, 7, 2])
    logits = [mixer.logits for mixer in module.mixers]
    found = torch.autograd.grad(module.loss(cells), logits)

    def written_out(constant):
        mixed = [mixer(s[:, cells]) for mixer, s in zip(module.mixers, states, strict=True)]
        joint = [torch.nn.functional.normalize(e(m)) for e, m in zip(module.encoders, mixed, strict=True)]
        loss = match_loss(joint[0] @ joint[1].T * np.e)
        for target, decode in zip(mixed, module.decoders, strict=True):
            target = target.detach() if constant else target
            loss = loss + sum(((decode(source) - target) ** 2).mean() for source in joint)
        return torch.autograd.grad(loss, logits)

    for mine, right, wrong in zip(found, written_out(True), written_out(False), strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-6)
        assert (mine - wrong).abs().max() > 1e-3


def test_gradients_of_the_loss():
    """Analytic against numeric, without the decoders (their targets are constants)."""
    module = small_module([s.double() for s in random_states(n=4)], auxiliary=False).double()
    names, values = zip(*module.named_parameters(), strict=True)

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self):
            return self.module.loss(torch.arange(4))

    def loss(*changed):
        named = {f"module.{name}": value for name, value in zip(names, changed, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    assert torch.autograd.gradcheck(loss, values)


def test_every_parameter_is_trained():
    module = small_module(random_states())
    module.loss(torch.arange(9)).backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


def test_module_follows_a_permutation_of_cells():
    states = random_states()
    module = small_module(states).eval()
    order = torch.tensor([3, 1, 8, 0, 2, 7, 6, 5, 4])
    before = module(slice(None), 0)
    module.set_states(*(s[:, order] for s in states))
    torch.testing.assert_close(module(slice(None), 0), before[order])


def test_states_are_no_part_of_what_is_saved():
    assert not {"first", "second"} & set(small_module(random_states()).state_dict())


def test_same_seed_same_bytes_other_seed_other_bytes(data):
    first, second = answer(data)[0].sides(data), answer(data)[0].sides(data)
    assert [x.tobytes() for x in first[:2]] == [x.tobytes() for x in second[:2]]
    assert not np.allclose(first[0], answer(data, seed=1)[0].sides(data)[0])


@pytest.mark.parametrize("direction", ["from_gex", "to_gex"])
def test_planted_signal_beats_chance(problems, direction):
    problem = problems[direction]
    model, matching = answer(problem.data, max_epochs=40, patience=40)
    first, second = model.sides(problem.data)
    partner = np.argsort(problem.solution.uns["pairing_ix"])
    similarity = first @ second.T
    true = similarity[np.arange(len(partner)), partner]
    foscttm = (similarity > true[:, None]).mean()
    assert foscttm < 0.3
    hits = matching[np.arange(len(partner)), partner].mean()
    assert hits > 3 / len(partner)
    np.testing.assert_array_equal(np.asarray(matching.sum(axis=0)).ravel(), 1)
    np.testing.assert_array_equal(np.asarray(matching.sum(axis=1)).ravel(), 1)


CHANGES = {"propagation": False, "auxiliary": False, "transductive": False, "zscore": True, "log_scale": 1.0}
CHANGES |= {"center_batches": True, "layers": 2, "components": {"GEX": 5}, "weight_decay": 0.5}
CHANGES |= {"gex_dropout": 0.0, "batch_size": 32, "validation_share": 0.3, "validation": "batch_separated"}


@pytest.mark.parametrize("option", CHANGES)
def test_each_option_changes_the_embedding(data, option):
    changes = ({}, {option: CHANGES[option]})
    base, changed = (answer(data, max_epochs=2, **c)[0].sides(data) for c in changes)
    assert np.abs(base[0] - changed[0]).max() > 1e-4


def test_best_epoch_is_restored_with_its_layer_weights(data, monkeypatch):
    """The validation score of the restored module is the best of the history, not the last."""
    seen = []
    original = MatchModule.validation_step

    def spy(self, cells, index):
        original(self, cells, index)
        seen.append([mixer.logits.detach().clone() for mixer in self.mixers])

    monkeypatch.setattr(MatchModule, "validation_step", spy)
    model, _ = answer(data, max_epochs=25, patience=25, learning_rate=5e-2)
    best = model.fitted[0].best_epoch
    assert best < len(seen) - 1, "the best epoch must not be the last for this test to say anything"
    for mixer, at_best, at_end in zip(model.modules[0].mixers, seen[best], seen[-1], strict=True):
        assert torch.equal(mixer.logits, at_best)
        assert not torch.equal(at_best, at_end)


def test_inductive_fit_ignores_test_cells(data):
    """Other test cells do not move what an inductive model has learned; a transductive one sees them."""
    other = dataclasses.replace(
        data, test_mod1=data.test_mod1[:20].copy(), test_mod2=data.test_mod2[:20].copy()
    )
    for transductive, same in ((False, True), (True, False)):
        models = [answer(d, max_epochs=2, transductive=transductive)[0] for d in (data, other)]
        states = [torch.cat([p.flatten() for p in m.modules[0].parameters()]) for m in models]
        assert torch.equal(*states) is same


def test_layers_count_and_weights(data):
    model, _ = answer(data, layers=4, max_epochs=1)
    assert [len(m.logits) for m in model.modules[0].mixers] == [3, 3]
    report = model.report()
    assert sum(report["layer_weights"]["GEX"]) == pytest.approx(1, abs=1e-3)
    assert report["parameters"] == sum(p.numel() for p in model.modules[0].parameters())


def test_soft_matching_stays_in_batch_and_in_budget(data):
    _, soft = answer(data, hard=False, partners=7, max_epochs=1)
    assert sp.issparse(soft)
    assert soft.data.min() >= 0
    assert np.diff(soft.indptr).max() == 7
    first = np.eye(4)[[0, 1, 2, 3]] * 5
    weights = soft_matching(first, np.eye(4), np.array(list("aabb")), np.array(list("baba")), partners=2)
    dense = weights.toarray()
    assert dense[0, 0] == dense[0, 2] == 0  # the other batch
    assert dense[1, 1] == dense[1].max()
    logits = np.array([[0.0, 0.0], [5.0, 0.0]])  # rows 0, 1 (batch a) x columns 1, 3 (batch a)
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = np.exp(logits) / np.exp(logits).sum(axis=0, keepdims=True)
    np.testing.assert_allclose(dense[np.ix_([0, 1], [1, 3])], rows + columns, rtol=1e-5)


def test_without_counts_the_lsi_is_of_normalised_values_and_says_so(data):
    bare = data.train_mod1.copy()
    del bare.layers["counts"]
    reduction = Reduction({"GEX": 5}).fit(bare)
    assert reduction.notes == ["LSI of normalised GEX: there are no raw counts"]
    expected = Reduction({"GEX": 5}, normalised=True).fit(data.train_mod1)
    assert expected.notes == []
    np.testing.assert_array_equal(reduction.transform(bare), expected.transform(data.train_mod1))
    counts = Reduction({"GEX": 5}).fit(data.train_mod1).transform(data.train_mod1)
    assert np.abs(counts - reduction.transform(bare)).max() > 1e-3


def test_cells_are_scaled_by_the_standard_deviation_of_a_sample_before_a_component_goes(data):
    plain, scaled = (Reduction({"GEX": 5}, zscore=z).fit(data.train_mod1) for z in (False, True))
    x = plain.lsi.svd.transform(plain.lsi._logs(data.train_mod1.layers["counts"])).astype(float)
    centred = x - x.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True) / 5)  # of 6 components
    np.testing.assert_allclose(scaled.transform(data.train_mod1), expected[:, 1:], rtol=1e-4, atol=1e-5)
