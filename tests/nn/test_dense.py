"""Operators for a GPU against the compressed one: values, gradients, masks; kernels under the interpreter."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scmobench.graph import operator
from scmobench.graph.operator import compressed_operator, compressed_pair, operator_of
from scmobench.nn import dense
from scmobench.nn.conv import RelationConv
from scmobench.nn.dense import SeededDense, SeededSparse
from scmobench.nn.noise import Seed, hashed, seed
from scmobench.nn.sparse import SparseOperator

SHAPE = (75, 200)  # two groups of 128 columns, the second half empty
TRITON = importlib.util.find_spec("triton") is not None


def matrix(shape=SHAPE, share=0.3):
    return sp.random(*shape, share, "csr", np.float32, np.random.default_rng(0))


def seeded_sparse(of):
    return SeededSparse(compressed_pair(of, tile=max(of.shape)))


def murmur(number: np.ndarray, key: int) -> np.ndarray:
    """The finaliser of murmur3 in NumPy's own 32-bit arithmetic."""
    low, high = np.uint32(key & 0xFFFFFFFF), np.uint32((key >> 32) & 0xFFFFFFFF | 1)
    h = number.astype(np.uint32) * high + low
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


@pytest.mark.parametrize("key", [0, 12345678901234567, -(2**63), -1])
def test_hash_is_that_of_numpy(key):
    numbers = np.concatenate([np.arange(2000), np.array([2**31 - 1, 2**32 - 1, 2**32 + 5, 2**40])])
    found = hashed(torch.from_numpy(numbers), torch.tensor([key])).numpy()
    np.testing.assert_array_equal(found, murmur(numbers & 0xFFFFFFFF, key))


