"""Sparse products, the convolution and the network, against dense numpy and gather/scatter."""

from typing import get_args, get_type_hints

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.graph.operator import compressed_pair
from scmobench.nn.conv import CellFeatureConv, ConvSettings, RelationConv, normalisation
from scmobench.nn.mixer import Mixer
from scmobench.nn.scmognn import GraphTensors, NetworkSettings, ScMoGNN
from scmobench.nn.sparse import DenseOperator, SparseOperator

M = np.array([[2, 0, 0, 1], [0, 3, 0, 0], [1, 1, 0, 4]], np.float32)  # 3 cells x 4 features
P = np.array([[0, 0.5, 0, 0], [0.5, 0, 0, -1], [0, 0, 0, 0], [0, -1, 0, 0]], np.float32)
CHOICES = {name: get_args(kind) for name, kind in get_type_hints(NetworkSettings).items()}


def operators(matrix=M, double=True):
    both = (SparseOperator(compressed_pair(sp.csr_matrix(matrix))), DenseOperator(torch.tensor(matrix)))
    return [operator.double() if double else operator for operator in both]


def hand_made(double=True, **more):
    def sparse(matrix):
        return SparseOperator(compressed_pair(sp.csr_matrix(matrix)))

    graph = GraphTensors(sparse(M), sparse(P), **more)
    return graph.double() if double else graph


def random_graph(cells=30, features=20, seed=0, pathway=True):
    rng = np.random.default_rng(seed)
    matrix = sp.random(cells, features, 0.2, "csr", np.float32, rng)
    links = sp.random(features, features, 0.2, "csr", np.float32, rng) if pathway else None
    return CellFeatureGraph.build(matrix, pathway=links, batches=np.arange(cells) % 3)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_product_and_gradient(kind, transpose, drop):
    operator = operators()[kind]
    x = torch.randn(3 if transpose else 4, 2, dtype=torch.float64, requires_grad=True)
    rows, columns, values = operator.edges()
    kept = torch.arange(len(values)) % 3 != 0 if drop else None
    dense = np.zeros((3, 4))
    dense[rows, columns] = values * (kept if drop else 1)
    found = operator(x, transpose, kept)
    np.testing.assert_allclose(found.detach(), (dense.T if transpose else dense) @ x.detach().numpy())
    assert torch.autograd.gradcheck(lambda x: operator(x, transpose, kept), x)
    assert operator.row_counts.tolist() == [2, 1, 3]
    assert operator.column_counts.tolist() == [2, 2, 0, 2]


def test_operators_move_with_the_module_but_are_no_state():
    graph = hand_made()
    assert graph.matrix.values.dtype == torch.float64
    assert not graph.state_dict()


