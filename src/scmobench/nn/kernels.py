"""Triton kernels: products with a constant matrix, with edge dropout drawn inside the product.

Imported where Triton is. ``TRITON_INTERPRET=1`` runs them on a CPU. Every sum has a fixed order, so that the
same card gives the same bytes.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from scmobench.nn.noise import LANES, Seed

# chosen on an H100 at 81,241 x 13,953 and width 48 among 11: A x 0.80 ms (0.91 with edge dropout) and A^T x
# 0.82 (0.93), where a read of A takes 0.75; blocks of 128 rows take 0.83 (0.98) and 0.83 (1.14)
BLOCK, WARPS, STAGES = 64, 4, 3
PROGRAMS = 1056  # that a dense product is split into at least where A allows it: 8 a multiprocessor
LEAST_TURNS = 4  # of a program's loop
WIDEST = {torch.float16: 128, torch.float32: 64}  # dense factor of one product; a wider one is split
# entries of a compressed row that are read at a time, times the width: 128 entries at width 48 are fast where
# columns are full, 32 at width 256 where 128 do not fit the registers
READ = 8192
LEAST = 16  # width of a dense factor that tensor cores take


@triton.jit
def _mixed(number, seed):
    """The finaliser of murmur3 on a word number, as `noise.hashed`."""
    h = number.to(tl.uint32) * ((seed >> 32).to(tl.uint32) | 1) + seed.to(tl.uint32)
    h = (h ^ (h >> 16)) * 0x85EBCA6B
    h = (h ^ (h >> 13)) * 0xC2B2AE35
    return h ^ (h >> 16)


@triton.jit
def _dense_rows(
    a, x, scale, seed, out, rows, columns, stride, width, level,
    DROP: tl.constexpr, OUT: tl.constexpr, TURNS: tl.constexpr, LANE: tl.constexpr, WIDTH: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    """out[part] = A x over the part's columns, two lanes of columns a turn."""
    row = tl.program_id(0) * OUT + tl.arange(0, OUT)
    part = tl.program_id(1)
    read = tl.minimum(row, rows - 1).to(tl.int64)
    lane, w = tl.arange(0, LANE), tl.arange(0, WIDTH)
    total = tl.zeros((OUT, WIDTH), tl.float32)
    key = tl.load(seed) if DROP else 0
    groups = stride // (2 * LANE)
    for turn in range(TURNS):
        group = tl.minimum(part * TURNS + turn, groups - 1)
        last = tl.where(part * TURNS + turn < groups, columns, 0)  # a part may end beyond the last group
        if DROP:
            number = (read * groups + group)[:, None] * LANE + lane[None, :]
            h = _mixed(number, key)
        for half in tl.static_range(2):
            column = group * (2 * LANE) + half * LANE + lane
            tile = tl.load(a + read[:, None] * stride + column[None, :])
            if DROP:
                bits = (h >> 16) if half else (h & 0xFFFF)
                tile = tl.where(bits >= level, tile, 0.0)
            inside = (column[:, None] < last) & (w[None, :] < width)
            factor = tl.load(x + column[:, None] * width + w[None, :], mask=inside, other=0.0)
            if EXACT:
                total += tl.dot(tile, factor, input_precision="ieee")
            else:
                total += tl.dot(tile, factor)
    total *= tl.load(scale)
    place = (part * rows + row).to(tl.int64)[:, None] * width + w[None, :]
    tl.store(out + place, total, mask=(row[:, None] < rows) & (w[None, :] < width))


