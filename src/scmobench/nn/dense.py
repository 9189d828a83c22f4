"""Operators for a GPU: the matrix dense or compressed, edge dropout drawn inside the product."""

import functools
import importlib.util
import os
import shutil

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from scmobench.nn.noise import LANES, Seed, hashed, seed
from scmobench.nn.sparse import DenseOperator, Operator, SparseOperator

MOST_OF_CARD = 0.5  # the rest is for states, gradients and other programs
BLOCK = 1 << 24  # entries of the matrix that the path without a kernel has before it at a time


def kernels_for(x: Tensor) -> bool:
    """Whether Triton's kernels take this factor: float32 on CUDA, with Triton and the compiler it needs."""
    return x.is_cuda and x.dtype == torch.float32 and _triton()


@functools.cache
def _triton() -> bool:
    compilers = filter(None, (os.environ.get("CC"), "gcc", "clang", "cc"))
    return importlib.util.find_spec("triton") is not None and any(map(shutil.which, compilers))


def fits_card(entries: float, dtype: torch.dtype, device: torch.device | str) -> bool:
    """Whether so many numbers take at most `MOST_OF_CARD` of a GPU's memory."""
    return dtype.itemsize * entries <= MOST_OF_CARD * torch.cuda.get_device_properties(device).total_memory


class SeededDense(Operator):
    """A in one dense matrix of half or single precision, whose masks are a seed each.

    Rows are padded with zeros to a multiple of two `LANES`, so that they are aligned. Of the entry (i, j) the
    mask is half ``j // 64 % 2`` of the word ``(i g + j // 128) 64 + j % 64``, g the number of 128 columns.

    Parameters
    ----------
    matrix : rows x padded columns, float16 or float32. columns : of A.
    row_counts, column_counts : non-zeros of A.
    """

    def __init__(self, matrix: Tensor, columns: int, row_counts: Tensor, column_counts: Tensor) -> None:
        super().__init__()
        self.shape = (len(matrix), columns)
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("row_counts", row_counts, persistent=False)
        self.register_buffer("column_counts", column_counts, persistent=False)

    @classmethod
    def of(
        cls, matrix: sp.csr_matrix, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> "SeededDense":
        """The operator of a CSR matrix, filled on the device a block of rows at a time."""
        rows, columns = matrix.shape
        stride = -(-columns // (2 * LANES)) * 2 * LANES
        values = torch.zeros((rows, stride), dtype=dtype, device=device)
        step = max(1, BLOCK // stride)
        for a in range(0, rows, step):
            block = torch.from_numpy(matrix[a : a + step].toarray().astype(np.float32, copy=False))
            values[a : a + step, :columns] = block.to(device)
        counts = np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=columns)
        return cls(values, columns, *(torch.from_numpy(c.astype(np.float32)).to(device) for c in counts))

    @property
    def kind(self) -> str:
        return f"dense, {str(self.matrix.dtype).removeprefix('torch.')}"

    def rows(self, cells: Tensor) -> DenseOperator:
        """The operator of some rows, in single precision."""
        return DenseOperator(self.matrix.index_select(0, cells)[:, : self.shape[1]].float())

    def multiply(self, x: Tensor, transpose: bool = False, kept: Seed | None = None) -> Tensor:
        plain = self.matrix.dtype == x.dtype and kept is None
        if not plain and kernels_for(x):
            from scmobench.nn.kernels import dense_product

            return dense_product(self.matrix, self.shape, x, transpose, kept)
        if plain:
            matrix = self.matrix[:, : self.shape[1]]
            return (matrix.T if transpose else matrix) @ x
        total = x.new_zeros(self.shape[1] if transpose else len(self.matrix), x.shape[1])
        step = max(1, BLOCK // self.matrix.shape[1])
        for a in range(0, len(self.matrix), step):
            block = self.matrix[a : a + step, : self.shape[1]].to(x.dtype)
            if kept is not None:
                block = block * self._mask(kept, a, a + len(block))
            if transpose:
                total.addmm_(block.T, x[a : a + step])
            else:
                torch.mm(block, x, out=total[a : a + step])
        return total

    def draw(self, p: float) -> Seed:
        return seed(p, self.matrix.device)

    def mask(self, kept: Seed) -> Tensor:
        return self._mask(kept, 0, len(self.matrix)).flatten()

    def _mask(self, kept: Seed, first: int, last: int) -> Tensor:
        """Which entries of these rows stay: rows x columns."""
        groups = self.matrix.shape[1] // (2 * LANES)
        device = self.matrix.device
        words = torch.arange(first * groups * LANES, last * groups * LANES, device=device)
        h = hashed(words, kept.number).view(-1, groups, 1, LANES)
        bits = torch.cat([h & 0xFFFF, h >> 16], 2).view(last - first, -1)
        return bits[:, : self.shape[1]] >= kept.level

    def edges(self) -> tuple[Tensor, Tensor, Tensor]:
        rows, columns = torch.ones(self.shape, device=self.matrix.device).nonzero(as_tuple=True)
        return rows, columns, self.matrix[:, : self.shape[1]].flatten().float()


class SeededSparse(SparseOperator):
    """A in compressed rows, one tile, whose masks are a seed each: an entry's is half a word of its number.

    Triton's kernel sums each row in order. PyTorch's own product, where Triton is missing, may not.
    """

    def multiply(self, x: Tensor, transpose: bool = False, kept: Seed | None = None) -> Tensor:
        if not kernels_for(x):
            return super().multiply(x, transpose, None if kept is None else self.mask(kept))
        from scmobench.nn.kernels import compressed_product

        if transpose:
            entries = self.t_indptr[0], self.t_indices, self.t_values, self.t_order
        else:
            entries = self.indptr[0], self.indices, self.values, None
        return compressed_product(*entries, x, kept)

    def draw(self, p: float) -> Seed:
        return seed(p, self.values.device)

    def mask(self, kept: Seed) -> Tensor:
        words = torch.arange(len(self.values), device=self.values.device)
        return (hashed(words, kept.number) & 0xFFFF) >= kept.level
