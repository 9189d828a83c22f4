"""Which training cells are held out."""

import numpy as np
import pandas as pd
import pytest

from scmobench.training.validation import validation_cells, validation_split


def test_whole_batches_are_held_out():
    obs = pd.DataFrame({"batch": np.repeat(["a", "b", "c", "d"], [10, 20, 30, 40])})
    for seed in range(5):
        held = obs["batch"].iloc[validation_cells(obs, "batch_separated", 0.15, seed)]
        left = obs["batch"].drop(held.index)
        assert not set(held) & set(left)
        assert len(held) >= 15
    for seed in range(5):  # the large one would leave less than a quarter of the cells to train on
        assert list(validation_cells(obs[9:32], "batch_separated", 0.5, seed)) == [0, *range(21, 23)]
    assert len(validation_cells(obs, "random", 0.15, 0)) == 15
    with pytest.raises(ValueError, match="at least 2 training batches"):
        validation_cells(obs[:10], "batch_separated", 0.15, 0)


@pytest.mark.parametrize(("share", "cells", "expected"), [(0.3, 12, 12), (0.3, 50, 30), (0.001, 50, 2)])
def test_held_out_cells_are_a_share_up_to_a_number(share, cells, expected):
    obs = pd.DataFrame({"batch": ["a"] * 60 + ["b"] * 40})
    fitted, held_out = validation_split(obs, "random", share, 0, most=cells)
    assert len(held_out) == expected
    assert sorted([*fitted, *held_out]) == list(range(100))


def test_one_held_out_cell_is_refused():
    """Its top-1 accuracy would always be 1: the first epoch would be the best."""
    obs = pd.DataFrame({"batch": ["large"] * 99 + ["one"]})
    with pytest.raises(ValueError, match="at least 2 cells, found 1"):
        validation_split(obs, "batch_separated", 0.15, 0)
