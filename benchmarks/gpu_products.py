"""Products of a large matrix with a dense factor on a GPU, each way they can be made (for gpu.py)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

WIDTHS = (48, 256)
Multiply = Callable[[Tensor, bool, Any], Tensor]


def milliseconds(call: Callable[[], Any], repeats: int = 10) -> float:
    """Median over calls, by events on the device."""
    for _ in range(3):
        call()
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for start, end in pairs:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return round(float(np.median([start.elapsed_time(end) for start, end in pairs])), 3)


def bandwidth() -> float:
    """Terabytes a second of a copy on the device, read and written."""
    a = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    b = torch.empty_like(a)
    return round(2 * a.numel() / milliseconds(lambda: b.copy_(a)) / 1e9, 2)


def table(matrix: sp.csr_matrix, edge_dropout: float) -> dict[str, dict[str, float]]:
    """A x and A^T x in milliseconds by width, and the error of A x against float64."""
    from scmobench.graph.operator import compressed_operator
    from scmobench.nn.dense import SeededDense
    from scmobench.nn.sparse import SparseOperator

    rows = {}
    sparse = compressed_operator(matrix, "cuda")
    ways: dict[str, tuple[Multiply, Any]] = {
        "CSR, cuSPARSE": (partial(SparseOperator.multiply, sparse), None),
        "CSR, Triton": (sparse.multiply, None),
        "CSR, Triton, edge dropout": (sparse.multiply, sparse.draw(edge_dropout)),
    }
    rows |= _timed(matrix, ways)
    del sparse, ways
    for dtype, name in ((torch.float32, "dense float32"), (torch.float16, "dense float16")):
        torch.cuda.empty_cache()
        dense = SeededDense.of(matrix, "cuda", dtype)
        ways = {f"{name}, cuBLAS": (_cublas(dense), None)}
        if dtype == torch.float16:
            ways[f"{name}, Triton"] = (dense.multiply, None)
        ways[f"{name}, Triton, edge dropout"] = (dense.multiply, dense.draw(edge_dropout))
        rows |= _timed(matrix, ways)
        del dense, ways
    return rows


def _cublas(dense: Any) -> Multiply:
    """PyTorch's product; x in half precision scaled by its maximum."""
    a = dense.matrix[:, : dense.shape[1]]

    def multiply(x: Tensor, transpose: bool, _: Any) -> Tensor:
        left = a.T if transpose else a
        if a.dtype == torch.float32:
            return left @ x
        scale = x.abs().max()
        return torch.mm(left, (x / scale).half(), out_dtype=torch.float32) * scale

    return multiply


def _timed(matrix: sp.csr_matrix, ways: dict[str, tuple[Multiply, Any]]) -> dict[str, dict[str, float]]:
    first = torch.from_numpy(matrix[:2048].toarray()).double().cuda()
    rows = {}
    for name, (multiply, kept) in ways.items():
        found = {}
        for width in WIDTHS:
            x, y = (torch.randn(n, width, device="cuda") for n in matrix.shape[::-1])
            found[f"A x, {width}"] = milliseconds(partial(multiply, x, False, kept))
            found[f"At x, {width}"] = milliseconds(partial(multiply, y, True, kept))
            if kept is None and width == WIDTHS[0]:
                true = first @ x.double()
                found["error"] = float((multiply(x, False, None)[: len(first)] - true).norm() / true.norm())
        rows[name] = found
        print(name, found, flush=True)
    return rows
