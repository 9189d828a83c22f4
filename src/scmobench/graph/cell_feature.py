"""The weighted cell-feature graph: as sparse operators for training and as PyG's `HeteroData`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import HeteroData

from scmobench.data.preprocess import as_csr
from scmobench.graph.batch_features import batch_features
from scmobench.graph.operator import compressed_pair, filled
from scmobench.nn.scmognn import GraphTensors
from scmobench.nn.sparse import DENSE_ABOVE, DenseOperator, Operator, SparseOperator


@dataclass(frozen=True)
class CellFeatureGraph:
    """Cells and features as nodes; an edge where a cell's value is not zero, weighted by it.

    A = [[0, M], [Mᵀ, P]] (Wen et al. 2022, section 4.1).

    Attributes
    ----------
    matrix : M, cells x features, CSR float32 without stored zeros.
    pathway : P, features x features, row i the in-neighbours of feature i; or None.
    batch_features : cells x 9, or None.
    cell_inputs : cells x components of a first description (SVD), or None.
    features : which features of a larger graph these are; None for all.
    """

    matrix: sp.csr_matrix
    pathway: sp.csr_matrix | None = None
    batch_features: np.ndarray | None = None
    cell_inputs: np.ndarray | None = None
    features: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        X: sp.spmatrix | np.ndarray,
        *,
        pathway: sp.csr_matrix | None = None,
        batches: np.ndarray | None = None,
        cell_inputs: np.ndarray | None = None,
    ) -> CellFeatureGraph:
        """The graph of ``X`` (cells x features); with ``batches`` its batch features too.

        Raises
        ------
        ValueError : P does not fit the features.
        """
        matrix = as_csr(X)
        if pathway is not None and pathway.shape != (matrix.shape[1],) * 2:
            raise ValueError(
                f"expected feature-feature edges among {matrix.shape[1]} features, found {pathway.shape}"
            )
        numbers = None if batches is None else batch_features(matrix, batches)
        return cls(matrix, pathway, numbers, cell_inputs)

    def tensors(self, pathway: Operator | None = None) -> GraphTensors:
        """What the network takes. M becomes a dense operator where it is mostly filled.

        ``pathway``: the operator of P where it is made already.
        """
        matrix: Operator
        if filled(self.matrix) > DENSE_ABOVE:
            matrix = DenseOperator(torch.from_numpy(self.matrix.toarray()))
        else:
            matrix = SparseOperator(*compressed_pair(self.matrix))
        if pathway is None and self.pathway is not None:
            pathway = SparseOperator(*compressed_pair(self.pathway))
        return GraphTensors(
            matrix,
            pathway,
            _tensor(self.batch_features),
            _tensor(self.cell_inputs),
            None if self.features is None else torch.from_numpy(self.features),
        )

    def sample(self, cells: np.ndarray, features: np.ndarray | None = None) -> CellFeatureGraph:
        """The graph among some cells and (None: all) features, both given by their indices."""
        part = replace(
            self,
            matrix=self.matrix[cells],
            batch_features=None if self.batch_features is None else self.batch_features[cells],
            cell_inputs=None if self.cell_inputs is None else self.cell_inputs[cells],
        )
        if features is None:
            return part
        return replace(
            part,
            matrix=part.matrix[:, features],
            pathway=None if self.pathway is None else self.pathway[features][:, features],
            features=np.asarray(features if self.features is None else self.features[features]),
        )

    def hetero(self) -> HeteroData:
        """The same graph for PyG: nodes ``cell`` and ``feature``; relations ``cell, expresses,
        feature``, its reverse ``feature, describes, cell``, and ``feature, pathway, feature``; each
        edge with its ``edge_weight``. 64-bit indices in coordinate form: for looking and for other
        PyG models, not for training here.
        """
        data = HeteroData()
        n_cells, n_features = self.matrix.shape
        data["cell"].num_nodes, data["feature"].num_nodes = n_cells, n_features
        if self.batch_features is not None:
            data["cell"].batch_features = _tensor(self.batch_features)
        edges = self.matrix.tocoo()
        index = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64))
        weight = torch.from_numpy(edges.data)
        data["cell", "expresses", "feature"].edge_index = index
        data["cell", "expresses", "feature"].edge_weight = weight
        data["feature", "describes", "cell"].edge_index = index.flip(0)
        data["feature", "describes", "cell"].edge_weight = weight
        if self.pathway is not None:
            links = self.pathway.tocoo()  # row: the feature that hears, column: the one heard
            relation = data["feature", "pathway", "feature"]
            relation.edge_index = torch.from_numpy(np.stack([links.col, links.row]).astype(np.int64))
            relation.edge_weight = torch.from_numpy(links.data)
        return data


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
