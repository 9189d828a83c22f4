"""Joint embedding by the factors of a group factor analysis of both modalities."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from anndata import AnnData

from scmobench.data.preprocess import TFIDF, as_csr, highly_variable, log1p
from scmobench.models.embedding.placed_cells import PlacedCells, load
from scmobench.training.forecast import announce
from scmobench.training.surroundings import numpy_seed_kept
from scmobench.types import EmbeddingData, feature_type

SECONDS = 1.2e-8  # of an iteration, for a cell, feature and factor (measured on two cores)
COPIES = 8  # of the dense float32 input that mofapy2 holds at its peak (measured)


@dataclass(kw_only=True)
class MOFA(PlacedCells):
    """Factors that explain both modalities together, with sparse weights in each.

    MOFA+ fits Y_m ≈ Z W_mᵀ with spike-and-slab weights by variational inference; Z, cells x factors,
    is the embedding. Source: Argelaguet et al. 2020, Genome Biology 21:111, by mofapy2. As its authors
    advise, it reads the most variable features with a Gaussian likelihood of normalised values, each modality
    scaled to unit variance. Peaks are read as log(1 + 10⁴ · TF-IDF). Batches are not used: MOFA's groups
    would centre each batch separately. Deviation from mofapy2's defaults: at most 150 iterations, not 1,000,
    and modalities are scaled.
    """

    factors: int = 10  # at most 100, and fewer than cells and features
    # modality -> number of most variable features; all of a modality that is not named
    top_features: Mapping[str, int] = field(default_factory=lambda: {"GEX": 2000, "ATAC": 2000})
    scale_modalities: bool = True  # to unit variance
    max_iterations: int = 150
    convergence: Literal["fast", "medium", "slow"] = "fast"  # when the bound counts as settled
    max_memory_gb: float = 8.0  # refuse data that would need more

    def fit(self, data: EmbeddingData, seed: int) -> "MOFA":
        entry_point = load("mofapy2.run.entry_point", "rivals").entry_point
        self._check_memory(data)
        views = [self._view(modality) for modality in (data.mod1, data.mod2)]
        cells, features = len(views[0]), sum(view.shape[1] for view in views)
        seconds = SECONDS * cells * features * self.factors * self.max_iterations
        announce(seconds, f"up to {self.max_iterations} iterations on {cells} cells", "lower top_features")
        printed = io.StringIO()
        # a factor that is switched off for certain has probability 0, and mofapy2 takes its logarithm
        quiet = np.errstate(divide="ignore", invalid="ignore")
        with numpy_seed_kept(), contextlib.redirect_stdout(printed), quiet:
            model = entry_point()
            model.set_data_options(scale_views=self.scale_modalities, use_float32=True)
            model.set_data_matrix([[view] for view in views], likelihoods=["gaussian"] * 2)
            model.set_model_options(factors=min(self.factors, cells - 1, features - 1))
            training = {"iter": self.max_iterations, "convergence_mode": self.convergence}
            model.set_train_options(**training, seed=seed, quiet=True)
            model.build()
            try:
                model.run()
            except SystemExit as stopped:
                raise ValueError(f"MOFA gave up: {printed.getvalue().strip()[-200:]}") from stopped
        self.embedding = np.asarray(model.model.nodes["Z"].getExpectation(), dtype=np.float32)
        self.cells = data.mod1.obs_names
        self.weights = self.embedding.shape[1] * features
        self.iterations = int(np.count_nonzero(model.model.getTrainingStats()["time"]))
        return self

    def report(self) -> dict[str, Any]:
        return {"parameters": self.weights, "epochs": self.iterations}

    def _view(self, modality: AnnData) -> np.ndarray:
        """Cells x chosen features, dense."""
        kind, values = feature_type(modality), as_csr(modality.X)
        if kind == "ATAC":
            values = TFIDF().fit(values).transform(values)
            values = log1p(1e4 * values)
        if kind in self.top_features:
            values = values[:, highly_variable(values, self.top_features[kind])]
        dense = values.toarray()
        return dense[:, dense.std(axis=0) > 0]

    def _check_memory(self, data: EmbeddingData) -> None:
        sides = (data.mod1, data.mod2)
        width = sum(min(self.top_features.get(feature_type(m), m.n_vars), m.n_vars) for m in sides)
        need = COPIES * 4 * data.mod1.n_obs * width / 1e9
        if need > self.max_memory_gb:
            raise ValueError(
                f"MOFA would need about {need:.0f} GB for {data.mod1.n_obs} cells x {width} features, "
                f"more than max_memory_gb={self.max_memory_gb:g}: lower top_features, or raise the limit"
            )
