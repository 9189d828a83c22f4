"""scMoGNN against a dense restatement of its published equations, on simulated and on real cells."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import gelu, leaky_relu

from scmobench.experiment.config import build, compose
from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.graph.pathway import coexpression_edges
from scmobench.nn.scmognn import ScMoGNN
from scmobench.tasks.predict_modality import PredictModality

HIDDEN, ALPHA = 16, 0.25
VARIANTS = [
    {"residual": residual, "readout": readout, "aggregation": aggregation, "initial_residual": initial}
    for residual in ("add", "cat")
    for readout in ("weighted_sum", "cat")
    for aggregation in ("mean", "gcn", "sage_gcn")
    for initial in (True, False)
]


@pytest.fixture(scope="module")
def tiny() -> tuple[CellFeatureGraph, Tensor]:
    cells = build(compose(["dataset=tiny_cite"]).dataset).load()
    data = PredictModality().split(cells).data
    return problem(data.train_mod1.X, data.train_mod2.X)


@pytest.fixture(scope="module")
def kit(starter_kit) -> tuple[CellFeatureGraph, Tensor]:
    """On the 150 genes that most cells have."""
    genes, proteins = (starter_kit[f"train_{side}"].X for side in ("mod1", "mod2"))
    return problem(genes[:, np.argsort(-genes.getnnz(axis=0), kind="stable")[:150]], proteins)


def problem(genes: sp.csr_matrix, proteins: sp.csr_matrix) -> tuple[CellFeatureGraph, Tensor]:
    """Cells x genes with co-expression edges and batch features, and the targets."""
    genes = sp.csr_matrix(genes)
    batches = np.arange(genes.shape[0]) % 3
    graph = CellFeatureGraph.build(genes, pathway=coexpression_edges(genes), batches=batches)
    return graph, torch.from_numpy(proteins.toarray())


def published(
    p: dict[str, Tensor],
    M: Tensor,
    P: Tensor,
    numbers: Tensor,
    residual: str,
    readout: str,
    aggregation: str,
    initial_residual: bool,
) -> Tensor:
    """Wen et al. 2022, section 4: targets of all cells, without any dropout; ``p`` by our names."""
    layers = 3

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def message(A: Tensor, source: Tensor, target: Tensor, name: str) -> Tensor:
        """From columns to rows of A."""
        here, there = ((A != 0).sum(axis).to(A) for axis in (1, 0))
        W = p[f"{name}.neighbours.weight"].T
        if aggregation == "sage_gcn":  # as DGL's SAGEConv averages a node with its neighbours
            return (A @ source + target) / (here + 1)[:, None] @ W + p[f"{name}.itself.bias"]
        if aggregation == "mean":
            scaled = A / here.clamp(min=1)[:, None]
        else:
            scaled = A / (here.clamp(min=1)[:, None] * there.clamp(min=1)).sqrt()
        return linear(target, f"{name}.itself") + scaled @ source @ W

    def normed(x: Tensor, name: str) -> Tensor:
        groups = x.view(len(x), 4, -1)
        spread = (groups.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        scaled = ((groups - groups.mean(2, keepdim=True)) / spread).view(x.shape)
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    u = leaky_relu(p["cell_embedding"]) + leaky_relu(linear(numbers, "batch_encoder"))
    history = [(u, leaky_relu(p["feature_embedding"]))]
    for layer in range(layers):
        name, inputs = f"convs.{layer}", history[-1]
        earlier = history[0] if initial_residual else history[-1 if residual == "add" else -2 if layer else 0]
        if residual == "cat" and layer > 0:
            inputs = tuple(torch.cat(pair, 1) for pair in zip(inputs, earlier, strict=True))
        u, v = inputs
        new_u = gelu(normed(message(M, v, u, f"{name}.messages.cell"), f"{name}.norms.cell"))
        new_v = torch.zeros_like(history[0][1])  # of the last layer nobody reads
        if layer < layers - 1:
            heard = normed(message(M.T, u, v, f"{name}.messages.feature"), f"{name}.norms.feature")
            related = normed(message(P, v, v, f"{name}.messages.pathway"), f"{name}.norms.pathway")
            new_v = gelu((1 - ALPHA) * heard + ALPHA * related)
        if residual == "add":
            new_u, new_v = earlier[0] + new_u, earlier[1] + new_v
        history.append((new_u, new_v))
    cells = [state[0] for state in history[1:]]
    if readout == "cat":
        return linear(torch.cat(cells, 1), "head.0")
    weights = p["layer_logits"].softmax(0)
    return linear(sum(w * h for w, h in zip(weights, cells, strict=True)), "head.0")


def network(graph: CellFeatureGraph, targets: int, **variant: object) -> ScMoGNN:
    torch.manual_seed(0)
    settings = dict(hidden=HIDDEN, layers=3, pathway=True, batch_features=9, alpha=ALPHA) | variant
    net = ScMoGNN(graph.matrix.shape[1], targets, **settings)
    for parameter in net.parameters():  # norms and biases start at 1 and 0, which would hide a mix-up
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.eval()


def dense(graph: CellFeatureGraph) -> tuple[Tensor, Tensor, Tensor]:
    """Cells x features, features x features and the batch features, float64."""
    tensors = graph.tensors()
    parts = (graph.matrix.toarray(), graph.pathway.toarray(), tensors.batch_features.numpy())
    return tuple(torch.from_numpy(part.astype(np.float64)) for part in parts)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_network_and_gradients_are_those_of_the_equations(tiny, variant) -> None:
    agrees(*tiny, variant)


def test_network_and_gradients_are_those_of_the_equations_on_real_cells(kit) -> None:
    agrees(*kit, VARIANTS[-1])


def agrees(graph: CellFeatureGraph, target: Tensor, variant: dict) -> None:
    net = network(graph, target.shape[1], **variant)
    p = {name: value.detach().double().requires_grad_() for name, value in net.named_parameters()}
    expected = published(p, *dense(graph), **variant)
    found = net(graph.tensors())
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()
    (found - target).square().mean().backward()
    (expected - target).square().mean().backward()
    for name, value in net.named_parameters():
        wanted = p[name].grad
        if wanted is None:  # features in the layer that nobody reads
            assert value.grad is None
            continue
        assert (value.grad - wanted).abs().max() < 1e-5 * wanted.abs().max() + 2e-6, name


@pytest.mark.parametrize("cells", ["tiny", "kit"])
def test_thirty_steps_of_adamw_stay_on_the_equations(cells, request) -> None:
    graph, target = request.getfixturevalue(cells)
    variant = {"residual": "cat", "readout": "cat", "aggregation": "mean", "initial_residual": True}
    net = network(graph, target.shape[1], **variant)
    p = {name: value.detach().double().requires_grad_() for name, value in net.named_parameters()}
    matrices, losses = dense(graph), ([], [])
    ways = (
        (lambda: net(graph.tensors()), net.parameters()),
        (lambda: published(p, *matrices, **variant), p.values()),
    )
    for (answer, parameters), history in zip(ways, losses, strict=True):
        optimiser = torch.optim.AdamW(list(parameters), lr=1e-3, weight_decay=1e-2)
        for _ in range(30):
            optimiser.zero_grad()
            loss = (answer() - target).square().mean()
            loss.backward()
            optimiser.step()
            history.append(loss.item())
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-6)
    assert losses[0][-1] < 0.7 * losses[0][0]
