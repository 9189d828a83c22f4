"""Joint embedding by a small autoencoder that reads both modalities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData
from torch import Tensor, nn

from scmobench.data.preprocess import as_csr
from scmobench.models.base import Model
from scmobench.models.prediction.networks import Training, apply_network, fit_network
from scmobench.nn.mlp import MLP
from scmobench.nn.noise import Dropout
from scmobench.training.surroundings import seeded, threads_kept
from scmobench.training.validation import Kind, validation_cells
from scmobench.types import EmbeddingData, feature_type

MIN_BATCH = 20  # cells; dispersions within a smaller batch are noise


class Parallel(nn.Module):
    """Networks side by side: each reads its part of the features, or all of them without ``sizes``."""

    def __init__(self, networks: Sequence[nn.Module], sizes: Sequence[int] | None = None) -> None:
        super().__init__()
        self.networks, self.sizes = nn.ModuleList(networks), sizes

    def forward(self, x: Tensor) -> Tensor:
        """Cells x features → the outputs of all networks, concatenated."""
        parts = [x] * len(self.networks) if self.sizes is None else x.split(list(self.sizes), dim=1)
        return torch.cat([network(part) for network, part in zip(self.networks, parts, strict=True)], dim=1)


class TwinAutoencoder(nn.Module):
    r"""Dropout → Linear → ReLU for each modality, concatenated → Linear; and the same layers in reverse.

    The output of modality m with :math:`k_m` of all :math:`k` features is multiplied by
    :math:`\sqrt{k / k_m}`, and so are its targets: the squared error over all features is then
    the sum of the two modalities' mean squared errors, for any sizes.

    Parameters
    ----------
    sizes : features of mod1 and mod2.
    hidden, latent : width of each modality's layer, dimensions of the embedding.
    """

    def __init__(self, sizes: tuple[int, int], hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        arms = [nn.Sequential(Dropout(dropout), nn.Linear(size, hidden), nn.ReLU()) for size in sizes]
        self.encoder = nn.Sequential(Parallel(arms, sizes), nn.Linear(2 * hidden, latent))
        back = nn.Linear(latent, 2 * hidden), nn.ReLU()
        ends = [MLP(2 * hidden, size, output_activation="relu") for size in sizes]
        self.decoder = nn.Sequential(*back, Parallel(ends))
        self.register_buffer("scale", torch.from_numpy(feature_scale(sizes)))

    def forward(self, x: Tensor) -> Tensor:
        """Cells x all features → the same, scaled as the targets."""
        return self.decoder(self.encoder(x)) * self.scale


def feature_scale(sizes: tuple[int, int]) -> np.ndarray:
    """Square root of all features over those of the modality, one entry a feature, float32."""
    return np.concatenate([np.full(k, np.sqrt(sum(sizes) / k), np.float32) for k in sizes])


@dataclass(kw_only=True)
class LSLAutoencoder(Training, Model):
    """Autoencoder over variable genes and common peaks (or all proteins); its bottleneck is the embedding.

    Source: LSL_AE, Living Systems Lab, first of the competition's entries without pre-training
    (Lance et al. 2022, PMLR 176:162). It reads the genes that vary within batches (scanpy, Seurat's
    dispersions), and the peaks that are open in a share of the cells. Deviations:

    - Dispersions come from normalised values (the source takes raw counts for logarithms).
    - The best validation epoch is kept (the source: the last).
    - Validation cells are drawn at random (the source: the last of the file).
    - The penalty that should keep encoder weights orthogonal is left out.
    """

    transductive = True
    peak_share: float = 0.03  # of the cells in which a peak must be open
    min_genes: int = 200  # taken by dispersion if fewer are called variable
    hidden: int = 64  # width of each modality's layer
    latent: int = 64
    dropout: float = 0.1
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_epochs: int = 600
    patience: int | None = 20
    validation: Kind = "random"  # or `batch_separated`, see `validation_cells`
    validation_share: float = 0.2  # of all cells

    def fit(self, data: EmbeddingData, seed: int) -> "LSLAutoencoder":
        self.notes: list[str] = []
        self.features = [self._choose(modality) for modality in (data.mod1, data.mod2)]
        sizes = tuple(len(chosen) for chosen in self.features)
        inputs = self._inputs(data)
        targets = inputs @ sp.diags(feature_scale(sizes), format="csr")
        held_out = validation_cells(data.mod1.obs, self.validation, self.validation_share, seed)
        with seeded(seed):
            self.module = TwinAutoencoder(sizes, self.hidden, self.latent, self.dropout)
        self.fitted = fit_network(self.module, inputs, targets, self, held_out=held_out, seed=seed)
        return self

    def predict(self, data: EmbeddingData) -> np.ndarray:
        """All cells x dimensions, float32."""
        return apply_network(self.module.encoder, self._inputs(data))

    def report(self) -> dict[str, Any]:
        summary = self.fitted.summary(self.module, self.notes)
        return summary | {"features": [len(chosen) for chosen in self.features]}

    def _inputs(self, data: EmbeddingData) -> sp.csr_matrix:
        sides = zip((data.mod1, data.mod2), self.features, strict=True)
        return sp.hstack([as_csr(side.X)[:, chosen] for side, chosen in sides], format="csr")

    def _choose(self, modality: AnnData) -> np.ndarray:
        """Columns that the network reads: variable genes, common peaks, or all proteins."""
        kind, X = feature_type(modality), as_csr(modality.X)
        if kind == "GEX":
            return self._variable_genes(X, modality.obs["batch"])
        if kind == "ATAC":
            chosen = np.flatnonzero(X.getnnz(axis=0) >= self.peak_share * X.shape[0])
            if len(chosen) >= 2:
                return chosen
            share = f"{self.peak_share:.0%} of the cells"
            self.notes.append(f"{len(chosen)} peaks open in {share}: all are taken")
        return np.arange(X.shape[1])

    def _variable_genes(self, X: sp.csr_matrix, batch: pd.Series) -> np.ndarray:
        """Genes that scanpy calls variable, within batches if each has enough cells."""
        import scanpy as sc

        names = batch.index.astype(str)
        adata = AnnData(X, obs=pd.DataFrame({"batch": pd.Categorical(batch.astype(str))}, index=names))
        few = adata.obs["batch"].value_counts().min() < MIN_BATCH
        if few:
            self.notes.append("a batch is too small to find variable genes in: batches are ignored")
        with threads_kept():
            table = sc.pp.highly_variable_genes(adata, batch_key=None if few else "batch", inplace=False)
        table = table.loc[adata.var_names]  # with batches scanpy sorts the genes by name
        chosen, least = np.flatnonzero(table["highly_variable"]), min(self.min_genes, X.shape[1])
        if len(chosen) >= least:
            return chosen
        self.notes.append(f"{len(chosen)} variable genes: the {least} most dispersed are taken")
        order = np.argsort(-table["dispersions_norm"].fillna(-np.inf).to_numpy(), kind="stable")
        return np.sort(order[: self.min_genes])
