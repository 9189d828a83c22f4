"""The weighted cell-feature graph, which training takes as sparse operators."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch

from scmobench.data.preprocess import as_csr
from scmobench.graph.batch_features import batch_features
from scmobench.graph.operator import compressed_operator, operator_of
from scmobench.nn.scmognn import GraphTensors
from scmobench.nn.sparse import Operator


@dataclass(frozen=True)
class CellFeatureGraph:
    """Cells and features as nodes; an edge for each value that is not zero, with the value as its weight.

    A = [[0, M], [Mᵀ, P]] (Wen et al. 2022, section 4.1).
    """

    matrix: sp.csr_matrix  # M, cells x features, float32 without stored zeros
    pathway: sp.csr_matrix | None = None  # P, features x features; row i: the in-neighbours of feature i
    batch_features: np.ndarray | None = None  # cells x 9
    cell_inputs: np.ndarray | None = None  # cells x components that describe each cell (SVD)
    features: np.ndarray | None = None  # places of these features in the graph that `sample` took; None: all

    @classmethod
    def build(
        cls,
        X: sp.spmatrix | np.ndarray,
        *,
        pathway: sp.csr_matrix | None = None,
        batches: np.ndarray | None = None,
        cell_inputs: np.ndarray | None = None,
    ) -> "CellFeatureGraph":
        """The graph of ``X`` (cells x features); with ``batches`` its batch features too."""
        matrix = as_csr(X)
        numbers = None if batches is None else batch_features(matrix, batches)
        return cls(matrix, pathway, numbers, cell_inputs)

    def tensors(
        self, pathway: Operator | None = None, device: torch.device | str = "cpu", **choice: bool
    ) -> GraphTensors:
        """What the network takes, on the device.

        ``pathway``: the operator of P where it is made already. ``choice``: as of `operator_of`.
        """
        if pathway is None and self.pathway is not None:
            pathway = compressed_operator(self.pathway, device)
        return GraphTensors(
            operator_of(self.matrix, device, **choice),
            pathway,
            _tensor(self.batch_features, device),
            _tensor(self.cell_inputs, device),
            None if self.features is None else torch.from_numpy(self.features).to(device),
        )

    def sample(self, cells: np.ndarray, features: np.ndarray | None = None) -> "CellFeatureGraph":
        """The graph among some cells and (None: all) features, both given by their indices."""
        described = {name: getattr(self, name) for name in ("batch_features", "cell_inputs")}
        parts = {name: None if rows is None else rows[cells] for name, rows in described.items()}
        part = replace(self, matrix=self.matrix[cells], **parts)
        if features is None:
            return part
        return replace(
            part,
            matrix=part.matrix[:, features],
            pathway=None if self.pathway is None else self.pathway[features][:, features],
            features=features,
        )


def _tensor(array: np.ndarray | None, device: torch.device | str) -> torch.Tensor | None:
    if array is None:
        return None
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
