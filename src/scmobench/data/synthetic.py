"""Simulated CITE-seq and Multiome: a paired dataset of any size whose truth is known."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from scmobench.data.simulated_counts import gene_counts, peak_counts, protein_counts
from scmobench.data.simulation import Cells, draw_cells, draw_programs, gene_names
from scmobench.data.source import Source
from scmobench.types import Paired

PHASE_FROM = 0.3  # cycle activity from which a cell counts as being in S or G2M
PEAK_LENGTH = 500  # base pairs


@dataclass(kw_only=True)
class Synthetic(Source):
    """Cells drawn from the model that `scmobench.data.simulation` describes.

    Notes
    -----
    ``S_score`` and ``G2M_score`` are the planted activities, not scores estimated from counts.
    ``pseudotime_order_*`` are each modality's ordering of lineage A: the planted time with a little
    noise, ranked to 0..1; NaN in the other lineages, as in the competition's files.
    """

    mod2: Literal["adt", "atac"] = "adt"  # CITE-seq or Multiome
    n_cells: int = 1200
    n_genes: int = 600
    n_mod2: int = 40  # proteins or peaks
    n_cell_types: int = 8  # planted, as the batches and the continuous states
    n_batches: int = 3
    n_states: int = 3
    # same seed, same cells. Genes, cells and mod2 draw from streams of their own, so another number of
    # proteins leaves the genes as they are
    seed: int = 0
    umis: float = 0.0  # median gene counts of a cell; 0 takes 0.8 a gene
    fragments: float = 0.12  # median fragments in a peak of a cell, before programs open or close it
    program_strength: float = 1.2  # typical log-fold change of a marker gene
    # sd of the log capture factors per batch and feature; 0 leaves depth and composition
    batch_effect: float = 0.15
    dropout_midpoint: float = -3.0  # ln mean count at which half of a gene's counts are lost
    linked: float = 0.8  # share of proteins made from marker genes, or of peaks that regulate a gene

    def read(self) -> Paired:
        """Draw the cells and their counts."""
        if self.mod2 == "adt" and self.n_mod2 > self.n_genes:
            raise ValueError(f"{self.name}: {self.n_mod2} proteins need as many genes, found {self.n_genes}")
        streams = np.random.SeedSequence(self.seed).spawn(5)
        cell_rng, program_rng, gene_rng, link_rng, mod2_rng = map(np.random.default_rng, streams)
        cells = draw_cells(self.n_cells, self.n_cell_types, self.n_batches, self.n_states, cell_rng)
        names, group = gene_names(self.n_genes)
        programs = draw_programs(self.n_cell_types, self.n_states, group, self.program_strength, program_rng)
        umis = self.umis or 0.8 * self.n_genes
        X = gene_counts(cells, programs, umis, self.batch_effect, self.dropout_midpoint, gene_rng)
        obs = self._annotation(cells, link_rng)
        var = pd.DataFrame({"feature_types": "GEX"}, index=names)
        gex = AnnData(X=X, obs=obs[[]].copy(), var=var)
        if self.mod2 == "adt":
            genes = self._encoding_genes(programs, link_rng)
            X = protein_counts(cells, programs, genes, self.batch_effect, mod2_rng)
            var = pd.DataFrame({"feature_types": "ADT"}, index=[names[g] for g in genes])
        else:
            genes, var = self._peaks(names, link_rng)
            X = peak_counts(cells, programs, genes, self.fragments, self.batch_effect, mod2_rng)
        mod2 = AnnData(X=X, obs=obs[[]].copy(), var=var)
        return self.pair(gex, mod2, obs, {"GEX": "counts", self.mod2.upper(): "counts"}, source="simulated")

    def _annotation(self, cells: Cells, rng: np.random.Generator) -> pd.DataFrame:
        n = len(cells.type)
        batch = np.array([f"batch{b + 1}" for b in range(self.n_batches)])[cells.batch]
        s, g2m = cells.cycle.T
        obs = pd.DataFrame(
            {
                "batch": batch,
                "cell_type": pd.Categorical(np.array(cells.type_names)[cells.type]),
                "phase": pd.Categorical(np.select([s > PHASE_FROM, g2m > PHASE_FROM], ["S", "G2M"], "G1")),
                "S_score": s,
                "G2M_score": g2m,
            },
            index=[f"cell{i:0{len(str(n))}d}-{b}" for i, b in enumerate(batch)],
        )
        for kind in ("GEX", self.mod2.upper()):
            noisy = pd.Series(cells.pseudotime + rng.normal(0, 0.03, n), index=obs.index)
            obs[f"pseudotime_order_{kind}"] = noisy.rank(pct=True)
        return obs

    def _encoding_genes(self, programs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A different gene for every protein, markers first up to the share `linked`."""
        profiles = programs[: self.n_cell_types + 1]
        marker = profiles.max(0) > 0.5 * self.program_strength
        order = rng.permutation(programs.shape[1])
        markers = order[marker[order]][: round(self.linked * self.n_mod2)]
        others = order[~np.isin(order, markers)]
        return np.sort(np.concatenate([markers, others[: self.n_mod2 - len(markers)]]))

    def _peaks(self, names: list[str], rng: np.random.Generator) -> tuple[np.ndarray, pd.DataFrame]:
        """The gene that each peak regulates (-1: none), and peaks placed within 50 kb of genes."""
        near = np.sort(rng.integers(0, self.n_genes, self.n_mod2))
        chromosome = 1 + near * 22 // self.n_genes
        start = 1_000_000 + (near % (self.n_genes // 22 + 1)) * 200_000
        # A grid of 1 kb steps keeps peaks of one gene apart, whatever their number.
        place = np.arange(self.n_mod2) - np.searchsorted(near, near)
        start = start + place * 1_000 + rng.integers(0, 400, self.n_mod2)
        genes = np.where(rng.random(self.n_mod2) < self.linked, near, -1)
        place = {"chrom": [f"chr{c}" for c in chromosome], "start": start, "end": start + PEAK_LENGTH}
        regulates = np.where(genes >= 0, np.array(names)[genes], "")
        var = pd.DataFrame({"feature_types": "ATAC", **place, "regulates": regulates})
        return genes, var.set_axis([f"{c}:{s}-{e}" for c, s, e in zip(*place.values(), strict=True)])
