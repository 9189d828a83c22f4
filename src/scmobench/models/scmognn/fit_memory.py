"""The memory that a fit of scMoGNN for prediction needs, and the settings that need less."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scmobench.data.preprocess import as_csr
from scmobench.graph.operator import DENSE_ABOVE
from scmobench.graph.pathway import MOST_CELLS
from scmobench.machine import memory
from scmobench.types import PredictionData

if TYPE_CHECKING:
    from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction

FLOAT = 4e-9  # GB of a float32
BATCH = 64  # cells in a step that the advice names
LEAST = 256  # features; the advice names no fewer


@dataclass(frozen=True)
class FitMemory:
    """What decides the memory of a fit of `ScMoGNNPrediction`."""

    settings: "ScMoGNNPrediction"
    train: int  # cells, as the two below
    held_out: int
    test: int
    targets: int
    edges: np.ndarray  # of each input feature, most first
    features: int  # how many of them are kept; `advice` tries lower numbers
    batch_size: int | None  # cells in a step, which `advice` may lower too; None: the whole graph

    @classmethod
    def of(cls, data: PredictionData, held_out: int, settings: "ScMoGNNPrediction") -> "FitMemory":
        """The sizes of a fit to the data with so many cells held out."""
        sides = [data.train_mod1] + ([] if data.test_mod1 is None else [data.test_mod1])
        edges = sum(as_csr(side.X).getnnz(axis=0) for side in sides)
        return cls(
            settings=settings,
            train=data.train_mod1.n_obs,
            held_out=held_out,
            test=sum(side.n_obs for side in sides[1:]),
            targets=data.train_mod2.n_vars,
            edges=np.sort(edges)[::-1],
            features=min(settings.n_top_features or len(edges), len(edges)),
            batch_size=settings.batch_size,
        )

    @property
    def gb(self) -> float:
        """Highest memory beside what the process holds already, in GB (10⁹ bytes).

        The constants follow measured peaks of fits on simulated cells. An edge takes 8 bytes in the matrix
        and 20 in the operator; a matrix above `DENSE_ABOVE` 5 bytes an entry.
        """
        layers, blocks = self.settings.layers, self.settings.embedding_blocks
        cells, edges = self.train + self.test, float(self.edges[: self.features].sum())
        entries = float(cells * self.features)
        dense = edges > DENSE_ABOVE["cpu"] * entries
        graph = 8e-9 * edges + (5e-9 * entries if dense else 20e-9 * edges)
        if not self.batch_size and self.settings.edge_dropout > 0:  # masked values, and a mask for each layer
            graph += 1e-9 * (entries if dense else edges) * (7 + layers)
        step = min(self.batch_size or cells, cells)
        if step == cells:
            states = (16 * layers + 4 * blocks) * (self.features + cells)
        else:  # what a step frees stays with the process, and evaluations take the whole graph
            states = (layers + blocks) * max(24 * (self.features + step), 8 * (self.features + cells))
        answers = self.held_out if self.batch_size else self.train - self.held_out
        targets = FLOAT * self.targets * max(self.train + 4 * answers, 2 * self.test)
        needed = graph + FLOAT * self.settings.hidden * states + targets
        if self.settings.pathway == "learned":
            needed = max(needed, 28e-9 * min(self.train, MOST_CELLS) * self.features)
        return needed

    def check(self) -> None:
        """Refuse a fit that this machine cannot hold (ValueError), and name settings that it can hold."""
        what = f"{self.train} training cells and {self.test} test cells x {self.targets} targets, "
        what += f"{self.edges[: self.features].sum():.3g} edges of {self.features} features"
        memory.check_memory(self.gb, what, self.advice)

    def advice(self) -> str:
        """The first settings that fit: steps of some cells, then half, a quarter, ... of the features."""
        smaller, given = self, "set"
        if not self.batch_size and (steps := replace(self, batch_size=BATCH)).gb < self.gb:
            smaller, given = steps, f"set model.predict_modality.batch_size={BATCH}"
            if memory.fits(smaller.gb):
                return given
        while smaller.features >= 2 * LEAST:
            smaller = replace(smaller, features=smaller.features // 2)
            if memory.fits(smaller.gb):
                return f"{given} model.predict_modality.n_top_features={smaller.features}"
        return "use fewer cells, targets or hidden numbers, or a machine with more memory"
