"""The trained part of modality prediction: loss, optimiser and schedule, whole graph or cells by cells."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from scmobench.graph.cell_feature import CellFeatureGraph
from scmobench.models.prediction.networks import rmse
from scmobench.nn.dense import SeededDense
from scmobench.nn.scmognn import GraphTensors, ScMoGNN
from scmobench.training.fit import TrainerSettings, accelerator
from scmobench.training.resident import Resident
from scmobench.training.weight_averaging import MeanNetwork

if TYPE_CHECKING:
    from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction

DECAY, DECAY_EVERY = 0.99, 15  # the published schedule


class PredictModule(Resident):
    """Trains `ScMoGNN` on the RMSE over the training cells that are not held out.

    Parameters
    ----------
    graph : its first cells are those of ``target`` (training cells x targets); others are test cells.
    held_out : indices of the training cells that validate.
    whole : a step is the whole graph, whatever the batch names; otherwise a batch names its cells.
    settings : device and precision among them, from which the graph's operators follow (`operator_of`).

    Attributes
    ----------
    product : how products with the graph's matrix are made, for the record.
    """

    def __init__(
        self,
        network: ScMoGNN,
        graph: CellFeatureGraph,
        target: Tensor,
        held_out: np.ndarray,
        whole: bool,
        settings: "ScMoGNNPrediction",
    ) -> None:
        super().__init__()
        self.network, self.host_graph, self.whole, self.settings = network, graph, whole, settings
        decay, trainer = settings.weight_averaging, settings.trainer or TrainerSettings()
        self.mean_network = MeanNetwork(network, decay) if decay else None
        device, half = accelerator(trainer.accelerator), trainer.precision != "32-true"
        self.graph = graph.tensors(device=device, half=half, rows=not whole)
        self.product = self.graph.matrix.kind
        fitted = torch.from_numpy(np.setdiff1d(np.arange(len(target)), held_out))
        learned = torch.zeros(graph.matrix.shape[0]).index_fill_(0, fitted, 1)  # 1: this cell is learned from
        self.lowest = min(0.0, float(target.min()))
        self.register_buffer("target", target[fitted] if whole else target, persistent=False)
        self.register_buffer("held_target", target[torch.from_numpy(held_out)], persistent=False)
        self.register_buffer("fitted", fitted, persistent=False)
        self.register_buffer("held_out", torch.from_numpy(held_out), persistent=False)
        self.register_buffer("learned", learned, persistent=False)

    def steps_on_device(
        self, cells: Tensor, size: int, settings: TrainerSettings | None, drop_last: bool
    ) -> DataLoader | None:
        """Where a step can take its part of the graph on the device; else None."""
        dense = isinstance(self.graph.matrix, SeededDense)
        if not self.whole and (self.settings.feature_share < 1 or not dense):
            return None
        return super().steps_on_device(cells, size, settings, drop_last)

    def loss(self, cells: Tensor) -> Tensor:
        """RMSE of the cells among these that are learned from, all on the device; 0 where there are none."""
        if self.whole:
            return rmse(self.network(self.graph, self.fitted), self.target)
        matrix = self.graph.matrix.rows(cells)
        numbers = (self.graph.batch_features, self.graph.cell_inputs)
        graph = GraphTensors(matrix, self.graph.pathway, *(n if n is None else n[cells] for n in numbers))
        target = self.target.index_select(0, cells.clamp(max=len(self.target) - 1))
        learned = self.learned[cells]
        errors = torch.linalg.vector_norm(self.network(graph) - target, dim=-1) * learned
        root = torch.linalg.vector_norm(learned).clamp(min=1)  # of their number
        return torch.linalg.vector_norm(errors) / (root * math.sqrt(target.shape[1]))

    def loss_on_host(self, batch: Tensor) -> tuple[Tensor | None, int]:
        if self.whole:
            return self.loss(self.fitted), len(self.fitted)
        rows = self.learned[batch].nonzero()[:, 0]
        if len(rows) == 0:
            return None, 0
        features = self._some_features()
        pathway = self.graph.pathway if features is None else None
        graph = self.host_graph.sample(batch.cpu().numpy(), features).tensors(pathway, self.device)
        return rmse(self.network(graph, rows), self.target[batch[rows]]), len(rows)

    def _some_features(self) -> np.ndarray | None:
        if self.settings.feature_share == 1:
            return None
        edges = self.graph.matrix.column_counts
        number = max(1, round(self.settings.feature_share * len(edges)))
        drawn = torch.multinomial(edges.clamp(min=1e-6), number)
        return np.sort(drawn.cpu().numpy())

    def after_step(self) -> None:
        if self.mean_network is not None:
            self.mean_network.follow(self.network)

    def on_fit_end(self) -> None:
        super().on_fit_end()
        if self.device.type == "cuda":  # what lies there would be copied back
            self.graph = self.target = self.held_target = None

    def validation_step(self, _: Tensor, __: int) -> None:
        network = self.network if self.mean_network is None else self.mean_network.module
        predicted = network(self.graph, self.held_out).clamp(min=self.lowest)
        self.log("validation", rmse(predicted, self.held_target), batch_size=1)

    def configure_optimizers(self) -> dict[str, Any]:
        start, rate = self.settings.decay_start, self.settings.learning_rate
        decay = self.settings.weight_decay
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=decay, fused=True)

        def factor(epoch: int) -> float:
            return DECAY ** max(0, epoch // DECAY_EVERY - start // DECAY_EVERY)

        return {"optimizer": optimiser, "lr_scheduler": torch.optim.lr_scheduler.LambdaLR(optimiser, factor)}

    def release(self) -> None:
        """Keep the network that validated; forget graph and targets, as large as the data."""
        if self.mean_network is not None:
            self.network, self.mean_network = self.mean_network.module, None
        self.host_graph = self.graph = self.target = self.held_target = None
