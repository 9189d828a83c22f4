"""Products with a constant sparse matrix, fast in both directions.

PyTorch transposes a CSR matrix again in each backward pass. These classes keep the transpose instead. Then
both passes are products of a CSR matrix with 32-bit indices and a dense matrix, tile by tile.
"""

import functools
import warnings
from abc import ABC, abstractmethod
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scmobench.nn.noise import Seed, keep

Kept = Tensor | Seed  # which entries edge dropout keeps


class Operator(nn.Module, ABC):
    """A constant matrix A (rows x columns) that multiplies from the left, as A or as its transpose.

    Its tensors move with the module and stay out of its state: they are data, not parameters.
    """

    shape: tuple[int, int]
    kind = "CSR, float32"  # storage and precision, for the record
    row_counts: Tensor  # non-zeros in each row of A
    column_counts: Tensor  # and in each column

    @abstractmethod
    def multiply(self, x: Tensor, transpose: bool = False, kept: Kept | None = None) -> Tensor:
        """A x, or A^T x, with only the ``kept`` entries of A; no gradient."""

    @abstractmethod
    def draw(self, p: float) -> Kept:
        """A random mask over the entries of A, or its seed. It keeps each entry with probability 1 - p."""

    def mask(self, kept: Kept) -> Tensor:
        """The mask that ``draw`` made: a boolean for each entry, in the order of ``edges`` (for tests)."""
        return kept

    @abstractmethod
    def edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and values of the entries, in the order of the masks (for tests)."""

    def forward(self, x: Tensor, transpose: bool = False, kept: Kept | None = None) -> Tensor:
        """A x, or A^T x, differentiable in x."""
        if not torch.is_autocast_enabled(x.device.type):  # the context takes as long as a small product
            return self._precise(x, transpose, kept)
        with torch.autocast(device_type=x.device.type, enabled=False):
            return self._precise(x, transpose, kept)

    def _precise(self, x: Tensor, transpose: bool, kept: Kept | None) -> Tensor:
        precise = x if x.dtype == torch.float64 else x.float()
        return _Product.apply(precise, self, transpose, kept).to(x.dtype)


class _Product(torch.autograd.Function):
    """y = A x  =>  dL/dx = A^T dL/dy, with the same entries kept in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: Operator, transpose: bool, kept: Kept | None) -> Tensor:
        ctx.operator, ctx.transpose, ctx.kept = operator, transpose, kept
        return operator.multiply(x, transpose, kept)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        return ctx.operator.multiply(gradient.contiguous(), not ctx.transpose, ctx.kept), None, None, None


class CompressedPair(NamedTuple):
    """A and A^T, each in tiles of columns that follow one another, each tile in CSR with 32-bit indices.

    The product of a tile reads only its own rows of the dense factor, and they stay in the cache. This is
    2 and 4 times faster than one CSR over all columns at 16,000 and 66,175 cells (results/speed). A matrix of
    few columns or entries is one tile. 32-bit indices make products 10-30 % faster and take half the memory.
    """

    indptr: Tensor  # tiles x (rows + 1), each tile from 0
    indices: Tensor  # column within the tile, tile after tile
    values: Tensor
    t_indptr: Tensor  # the same of A^T
    t_indices: Tensor
    t_order: Tensor  # place in A of each entry of A^T: a mask that is drawn for A serves both
    shape: tuple[int, int]
    tile: int  # columns of a tile; the last one may have fewer
    t_tile: int


class SparseOperator(Operator):
    """A sparse matrix and its transpose, as a `CompressedPair` holds them."""

    def __init__(self, pair: CompressedPair):
        super().__init__()
        self.shape, self.tile, self.t_tile = tuple(pair.shape), pair.tile, pair.t_tile
        self.ends, self.t_ends = (list(accumulate(s[:, -1].tolist())) for s in (pair.indptr, pair.t_indptr))
        tensors = {name: found for name, found in pair._asdict().items() if torch.is_tensor(found)}
        tensors |= dict(t_values=pair.values.index_select(0, pair.t_order))
        counts = {"row_counts": pair.indptr, "column_counts": pair.t_indptr}
        tensors |= {name: starts.diff().sum(0).to(pair.values) for name, starts in counts.items()}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)
        self._space: Tensor | None = None
        _hear_that_csr_is_in_beta()

    def multiply(self, x: Tensor, transpose: bool = False, kept: Tensor | None = None) -> Tensor:
        values = self.t_values if transpose else self.values
        if kept is not None:
            mask = kept.index_select(0, self.t_order) if transpose else kept
            values = self._masked(values, mask)
        indptr, indices = (self.t_indptr, self.t_indices) if transpose else (self.indptr, self.indices)
        ends, tile = (self.t_ends, self.t_tile) if transpose else (self.ends, self.tile)
        shape = self.shape[::-1] if transpose else self.shape
        if len(ends) == 1:
            return _csr(indptr[0], indices, values, shape) @ x
        total, first = x.new_zeros(shape[0], x.shape[1]), 0
        for starts, last, part in zip(indptr, ends, x.split(tile), strict=True):
            entries = starts, indices[first:last], values[first:last]
            total.addmm_(_csr(*entries, (shape[0], len(part))), part)
            first = last
        return total

    def _masked(self, values: Tensor, mask: Tensor) -> Tensor:
        """values * mask, in memory that the next call overwrites."""
        if self._space is None or self._space.device != values.device or self._space.dtype != values.dtype:
            self._space = torch.empty_like(values)
        step = 1 << 18 if values.device.type == "cpu" else max(1, len(values))  # fits into the cache
        for start in range(0, len(values), step):
            part = self._space[start : start + step]
            part.copy_(mask[start : start + step]).mul_(values[start : start + step])
        return self._space

    def draw(self, p: float) -> Tensor:
        return keep(len(self.values), p, self.values.device)

    def edges(self) -> tuple[Tensor, Tensor, Tensor]:
        tiles, rows = (torch.arange(n, device=self.indptr.device) for n in (len(self.indptr), self.shape[0]))
        counts = self.indptr.diff().long()
        columns = tiles.repeat_interleave(counts.sum(1)) * self.tile + self.indices
        return rows.repeat(len(tiles)).repeat_interleave(counts.flatten()), columns, self.values


def _csr(indptr: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(indptr, indices, values, shape, check_invariants=False)


@functools.cache
def _hear_that_csr_is_in_beta() -> None:
    """Torch announces it once, here where nobody is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.tensor([]).long(), torch.tensor([]), (1, 1))


class DenseOperator(Operator):
    """A mostly filled matrix, such as proteins as input, or a reduced modality."""

    kind = "dense, float32"

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.shape = tuple(matrix.shape)
        counts = matrix != 0
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("row_counts", counts.sum(1).to(matrix), persistent=False)
        self.register_buffer("column_counts", counts.sum(0).to(matrix), persistent=False)

    def multiply(self, x: Tensor, transpose: bool = False, kept: Tensor | None = None) -> Tensor:
        matrix = self.matrix if kept is None else self.matrix * kept.view(self.shape)
        return (matrix.T if transpose else matrix) @ x

    def draw(self, p: float) -> Tensor:
        return keep(self.matrix.numel(), p, self.matrix.device)

    def edges(self) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = torch.ones(self.shape, device=self.matrix.device).nonzero(as_tuple=True)
        return rows, columns, self.matrix.flatten()