@triton.jit
def _dense_columns(
    a, x, scale, seed, out, rows, columns, stride, width, level,
    DROP: tl.constexpr, INSIDE: tl.constexpr, TURNS: tl.constexpr, LANE: tl.constexpr, WIDTH: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    """out[part] = A^T x over the part's rows, for two lanes of columns."""
    group, part = tl.program_id(0), tl.program_id(1)
    lane, w = tl.arange(0, LANE), tl.arange(0, WIDTH)
    first, second = tl.zeros((LANE, WIDTH), tl.float32), tl.zeros((LANE, WIDTH), tl.float32)
    key = tl.load(seed) if DROP else 0
    groups = stride // (2 * LANE)
    column = group * (2 * LANE) + lane
    for turn in range(TURNS):
        row = (part * TURNS + turn) * INSIDE + tl.arange(0, INSIDE)
        read = tl.minimum(row, rows - 1).to(tl.int64)
        here = a + read[:, None] * stride + column[None, :]
        left, right = tl.load(here), tl.load(here + LANE)
        if DROP:
            h = _mixed((read * groups + group)[:, None] * LANE + lane[None, :], key)
            left = tl.where((h & 0xFFFF) >= level, left, 0.0)
            right = tl.where((h >> 16) >= level, right, 0.0)
        inside = (row[:, None] < rows) & (w[None, :] < width)
        factor = tl.load(x + row[:, None] * width + w[None, :], mask=inside, other=0.0)
        if EXACT:
            first += tl.dot(tl.trans(left), factor, input_precision="ieee")
            second += tl.dot(tl.trans(right), factor, input_precision="ieee")
        else:
            first += tl.dot(tl.trans(left), factor)
            second += tl.dot(tl.trans(right), factor)
    size = tl.load(scale)
    place = (part * columns + column).to(tl.int64)[:, None] * width + w[None, :]
    within = w[None, :] < width
    tl.store(out + place, first * size, mask=(column[:, None] < columns) & within)
    tl.store(out + place + LANE * width, second * size, mask=(column[:, None] + LANE < columns) & within)


@triton.jit
def _compressed(
    indptr, indices, values, order, x, seed, out, width, level,
    DROP: tl.constexpr, ORDERED: tl.constexpr, ENTRIES: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """A row of A x, A in compressed rows; entry numbers of a mask are those of ``order``."""
    row = tl.program_id(0)
    first, last = tl.load(indptr + row), tl.load(indptr + row + 1)
    w = tl.arange(0, WIDTH)
    total = tl.zeros((ENTRIES, WIDTH), tl.float32)
    key = tl.load(seed) if DROP else 0
    start = first
    while start < last:
        entry = start + tl.arange(0, ENTRIES)
        here = entry < last
        column = tl.load(indices + entry, mask=here, other=0)
        value = tl.load(values + entry, mask=here, other=0.0)
        if DROP:
            number = tl.load(order + entry, mask=here, other=0) if ORDERED else entry
            value = tl.where((_mixed(number, key) & 0xFFFF) >= level, value, 0.0)
        inside = here[:, None] & (w[None, :] < width)
        place = column.to(tl.int64)[:, None] * width + w[None, :]
        total += value[:, None] * tl.load(x + place, mask=inside, other=0.0)
        start += ENTRIES
    tl.store(out + row.to(tl.int64) * width + w, tl.sum(total, 0), mask=w < width)


def dense_product(a: Tensor, shape: tuple[int, int], x: Tensor, transpose: bool, kept: Seed | None) -> Tensor:
    """A x, or A^T x, in float32; a float16 A multiplies x rounded to float16 after scaling by its maximum.

    Parameters
    ----------
    a : rows x stride, zero beyond the columns of A; stride a multiple of two `LANES`.
    x : columns (or rows) of A x width, float32.
    kept : which entries stay, as `noise.hashed` says; None: all.
    """
    if x.shape[1] > WIDEST[a.dtype]:
        parts = x.split(WIDEST[a.dtype], 1)
        return torch.cat([dense_product(a, shape, part, transpose, kept) for part in parts], 1)
    (rows, columns), stride, width = shape, a.shape[1], x.shape[1]
    exact = a.dtype == torch.float32
    if exact:
        scale = torch.ones(1, device=x.device)
    else:
        scale = torch.linalg.vector_norm(x, float("inf")).clamp_(min=torch.finfo(torch.float32).tiny)
        x = torch.div(x, scale, out=torch.empty_like(x, dtype=a.dtype))
    groups, row_blocks = stride // (2 * LANES), triton.cdiv(rows, BLOCK)
    blocks, turns = (groups, row_blocks) if transpose else (row_blocks, groups)
    turns_of_part = triton.cdiv(turns, max(1, min(triton.cdiv(PROGRAMS, blocks), turns // LEAST_TURNS)))
    parts = triton.cdiv(turns, turns_of_part)
    out = scale.new_empty((parts, columns if transpose else rows, width))
    given = a, x.contiguous(), scale, x if kept is None else kept.number, out, rows, columns, stride, width
    kernel = _dense_columns if transpose else _dense_rows
    kernel[(blocks, parts)](
        *given, 0 if kept is None else kept.level, DROP=kept is not None, TURNS=turns_of_part, LANE=LANES,
        WIDTH=max(LEAST, triton.next_power_of_2(width)), EXACT=exact,
        num_warps=8 if exact else WARPS, num_stages=2 if exact else STAGES,
        **{"INSIDE" if transpose else "OUT": BLOCK},
    )  # fmt: skip
    return out[0] if parts == 1 else out.sum(0)


def compressed_product(
    indptr: Tensor, indices: Tensor, values: Tensor, order: Tensor | None, x: Tensor, kept: Seed | None
) -> Tensor:
    """A x in float32, A in compressed rows.

    ``order`` : the number of each entry in the masks; None: their order here.
    """
    rows, width = len(indptr) - 1, x.shape[1]
    out = x.new_empty((rows, width))
    drop, ordered = kept is not None, order is not None
    given = indptr, indices, values, order if ordered else indices, x.contiguous()
    wide = max(LEAST, triton.next_power_of_2(width))
    _compressed[(rows,)](
        *given, kept.number if drop else x, out, width, kept.level if drop else 0,
        DROP=drop, ORDERED=ordered, ENTRIES=max(1, READ // wide), WIDTH=wide, num_warps=4,
    )  # fmt: skip
    return out
