"""Which cells are held out."""

import numpy as np
import pandas as pd
import pytest

from scmobench.data.split import assign_split


def cells(**batches: int) -> pd.DataFrame:
    batch = np.repeat(list(batches), list(batches.values()))
    return pd.DataFrame({"batch": batch}, index=[f"c{i}" for i in range(len(batch))])


def held_out(obs: pd.DataFrame, **settings: object) -> list[str]:
    return sorted(obs.loc[~assign_split(obs, **settings), "batch"].unique())


def test_named_batches_are_the_test_set():
    assert held_out(cells(a=20, b=20, c=20), test_batches=["a", "c"]) == ["a", "c"]


def test_last_batches_nearest_to_the_fraction_are_held_out():
    obs = cells(s1d1=40, s1d2=30, s1d9=20, s1d10=10)
    assert held_out(obs, test_fraction=0.1) == ["s1d10"]
    assert held_out(obs, test_fraction=0.25) == ["s1d10", "s1d9"]
    assert held_out(obs, test_fraction=0.9) == ["s1d10", "s1d2", "s1d9"]
    assert held_out(cells(**{"2²": 40, "10²": 30, "9" * 5000: 20}), test_fraction=0.5) == ["10²", "9" * 5000]


def test_one_batch_is_split_at_random_within_every_cell_type():
    obs = cells(only=400)
    obs["cell_type"] = np.repeat(["B", "T", "NK"], [40, 320, 40])
    train = assign_split(obs, test_fraction=0.25, seed=3)
    assert train.name == "is_train"
    assert (~train).sum() == 100
    share = 1 - train.groupby(obs["cell_type"]).mean()
    assert share.between(0.2, 0.3).all()
    assert train.equals(assign_split(obs, test_fraction=0.25, seed=3))
    assert not train.equals(assign_split(obs, test_fraction=0.25, seed=4))


def test_missing_batch_lists_the_batches_there_are():
    with pytest.raises(ValueError, match=r"\['z'\] not found; the batches are \['a', 'b'\]"):
        assign_split(cells(a=20, b=20), test_batches=["z"])
    with pytest.raises(ValueError, match="not found"):
        assign_split(cells(a=20, b=20), test_batches=[])


@pytest.mark.parametrize("sizes", [{"a": 8, "b": 20}, {"a": 20, "b": 3}, {"a": 12}])
def test_too_small_a_dataset_says_so(sizes):
    with pytest.raises(ValueError, match="too small for its split"):
        assign_split(cells(**sizes))
