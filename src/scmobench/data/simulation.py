"""Simulated cells: their true state, and the counts that a sequencer would have read.

A cell is a position in a small latent space. Genes, proteins and peaks are read-outs of that position, so
what one modality tells about the other is known by construction.

1. *Cells.* Types are grouped in lineages: a lineage has marker genes, and each of its types has more of its
   own. The first lineage (A) is a differentiation: pseudotime t runs from 0 to 1 along it and its programs
   blend linearly from one stage to the next, as along the paths of Splatter (Zappia et al., Genome Biology
   2017, "Splat paths"). Some cells of each type cycle; S and G2M activity switch on the Tirosh genes. A few
   continuous states (activation, stress) vary within every type.
2. *Batches* differ in composition (Dirichlet around the common one), in depth and, gene by gene, in
   capture: log-normal factors per batch and gene as in Splatter.
3. *Genes.* mu_cg = N_c * p_cg, p_c = softmax(base_g + program_cg + batch_bg); N_c is log-normal. Counts
   are negative-binomial, written as Poisson with gamma-distributed rate. A logistic dropout in log mu, as in
   Splatter, is mild by default, since droplet counts need little of it (Svensson, Nature Biotechnology 2020).
4. *Proteins.* Each is made from one gene and stands on a background: y_cp ~ NB(d_c (bg_cp + fg_cp)).
   Ambient bg is log-normal over cells, as in totalVI (Gayoso et al., Nature Methods 2021). totalVI then mixes
   background and foreground at random; here fg rises with the gene's program along a saturating (logistic)
   curve, so that a protein's on-state has a known cause.
5. *Peaks.* log rate_cj = a_j + s_j program_c,g(j) for a peak near gene g; the others are constitutive or
   mark types by themselves. Fragments are Poisson, as in PoissonVI (Martens et al., Nature Methods 2024).

Programs act on log means before depth, so proteins and peaks follow the gene's *regulation*, not its noisy
counts: a perfect prediction from counts is impossible, as in real cells.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Cells:
    """The true state of every cell; arrays with one entry or row a cell."""

    type: np.ndarray  # index of the cell's type
    batch: np.ndarray  # index of the cell's batch
    pseudotime: np.ndarray  # 0 to 1 along lineage A, NaN elsewhere
    cycle: np.ndarray  # S and G2M activity, 0 to 1, two columns
    factors: np.ndarray  # cells x latent dimensions: blend of profiles, cycle, states
    depth: np.ndarray  # relative sequencing depth in mod1 and mod2, two columns
    type_names: list[str]  # for each type, the letter of its lineage and its number there


def lineages(n_types: int) -> list[int]:
    """Number of types per lineage: the first third (at least two) differentiate, then twos."""
    first = min(n_types, max(2, round(n_types / 3)))
    rest = n_types - first
    return [first] + [2] * (rest // 2) + [1] * (rest % 2)


def draw_cells(n_cells: int, n_types: int, n_batches: int, n_states: int, rng: np.random.Generator) -> Cells:
    """Draw types, batches, pseudotime, cell cycle, states and depths of all cells."""
    sizes = lineages(n_types)
    share = rng.dirichlet(np.full(n_types, 6.0))
    batch = np.sort(rng.choice(n_batches, n_cells, p=rng.dirichlet(np.full(n_batches, 40.0))))
    composition = np.stack([rng.dirichlet(share * 60 + 1) for _ in range(n_batches)])
    type_ = (rng.random(n_cells)[:, None] > composition.cumsum(1)[batch]).sum(1).clip(max=n_types - 1)

    n_path = sizes[0]
    path = type_ < n_path
    position = type_ + rng.random(n_cells)  # stage i covers [i, i + 1) of the path
    profiles = np.zeros((n_cells, n_types + 1))  # a path of n stages has n + 1 anchors
    cells = np.flatnonzero(path)
    stage, within = type_[cells], position[cells] - type_[cells]
    profiles[cells, stage] = 1 - within
    profiles[cells, stage + 1] = within
    profiles[np.flatnonzero(~path), type_[~path] + 1] = 1.0

    cycling = rng.random(n_cells) < rng.uniform(0.05, 0.45, n_types)[type_]
    angle = np.where(cycling, rng.uniform(0, 2 * np.pi, n_cells), 0.0)
    cycle = np.stack([np.sin(angle), -np.sin(angle)], 1).clip(min=0)
    states = rng.standard_normal((n_cells, n_states))
    depth_of_batch = np.exp(rng.permutation(np.linspace(-0.35, 0.35, n_batches)) if n_batches > 1 else [0.0])
    shared = rng.normal(0, 0.25, n_cells)  # a big cell is big in both modalities
    depth = np.exp(shared[:, None] + rng.normal(0, 0.25, (n_cells, 2))) * depth_of_batch[batch][:, None]
    return Cells(
        type=type_,
        batch=batch,
        pseudotime=np.where(path, position / n_path, np.nan),
        cycle=cycle,
        factors=np.hstack([profiles, cycle, states]),
        depth=depth,
        type_names=[f"{chr(65 + i)}{j + 1}" for i, size in enumerate(sizes) for j in range(size)],
    )


def cycle_genes() -> tuple[list[str], list[str]]:
    """Human S and G2M genes of Tirosh et al. (Science 2016), as scib ships them."""
    spec = importlib.util.find_spec("scib")  # found, not imported: importing scib takes seconds
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "expected the package scib with its cell-cycle gene lists; install scib==1.1.7"
        )
    folder = Path(spec.origin).parent / "resources"
    s, g2m = ((folder / f"{p}_genes_tirosh_hm.txt").read_text().split() for p in ("s", "g2m"))
    return s, g2m


def gene_names(n_genes: int) -> tuple[list[str], np.ndarray]:
    """Names of all genes, and which are S (1) or G2M genes (2): at most a twelfth of the genes each."""
    chosen = [genes[: n_genes // 12] for genes in cycle_genes()]
    group = np.zeros(n_genes, int)
    group[: len(chosen[0])] = 1
    group[len(chosen[0]) : len(chosen[0]) + len(chosen[1])] = 2
    rest = n_genes - len(chosen[0]) - len(chosen[1])
    return [*chosen[0], *chosen[1], *(f"GENE{i:05d}" for i in range(1, rest + 1))], group


def draw_programs(
    n_types: int, n_states: int, group: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Log-fold changes of every gene in every latent dimension, latent dimensions x genes.

    A gene marks a lineage with probability 0.15, a type (or a stage anchor) with 0.08; its change is
    log-normal around ``strength``, one in five is a repression. Cycle genes follow the cycle alone.
    """
    n_genes = len(group)
    sizes = lineages(n_types)
    lineage = np.repeat(np.arange(len(sizes)), [sizes[0] + 1, *sizes[1:]])

    def changes(rows: int, share: float) -> np.ndarray:
        size = strength * np.exp(rng.normal(0, 0.3, (rows, n_genes)))
        sign = np.where(rng.random((rows, n_genes)) < 0.2, -1.0, 1.0)
        return size * sign * (rng.random((rows, n_genes)) < share)

    profiles = changes(len(sizes), 0.15)[lineage] + changes(n_types + 1, 0.08)
    profiles[:, group > 0] = 0
    cycle = np.stack([np.where(group == phase, 1.2 * strength, 0.0) for phase in (1, 2)])
    states = rng.normal(0, 0.35, (n_states, n_genes)) * (rng.random((n_states, n_genes)) < 0.15)
    states[:, group > 0] = 0
    return np.vstack([profiles, cycle, states])