def test_masks_are_the_hash_entry_by_entry():
    kept = Seed(torch.tensor([987654321987654321]), 26214)
    i, j = np.indices(SHAPE)
    words = murmur((i * 2 + j // 128) * 64 + j % 64, int(kept.number))
    expected = np.where(j // 64 % 2, words >> 16, words & 0xFFFF) >= kept.level
    found = SeededDense.of(matrix()).mask(kept).numpy().reshape(SHAPE)
    np.testing.assert_array_equal(found, expected)
    sparse = seeded_sparse(matrix())
    entries = murmur(np.arange(matrix().nnz), int(kept.number)) & 0xFFFF
    np.testing.assert_array_equal(sparse.mask(kept).numpy(), entries >= kept.level)


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_masks_keep_their_share_of_rows_columns_and_neighbours(p):
    torch.manual_seed(0)
    operator = SeededDense.of(matrix((300, 400)))
    masks = torch.stack([operator.mask(operator.draw(p)) for _ in range(40)]).float().view(40, 300, 400)
    assert abs(masks.mean() - (1 - p)) < 0.001  # 4.8 million draws
    for axis in ((1, 2), (0, 1), (0, 2)):
        assert (masks.mean(axis) - (1 - p)).abs().max() < 0.03
    one = masks - (1 - p)
    for other in (one.roll(1, 0), one.roll(1, 1), one.roll(1, 2), one.roll(64, 2)):
        assert abs((one * other).mean()) < 0.001 * (1 + p)
    assert operator.draw(0.4).level == round(0.4 * 65536)


@pytest.mark.parametrize("make", [SeededDense.of, seeded_sparse])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_products_and_gradients_are_those_of_the_compressed_operator(make, transpose, drop, monkeypatch):
    monkeypatch.setattr(dense, "BLOCK", 1 << 12)  # several blocks of rows
    M = matrix()
    ours, kept = make(M), None
    if drop:
        kept = seed(0.4, "cpu")
        thinned = M.toarray() * np.asarray(ours.mask(kept)).reshape(SHAPE) if make == SeededDense.of else None
        if thinned is None:
            thinned = sp.csr_matrix((M.data * ours.mask(kept).numpy(), M.indices, M.indptr), SHAPE).toarray()
    theirs = SparseOperator(compressed_pair(sp.csr_matrix(thinned) if drop else M))
    x = torch.randn(SHAPE[0] if transpose else SHAPE[1], 6, requires_grad=True)
    found, expected = ours(x, transpose, kept), theirs(x, transpose)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(found)
    (first,) = torch.autograd.grad((found * weight).sum(), x)
    (second,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
    full = SparseOperator(compressed_pair(M))
    assert torch.equal(ours.row_counts, full.row_counts)
    assert torch.equal(ours.column_counts, full.column_counts)


def test_rows_are_the_operator_of_these_cells():
    cells = torch.tensor([5, 0, 74])
    part = SeededDense.of(matrix()).rows(cells)
    expected = torch.from_numpy(matrix().toarray())[cells]
    assert torch.equal(part.matrix, expected)
    assert torch.equal(part.column_counts, (expected != 0).sum(0).float())


def test_gathered_messages_have_the_same_mask():
    torch.manual_seed(0)
    operators = SeededDense.of(matrix()), seeded_sparse(matrix())
    for own in operators:
        conv = RelationConv(4, 4, 4, edge_dropout=0.4)
        source, target, kept = torch.randn(SHAPE[1], 4), torch.randn(SHAPE[0], 4), own.draw(0.4)
        fused = conv(source, target, own, kept=kept)
        conv.fused = False
        torch.testing.assert_close(fused, conv(source, target, own, kept=kept))


def test_operator_follows_the_device_the_filled_share_and_the_size(monkeypatch):
    full, tenth, thin = matrix(share=0.4), matrix(share=0.1), matrix(share=0.01)
    assert [type(operator_of(m)).__name__ for m in (full, tenth)] == ["DenseOperator", "SparseOperator"]
    made = []
    monkeypatch.setattr(SeededDense, "of", lambda m, device, dtype: made.append(dtype))
    monkeypatch.setattr(operator, "compressed_operator", lambda m, device: made.append("CSR"))
    card = type("Card", (), {"total_memory": 8 * np.prod(SHAPE)})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    for half in (True, False):
        for m in (full, tenth, thin):
            operator_of(m, "cuda", half=half)
    operator_of(thin, "cuda", rows=True)
    operator_of(full * 1e6, "cuda", half=True)  # beyond what float16 holds
    half, single = torch.float16, torch.float32
    assert made == [half, half, "CSR", single, "CSR", "CSR", single, single]
    made.clear()
    card.total_memory = 4 * np.prod(SHAPE) - 1  # half the card is a byte too small for float16
    operator_of(full, "cuda", half=True)
    operator_of(full, "cuda", rows=True)
    assert made == ["CSR", "CSR"]


INTERPRETED = """
import numpy as np, scipy.sparse as sp, torch
from scmobench.graph.operator import compressed_pair
from scmobench.nn.dense import SeededDense, SeededSparse
from scmobench.nn.kernels import compressed_product, dense_product
torch.manual_seed(0)
for shape in ((70, 200), (4, 900)):
    M = sp.random(*shape, 0.3, "csr", np.float32, np.random.default_rng(0))
    sparse = SeededSparse(compressed_pair(M, tile=max(shape)))
    for transpose in (False, True):
        x = torch.randn(shape[0] if transpose else shape[1], 20)
        for p in (0, 0.4):
            for dtype, error in ((torch.float32, 1e-6), (torch.float16, 1e-3)):
                own = SeededDense.of(M, dtype=dtype)
                kept = own.draw(p) if p else None
                found = dense_product(own.matrix, shape, x, transpose, kept)
                true = own.multiply(x, transpose, kept)
                assert (found - true).norm() < error * true.norm(), (shape, transpose, p, dtype)
        if min(shape) > 10:
            kept = sparse.draw(0.4)
            entries = sparse.indptr[0], sparse.indices, sparse.values, None
            if transpose:
                entries = sparse.t_indptr[0], sparse.t_indices, sparse.t_values, sparse.t_order
            found, true = compressed_product(*entries, x, kept), sparse.multiply(x, transpose, kept)
            assert (found - true).norm() < 1e-6 * true.norm(), (shape, transpose)
"""


@pytest.mark.skipif(not TRITON, reason="Triton is not installed")
def test_kernels_under_the_interpreter():
    env = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("p", [0, 0.4])
@pytest.mark.parametrize("shape", [(3000, 1500), (64, 4000), (130, 70)])
def test_kernels_are_the_products_in_torch(dtype, transpose, p, shape):
    M = matrix(shape, 0.1)
    own, sparse = SeededDense.of(M, "cuda", dtype), compressed_operator(M, "cuda")
    x = torch.randn(shape[0] if transpose else shape[1], 48, device="cuda")
    for made, error in ((own, 1e-3 if dtype == torch.float16 else 1e-6), (sparse, 1e-6)):
        kept = made.draw(p) if p else None
        found = made.multiply(x, transpose, kept)
        true = (
            made.multiply(x.double(), transpose, kept)
            if made is own
            else _by_hand(M, made, x, transpose, kept)
        )
        assert (found - true).norm() < error * true.norm()
        assert torch.equal(found, made.multiply(x, transpose, kept))


def _by_hand(M, made, x, transpose, kept):
    values = M.data if kept is None else M.data * made.mask(kept).cpu().numpy()
    A = sp.csr_matrix((values.astype(np.float64), M.indices, M.indptr), M.shape)
    return torch.from_numpy((A.T if transpose else A) @ x.double().cpu().numpy()).cuda()


@pytest.mark.gpu
def test_edge_dropout_of_a_large_matrix_takes_no_memory_for_its_mask():
    own = SeededDense.of(matrix((20000, 2000), 0.05), "cuda", torch.float16)
    x = torch.randn(2000, 48, device="cuda", requires_grad=True)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    own(x, False, own.draw(0.4)).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 40e6  # a mask of booleans alone would be 40 MB