def test_half_precision_regions_leave_the_product_exact():
    operator = operators(double=False)[0]
    x = torch.randn(4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert operator(x.bfloat16()).dtype == torch.bfloat16
        found = operator(x)
    torch.testing.assert_close(found, torch.tensor(M) @ x)


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_edge_dropout_keeps_its_share_and_its_expectation(p):
    rng = np.random.default_rng(0)
    operator = SparseOperator(compressed_pair(sp.random(300, 200, 0.3, "csr", np.float32, rng)))
    torch.manual_seed(0)
    masks = torch.stack([operator.draw(p) for _ in range(50)]).float()
    assert abs(masks.mean() - (1 - p)) < 0.002  # 900,000 draws
    assert (masks.mean(0) - (1 - p)).abs().max() < 0.4  # none is always or never kept
    assert abs(np.corrcoef(masks[0], masks[1])[0, 1]) < 0.03
    x = torch.rand(200, 3)
    conv = RelationConv(3, 1, 4, edge_dropout=p)
    nn.init.zeros_(conv.itself.weight)
    y = torch.stack([conv(x, torch.zeros(300, 1), operator).detach() for _ in range(300)]).mean(0)
    conv.eval()
    assert (y - conv(x, torch.zeros(300, 1), operator)).abs().max() < 0.1
    assert (y - conv(x, torch.zeros(300, 1), operator)).mean().abs() < 2e-3


@pytest.mark.parametrize("aggregation", ["mean", "gcn"])
def test_messages_written_out(aggregation):
    operator = operators()[0]
    conv = RelationConv(3, 2, 5, aggregation=aggregation).double()
    features, cells = torch.randn(4, 3).double(), torch.randn(3, 2).double()
    W, W_self = conv.neighbours.weight.detach().numpy().T, conv.itself.weight.detach().numpy().T
    b = conv.itself.bias.detach().numpy()
    degree = (M != 0).sum(0)
    expected = []
    for i in range(3):
        heard = np.flatnonzero(M[i])
        total = np.zeros(5)
        for j in heard:
            c = len(heard) if aggregation == "mean" else np.sqrt(len(heard) * degree[j])
            total += M[i, j] / c * features[j].numpy() @ W
        expected.append(cells[i].numpy() @ W_self + total + b)
    np.testing.assert_allclose(conv(features, cells, operator).detach(), expected)


@pytest.mark.parametrize("sizes", [(3, 5), (7, 2)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("aggregation", ["mean", "gcn"])
@pytest.mark.parametrize("kind", [0, 1])
def test_fused_path_is_gather_and_scatter(sizes, transpose, aggregation, kind):
    operator = operators()[kind]
    nodes = (3, 4) if transpose else (4, 3)
    conv = RelationConv(sizes[0], 6, sizes[1], aggregation=aggregation, edge_dropout=0.5).double()
    results = []
    for conv.fused in (True, False):
        torch.manual_seed(0)
        source = torch.randn(nodes[0], sizes[0], dtype=torch.float64, requires_grad=True)
        target = torch.randn(nodes[1], 6, dtype=torch.float64)
        conv.zero_grad()
        y = conv(source, target, operator, transpose)  # training: the same seed drops the same edges
        y.square().sum().backward()
        results.append([y, source.grad, *(p.grad for p in conv.parameters())])
    for fused, reference in zip(*results, strict=True):
        torch.testing.assert_close(fused, reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", CHOICES["mixer"])
def test_mixers_written_out(kind):
    torch.manual_seed(0)
    mixer = Mixer(kind, 4, 0.25).double()
    h, m1, m2 = torch.randn(3, 5, 4).double()
    maps = [(w.weight.detach().numpy(), w.bias.detach().numpy()) for w in mixer.maps]
    found = mixer(h, m1, m2).detach().numpy()
    h, m1, m2 = h.numpy(), m1.numpy(), m2.numpy()

    def linear(k, *parts):
        return np.concatenate(parts, 1) @ maps[k][0].T + maps[k][1]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    if kind == "attention":
        scores = np.exp(np.stack([(linear(0, h) * m).sum(1) for m in (m1, m2)], 1))
        scores /= scores.sum(1, keepdims=True)
    expected = {
        "alpha": lambda: 0.75 * m1 + 0.25 * m2,
        "sum": lambda: m1 + m2,
        "cat": lambda: linear(0, m1, m2),
        "attention": lambda: scores[:, :1] * m1 + scores[:, 1:] * m2,
        "gate": lambda: (g := sigmoid(linear(0, h, m1, m2))) * m1 + (1 - g) * m2,
        "two_gate": lambda: sigmoid(linear(0, h, m1)) * m1 + sigmoid(linear(1, h, m2)) * m2,
    }[kind]()
    np.testing.assert_allclose(found, expected)


def test_learned_alpha_starts_even_and_learns():
    mixer = Mixer("alpha", 4, None)
    m1, m2 = torch.randn(2, 5, 4)
    y = mixer(m1, m1, m2)
    torch.testing.assert_close(y, (m1 + m2) / 2)
    y.square().sum().backward()
    assert mixer.logits.grad.abs().sum() > 0


def test_every_layer_learns_an_alpha_of_its_own():
    net, graph = small_net(layers=3, alpha=None), random_graph().tensors()
    net(graph).square().sum().backward()
    logits = [conv.mixer.logits for conv in net.convs[:2]]  # the last layer leaves features alone
    assert logits[0] is not logits[1]
    assert all(one.grad.abs().sum() > 0 for one in logits)
    assert net.convs[2].mixer is None


@pytest.mark.parametrize(("mixer", "weights"), [("alpha", (0.75, 0.25)), ("sum", (1.0, 1.0))])
def test_layer_normalises_each_message_before_it_mixes(mixer, weights):
    layer = CellFeatureConv(
        4, 8, ConvSettings(mixer=mixer, alpha=0.25, norm="layer", activation="relu"), pathway=True
    )
    layer = layer.double().eval()
    graph, cells, features = hand_made(), torch.randn(3, 4).double(), torch.randn(4, 4).double()
    new_cells, new_features = layer(cells, features, None, graph.matrix, graph.pathway)
    to = layer.messages
    m_cell = to["cell"](features, cells, graph.matrix)
    m_feature = to["feature"](cells, features, graph.matrix, True)
    m_pathway = to["pathway"](features, features, graph.pathway)

    def scaled(m):
        return (m - m.mean(1, keepdim=True)) / (m.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    torch.testing.assert_close(new_cells, scaled(m_cell).relu())
    mixed = weights[0] * scaled(m_feature) + weights[1] * scaled(m_pathway)
    torch.testing.assert_close(new_features, mixed.relu())


def test_group_normalisation_has_four_groups():
    torch.manual_seed(0)
    norm = normalisation("group", 12).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(5, 12).double()
    groups = x.numpy().reshape(5, 4, 3)
    scaled = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    weight, bias = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    np.testing.assert_allclose(norm(x).detach(), scaled.reshape(5, 12) * weight + bias)


def test_dropout_of_a_layer_hides_states_of_cells_and_of_features():
    torch.manual_seed(0)
    graph = random_graph(cells=200, features=150).tensors()
    layer = CellFeatureConv(4, 8, ConvSettings(norm="layer", dropout=0.25), pathway=True)
    inputs = (torch.randn(200, 4), torch.randn(150, 4), None, graph.matrix, graph.pathway)
    for still, noisy in zip(layer.eval()(*inputs), layer.train()(*inputs), strict=True):
        kept = noisy != 0
        assert abs(kept.double().mean() - 0.75) < 0.04  # 1,200 draws or more
        torch.testing.assert_close(noisy[kept], still[kept] / 0.75)


NAMED = ("residual", "readout", "mixer", "norm", "activation", "aggregation")
OPTIONS = [(name, value) for name in NAMED for value in CHOICES[name]]
OPTIONS += [("initial_residual", False), ("readout_layers", 2), ("embedding_blocks", 2), ("layers", 1)]
OPTIONS += [("pathway", False), ("batch_features", 0), ("alpha", None), ("alpha", 0.1), ("layers", 3)]
DEFAULTS = {"residual": "cat", "readout": "weighted_sum", "mixer": "alpha", "norm": "group"}
DEFAULTS |= {"activation": "gelu", "aggregation": "mean"}


def small_net(features=20, **changed):
    torch.manual_seed(0)
    settings = dict(hidden=8, layers=2, pathway=True, batch_features=9, alpha=0.25) | changed
    return ScMoGNN(features, 3, **settings)


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_every_option_runs_fused_as_gathered_and_changes_the_output(option, value):
    graph = random_graph().tensors().double()
    plain = small_net(layers=4).double()
    outputs = []
    for fused in (True, False):
        net = small_net(**({"layers": 4} | {option: value}), fused=fused).double().eval()
        y = net(graph)
        y.square().sum().backward()
        assert torch.isfinite(y).all()
        outputs.append((y, net.feature_embedding.grad))
    torch.testing.assert_close(outputs[0], outputs[1])
    if DEFAULTS.get(option) != value:
        assert not torch.allclose(outputs[0][0], plain.eval()(graph))


@pytest.mark.parametrize("svd", [False, True])
def test_first_states_written_out(svd):
    """Layer 0 of the paper's section 4: leaky ReLUs, then blocks of Linear, activation, normalisation."""
    torch.manual_seed(0)
    inputs = {"batch_features": torch.randn(3, 9)} | ({"cell_inputs": torch.randn(3, 5)} if svd else {})
    graph = hand_made(**inputs)
    shared = dict(hidden=8, batch_features=9, cell_inputs=5 if svd else 0, activation="relu", norm="layer")
    network = ScMoGNN(4, 2, embedding_blocks=2, **shared).double().eval()

    def leaky(x):
        return torch.where(x > 0, x, 0.01 * x)

    def block(x, parts):
        x = torch.relu(parts[0](x))
        return (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)

    start = network.cell_encoder(graph.cell_inputs) if svd else network.cell_embedding.expand(3, -1)
    cells = leaky(start) + leaky(network.batch_encoder(graph.batch_features))
    found = network.embed(graph)
    torch.testing.assert_close(found[0], block(cells, network.cell_blocks))
    features = block(leaky(network.feature_embedding), network.feature_blocks)
    torch.testing.assert_close(found[1], features)
    plain = ScMoGNN(4, 2, dropout=0, **shared).double()
    (noisy, still), (again, _) = plain.embed(graph), plain.embed(graph)
    assert not torch.equal(noisy, again), "dropout of 0.2 on the encoded batch features"
    torch.testing.assert_close(still, leaky(plain.feature_embedding))


def test_a_fifth_of_the_encoded_batch_features_is_hidden():
    net = small_net(dropout=0, layers=1).double()
    graph = random_graph(cells=200).tensors().double()
    encoded = nn.functional.leaky_relu(net.batch_encoder(graph.batch_features))
    found = net.embed(graph)[0] - nn.functional.leaky_relu(net.cell_embedding)
    kept = found != 0
    assert abs(kept.double().mean() - 0.8) < 0.04  # 1,600 draws
    torch.testing.assert_close(found[kept], encoded[kept] / 0.8)


@pytest.mark.parametrize("residual", CHOICES["residual"])
@pytest.mark.parametrize("initial", [False, True])
def test_residuals_written_out(residual, initial):
    net = small_net(layers=3, residual=residual, initial_residual=initial, mixer="gate").eval()
    graph = random_graph().tensors()
    H = [net.embed(graph)]
    for layer, conv in enumerate(net.convs):
        state, inputs = H[-1], H[-1]
        if residual == "cat" and layer > 0:
            earlier = H[0] if initial else H[-2]
            inputs = [torch.cat([a, b], 1) for a, b in zip(state, earlier, strict=True)]
        new = conv(*inputs, state[1], graph.matrix, graph.pathway)
        if residual == "add":
            earlier = H[0] if initial else H[-1]
            new = [a + b if b is not None else None for a, b in zip(earlier, new, strict=True)]
        H.append(new)
    for found, (expected, _) in zip(net.states(graph), H[1:], strict=True):
        torch.testing.assert_close(found, expected)


def test_readout_weighs_the_layers():
    net, graph = small_net(layers=3), random_graph().tensors()
    net.eval()
    net.layer_logits.data = torch.tensor([0.0, 1.0, -1.0])
    w = net.layer_logits.softmax(0)
    H = sum(w[i] * net.states(graph)[i] for i in range(3))
    torch.testing.assert_close(net(graph), H @ net.head[0].weight.T + net.head[0].bias)


def test_readout_of_two_layers_written_out():
    net = small_net(readout="last", readout_layers=2, activation="relu").eval()
    graph = random_graph().tensors()
    first, last = [(net.head[k].weight.detach().numpy(), net.head[k].bias.detach().numpy()) for k in (0, -1)]
    H = net.states(graph)[-1].detach().numpy()
    expected = np.maximum(H @ first[0].T + first[1], 0) @ last[0].T + last[1]
    np.testing.assert_allclose(net(graph).detach(), expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_the_network():
    graph = hand_made(batch_features=torch.randn(3, 9))
    net = small_net(4, mixer="gate").double().eval()
    names, values = zip(*net.named_parameters(), strict=True)
    values = tuple(v.detach().clone().requires_grad_() for v in values)

    def forward(*parameters):
        return torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), graph)

    assert torch.autograd.gradcheck(forward, values, fast_mode=True)


def test_every_parameter_is_used():
    net = small_net(layers=3, embedding_blocks=2, mixer="two_gate")
    net(random_graph().tensors()).square().sum().backward()
    unused = [n for n, p in net.named_parameters() if p.grad is None]
    assert not unused


def test_order_of_cells_features_and_edges_does_not_matter():
    graph = random_graph()
    rng = np.random.default_rng(3)
    cells, features = rng.permutation(30), rng.permutation(20)
    net = small_net().eval()
    expected = net(graph.tensors())[torch.from_numpy(cells)]
    torch.testing.assert_close(net(graph.sample(cells, features).tensors()), expected, rtol=1e-4, atol=1e-5)
    edges = graph.matrix.tocoo()
    mixed = rng.permutation(edges.nnz)
    shuffled = sp.coo_matrix((edges.data[mixed], (edges.row[mixed], edges.col[mixed])), edges.shape)
    again = CellFeatureGraph.build(shuffled, pathway=graph.pathway, batches=np.arange(30) % 3)
    torch.testing.assert_close(net(again.tensors()), net(graph.tensors()))


@pytest.mark.parametrize("readout", CHOICES["readout"])
def test_cells_that_are_read_out_hear_all_others(readout):
    graph = random_graph().tensors()
    network = ScMoGNN(20, 3, hidden=8, layers=2, readout=readout, pathway=True, batch_features=9).eval()
    asked = torch.tensor([4, 0, 29])
    torch.testing.assert_close(network(graph, asked), network(graph)[asked])
