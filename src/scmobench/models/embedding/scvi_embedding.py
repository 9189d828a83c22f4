"""Joint embedding by the variational autoencoders of scvi-tools: totalVI and MultiVI."""

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scmobench.data.preprocess import as_csr, highly_variable
from scmobench.models.embedding.placed_cells import PlacedCells, load
from scmobench.training.fit import TrainerSettings
from scmobench.training.surroundings import alone, numpy_seed_kept, quiet, seeded, threads_kept
from scmobench.types import EmbeddingData, feature_type


@dataclass(kw_only=True)
class SCVIEmbedding(PlacedCells):
    """A generative model of the raw counts of both modalities, given the batch; its latent means.

    Trained on all cells without labels (transductive), as its authors do; scvi-tools holds out a tenth
    of them to stop early. Needs the extra ``scvi`` and raw counts of both modalities.
    """

    modality: ClassVar[str]  # beside GEX
    latent: int  # dimensions of the embedding
    top_genes: int  # most variable genes (`seurat_v3` on counts), at most all
    max_epochs: int
    learning_rate: float
    batch_size: int
    max_steps: int | None = None  # ceiling on batches: ten thousand cells end in minutes on a laptop
    trainer: TrainerSettings | None = None

    def __post_init__(self) -> None:
        self.trainer = self.trainer or TrainerSettings()

    def fit(self, data: EmbeddingData, seed: int) -> "SCVIEmbedding":
        scvi = load("scvi", "scvi")
        found = {feature_type(data.mod1), feature_type(data.mod2)}
        if found != {"GEX", self.modality}:
            raise ValueError(f"{type(self).__name__} embeds GEX and {self.modality}, found {sorted(found)}")
        size = min(self.batch_size, data.mod1.n_obs)
        self.notes: list[str] = []
        self.limit = self._epochs(data.mod1.n_obs, size)
        with _contained(scvi, seed):
            self.vae = self._model(scvi, data)
            self.vae.train(
                max_epochs=self.limit,
                lr=self.learning_rate,
                batch_size=size,
                accelerator=self.trainer.accelerator,
                early_stopping=True,
                # one cell alone has no batch statistics
                datasplitter_kwargs={"drop_last": round(0.9 * data.mod1.n_obs) % size == 1},
                enable_progress_bar=False,
                enable_checkpointing=False,
                plugins=[alone()],
            )
            self.embedding = np.asarray(self.vae.get_latent_representation(), dtype=np.float32)
        self.cells = data.mod1.obs_names
        self.versions = scvi.__version__
        return self

    def _epochs(self, cells: int, size: int) -> int:
        steps = math.ceil(0.9 * cells / size)
        by_steps = None if self.max_steps is None else max(1, self.max_steps // steps)
        limits = (self.max_epochs, by_steps, self.trainer.max_epochs)
        return min(limit for limit in limits if limit is not None)

    def report(self) -> dict[str, Any]:
        history = self.vae.history
        epochs = len(history["elbo_validation"])
        notes = [f"scvi-tools {self.versions}", *self.notes]
        if epochs == self.limit < self.max_epochs:
            notes.append(f"cut short: {epochs} of {self.max_epochs} epochs (max_steps)")
        return {
            "validation": float(history["elbo_validation"].iloc[:, 0].min()),
            "parameters": sum(p.numel() for p in self.vae.module.parameters()),
            "epochs": epochs,
            "device": self.vae.device.type,
            "notes": "; ".join(notes),
        }

    @abstractmethod
    def _model(self, scvi: ModuleType, data: EmbeddingData) -> Any:
        """The model of scvi-tools, set up with the data."""

    def _genes(self, data: EmbeddingData) -> AnnData:
        """Counts of the variable genes, with the batch of each cell."""
        values = _counts(data.mod1)
        with threads_kept():
            chosen = highly_variable(values, self.top_genes, "seurat_v3")
        return _table(values[:, chosen], data, data.mod1.var_names[chosen])


class TotalVI(SCVIEmbedding):
    """totalVI: negative-binomial genes, and proteins as a mixture of background and foreground.

    Source: Gayoso et al. 2021, Nature Methods 18:272, by scvi-tools with its defaults and the 4,000
    most variable genes of its tutorial. Deviations: the prior of the background is not estimated per
    batch from the cells (that needs many in each batch); training ends after ``max_steps`` batches.
    """

    modality = "ADT"

    def _model(self, scvi: ModuleType, data: EmbeddingData) -> Any:
        adata = self._genes(data)
        adata.obsm["proteins"] = pd.DataFrame(
            _counts(data.mod2).toarray(), index=adata.obs_names, columns=data.mod2.var_names
        )
        kind = scvi.model.TOTALVI
        kind.setup_anndata(adata, protein_expression_obsm_key="proteins", batch_key="batch")
        return kind(adata, n_latent=self.latent, empirical_protein_background_prior=False)


@dataclass(kw_only=True)
class MultiVI(SCVIEmbedding):
    """MultiVI: zero-inflated negative-binomial genes and Bernoulli peaks, from one cell state.

    Source: Ashuach et al. 2023, Nature Methods 20:1222, by scvi-tools with its defaults; all cells have
    both modalities, and the latent state is the mean of theirs. Deviations: 20 latent dimensions;
    training ends after ``max_steps`` batches.
    """

    modality = "ATAC"
    peak_share: float = 0.03  # of the cells in which a peak must be open

    def _model(self, scvi: ModuleType, data: EmbeddingData) -> Any:
        from mudata import MuData

        peaks = _counts(data.mod2)
        kept = peaks.getnnz(axis=0) >= self.peak_share * peaks.shape[0]
        if not kept.any():
            self.notes.append(f"no peak is open in {self.peak_share:.0%} of the cells: all are taken")
            kept[:] = True
        atac = _table(peaks[:, kept], data, data.mod2.var_names[kept])
        cells = MuData({"rna": self._genes(data), "atac": atac})
        kind = scvi.model.MULTIVI
        kind.setup_mudata(
            cells,
            batch_key="batch",
            modalities={"rna_layer": "rna", "atac_layer": "atac", "batch_key": "rna"},
        )
        return kind(
            cells,
            n_genes=cells["rna"].n_vars,
            n_regions=int(kept.sum()),
            n_latent=self.latent,
            fully_paired=True,
        )


def _counts(modality: AnnData) -> sp.csr_matrix:
    if "counts" not in modality.layers:
        raise ValueError(
            f'expected raw counts of {feature_type(modality)} in layers["counts"], found none: '
            "totalVI and MultiVI model counts"
        )
    return as_csr(modality.layers["counts"])


def _table(values: sp.csr_matrix, data: EmbeddingData, names: pd.Index) -> AnnData:
    obs = pd.DataFrame({"batch": data.mod1.obs["batch"].astype(str).to_numpy()}, index=data.mod1.obs_names)
    return AnnData(values, obs=obs, var=pd.DataFrame(index=names))


@contextlib.contextmanager
def _contained(scvi: ModuleType, seed: int) -> Iterator[None]:
    """scvi-tools seeds numpy's and torch's global generators: they are put back, and its remarks hidden."""
    before = scvi.settings.verbosity
    try:
        with numpy_seed_kept(), seeded(seed), quiet(), threads_kept():
            scvi.settings.verbosity = 40
            scvi.settings.seed = seed
            yield
    finally:
        scvi.settings.verbosity = before
