"""Inspect HDF5 files before they are read: links, declared sizes, structure, every value.

`scmobench.data.foreign` runs this module in a separate process, since damaged HDF5 may crash or hang the
library. It imports only h5py and numpy, so that the process starts in 0.3 s.
"""

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

from scmobench.data.declared import TABLE_VALUES, ReadPlan, Refusal, Wanted, gigabytes, one_line, size
from scmobench.data.matrix import flaw

MAX_OBJECTS = 100_000
MAX_DEPTH = 32
BLOCK = 2**26  # bytes read at a time
SMALL = 2**26  # bytes of a prediction that are read even if it cannot fit: a task gives a better message
EMBEDDING = 2**10  # columns of an embedding
LABEL = 2**10  # bytes of a name that a prediction may have, on average
LONGEST = 2**16  # bytes of any name or label
SPARE = 2**29  # bytes of address space for Python, the libraries and blocks


def check_links(file: h5py.File) -> None:
    """Refuse a file that leads out of itself, or that has no end."""
    seen, count, waiting = {h5py.h5o.get_info(file.id).addr}, 0, [("", file, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        for name in group:
            place, count = f"{path}/{name}", count + 1
            if count > MAX_OBJECTS or depth > MAX_DEPTH:
                raise Refusal(
                    f"expected at most {MAX_OBJECTS} objects and {MAX_DEPTH} levels of groups, found more at "
                    f"{place[:80]}: keep only what is needed"
                )
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refusal(f"{place} is a link to another place or file: write the values themselves")
            item = group[name]
            if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
                raise Refusal(f"the values of {place} are in another file: write them into this one")
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise Refusal(f"{place} is a group with a second name: write it once")
                seen.add(address)
                waiting.append((place, item, depth + 1))


def check_fit(plan: ReadPlan, solution: ReadPlan) -> None:
    """Refuse a large prediction that cannot fit the solution, by what both files declare."""
    n, m = plan.shape
    widest = max(solution.shape[1], EMBEDDING)
    fits = n == solution.shape[0] and m <= widest
    declared = plan.bytes if fits else max(plan.bytes, solution.bytes)
    if declared > SMALL + fits * (16 * n * (m + EMBEDDING) + LABEL * (n + m)):
        raise Refusal(
            f"expected {solution.shape[0]} rows and at most {widest} columns to fit the solution, found a "
            f"matrix of shape {plan.shape}; {gigabytes(declared)} are declared: is it of these cells?"
        )


def opened(path: str) -> h5py.File:
    """The file. Raises ValueError for what is no HDF5 file, and for a part of one."""
    with open(path, "rb") as file:
        head = file.read(20)
    try:
        return h5py.File(path, "r")
    except OSError as error:
        found = f"no HDF5, it begins with {head!r}" if head else "it is empty"
        found = "it is cut off or damaged" if h5py.is_hdf5(path) else found
        raise ValueError(f"{found}; copy it again, or write it again") from error


def planned(job: dict[str, Any]) -> Iterator[ReadPlan]:
    """What to read of each file, after the checks of links, shapes and sizes; no value is read.

    ``job`` holds ``files``, fields of `Wanted`; ``scored``, whether they are a solution and its predictions;
    ``memory``, the bytes that all may take together.
    """
    total, solution = 0, None
    for wanted in job["files"]:
        _report(path=wanted["path"], kind=wanted["kind"], at="")
        file = opened(wanted["path"])
        check_links(file)
        plan = ReadPlan(file, Wanted(**wanted))
        total += plan.bytes
        if solution and job["scored"]:
            check_fit(plan, solution)
        solution = solution or plan
        if total > job["memory"]:
            raise Refusal(
                f"expected at most {gigabytes(job['memory'])} of values, half of the free memory, found "
                f" {gigabytes(total)}: use a larger machine"
            )
        yield plan


def limit_memory(plans: list[ReadPlan]) -> None:
    """Bound the memory of this process, so that no text or chunk takes more than the file declares."""
    block = max((_step(dataset) * _row(dataset) for plan in plans for dataset in plan.datasets), default=0)
    pointers = max((size(sparse.group["indptr"]) for plan in plans for sparse in plan.sparse), default=0)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    with suppress(ValueError, OSError):  # macOS may not have this limit
        resource.setrlimit(resource.RLIMIT_AS, (SPARE + 4 * (block + pointers), hard))


def read_through(plan: ReadPlan) -> None:
    """Check every sparse matrix, and read everything to the end."""
    for group, shape, axis in plan.sparse:
        indptr = np.concatenate(list(_blocks(group["indptr"])) or [np.empty(0, int)])
        if found := flaw(group["data"].size, indptr, _blocks(group["indices"]), shape, axis):
            raise Refusal(f"{group.name} is damaged: {found}")
    for dataset in plan.datasets:
        for block in _blocks(dataset):
            texts = block.ravel() if dataset.dtype.kind == "O" else ()
            if any(len(text) > LONGEST for text in texts if isinstance(text, bytes)):
                raise Refusal(f"{dataset.name} holds a text of more than {LONGEST} bytes: shorten it")
    for dataset in plan.datasets:
        dict(dataset.attrs)
        dict(dataset.parent.attrs)


def _row(dataset: h5py.Dataset) -> int:
    return max(1, size(dataset) // max(1, (dataset.shape or (1,))[0]))


def _step(dataset: h5py.Dataset) -> int:
    """Rows to read at a time: whole chunks, and fewer of texts."""
    step = max(1, BLOCK // _row(dataset))
    if dataset.dtype.kind == "O":
        step = min(step, TABLE_VALUES // 10)
    if dataset.chunks:
        step = max(1, step // dataset.chunks[0]) * dataset.chunks[0]
    return step


def _blocks(dataset: h5py.Dataset) -> Iterator[Any]:
    _report(at=dataset.name)
    if not dataset.shape:
        yield np.atleast_1d(dataset[()]) if dataset.shape == () else np.empty(0)
        return
    step = _step(dataset)
    for start in range(0, dataset.shape[0], step):
        yield dataset[start : start + step]


def _report(**told: Any) -> None:
    """Tell the parent process where we are, in case we get no further."""
    print(json.dumps(told), flush=True)


def main() -> None:
    """Inspect the files that standard input names; report progress and any error on standard output."""
    job = json.load(sys.stdin)
    try:
        plans = list(planned(job))
        limit_memory(plans)
        for plan in plans:
            _report(path=plan.wanted.path, kind=plan.wanted.kind)
            read_through(plan)
    except Exception as error:
        _report(error=one_line(error), refused=isinstance(error, Refusal))
        sys.exit(1)


if __name__ == "__main__":
    main()
