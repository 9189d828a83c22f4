"""Every number of the shipped configuration has a range, holds it, and one beyond is refused in one line."""

import contextlib
import dataclasses
import functools
import math
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import scmobench as sb
from scmobench.experiment.config import check, compose, located
from scmobench.experiment.loader import conf_dir
from scmobench.experiment.ranges import RANGES, check_object, check_ranges, range_of
from scmobench.models.base import Model
from scmobench.models.embedding.mofa import MOFA
from scmobench.models.matching.novel_clip import NovelClip
from scmobench.models.prediction.guanlab_krr import GuanlabKRR
from scmobench.models.prediction.knn import KNN
from scmobench.models.prediction.ls_lab import LSLab
from scmobench.models.scmognn.joint_embedding import ScMoGNNEmbedding
from scmobench.models.scmognn.match_modality import ScMoGNNMatching
from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
from scmobench.training.fit import TrainerSettings
from scmobench.types import TASKS

BEYOND = {
    "from 0 to 1": (-0.1, 1.1),
    "from 0 to below 1": (-0.1, 1),
    "above 0 and at most 1": (0, 1.1),
    "above 0 and below 1": (0, 1),
    "from -1 to 1": (-1.1, 1.1),
    "from 1 to 1000": (0, 10**12),
    "from -10 to 10": (-11, 11),
    "from 0 to 4294967295": (-1, 2**32),
    "above 0": (0, -1),
    "from 1 to 100": (0, 101),
    "at least 24": (23, -1),
    "at least 2": (1, -1),
    "at least 0": (-0.1, -1),
    "at least 1": (0, -1),
}


def plain(file: Path, *over: Path) -> dict[str, Any]:
    merged = OmegaConf.merge(*map(OmegaConf.load, (file, *over)))
    return OmegaConf.to_container(merged, resolve=False)


def model(name: str, *over: Path) -> dict[str, Any]:
    """The blocks of a model, under settings for one data set or an ablation."""
    base = {"model": plain(conf_dir() / "model" / f"{name}.yaml")}
    node = OmegaConf.to_container(OmegaConf.merge(base, *map(OmegaConf.load, over)), resolve=False)["model"]
    return {f"{name}.{task}": node[task] for task in TASKS if task in node}


@functools.cache
def nodes() -> dict[str, dict[str, Any]]:
    """Every node with numbers: models, also under each file of conf/tuned and ablation, tasks, trainer."""
    conf, found = conf_dir(), {}
    for file in sorted(conf.glob("model/*.yaml")):
        found |= model(file.stem)
    for file in sorted(conf.glob("tuned/*/*.yaml")):
        found |= {f"{file}:{key}": node for key, node in model(file.parent.name, file).items()}
    for file in sorted(conf.glob("ablation/*.yaml")):
        found |= {f"{file}:{key}": node for key, node in model("scmognn", file).items()}
    for file in (*conf.glob("task/*.yaml"), conf / "trainer" / "default.yaml", *conf.glob("dataset/*.yaml")):
        found[file.stem] = plain(file) if "+" not in file.stem else {}  # a variant has its base's class
    return {place: node for place, node in found.items() if node}


def numbers(node: Any, name: str = "", path: tuple = ()) -> Iterator[tuple[str, tuple, Any]]:
    """Setting, path and value of each number; the parts of a setting have its name."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        inner = name or str(key)
        if isinstance(value, dict | list):
            yield from numbers(value, inner, (*path, key))
        elif type(value) in (int, float):
            yield inner, (*path, key), value


def owner(node: dict[str, Any]) -> str:
    return node["_target_"].rpartition(".")[2]


def put(node: Any, path: tuple, value: Any) -> None:
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value


def test_every_number_has_a_range_holds_it_and_one_beyond_is_refused() -> None:
    assert set(BEYOND) == set(RANGES)
    met, tried = set(), set()
    for place, node in nodes().items():
        check_ranges(node, "")
        for name, path, value in list(numbers(node)):
            words = range_of(owner(node), name)
            assert words, f"{place}: {name} has no range"
            met.add(words)
            if (owner(node), path) in tried:  # many files set the same number
                continue
            tried.add((owner(node), path))
            for other in BEYOND[words]:
                put(node, path, other)
                spot = re.escape(".".join(map(str, path)))
                with pytest.raises(ValueError, match=f"^expected at.{spot} to be {words}, found {other}$"):
                    check_ranges(node, "at.")
            put(node, path, value)
    assert met == set(RANGES)


def test_every_setting_of_a_shipped_class_that_is_a_number_has_a_range() -> None:
    for node in nodes().values():
        target = located(node["_target_"], {"scmobench"})
        for field in dataclasses.fields(target) if dataclasses.is_dataclass(target) else ():
            if field.init and re.search(r"(?<!str \| )\b(int|float)\b", str(field.type)):  # no names
                assert range_of(target.__name__, field.name), f"{target.__name__}.{field.name}"


def test_a_word_that_is_none_of_the_choices_is_refused() -> None:
    met = set()
    for node in nodes().values():
        target = located(node["_target_"], {"scmobench"})
        kinds = typing.get_type_hints(target) if dataclasses.is_dataclass(target) else {}
        for name in (name for name, kind in kinds.items() if typing.get_origin(kind) is typing.Literal):
            words = ", ".join(map(str, typing.get_args(kinds[name])))
            said = f"^expected {name} to be one of {words}, found 'x'$"
            with pytest.raises(ValueError, match=said):
                check({"_target_": node["_target_"], name: "x"})
            met.add(name)
    assert met >= {"assignment", "center", "graph", "cell_init", "convergence", "validation", "batch_target"}
    assert met >= {"mixer", "norm", "activation", "aggregation", "residual", "readout", "readout_layers"}
    assert met >= {"accelerator", "precision", "pathway_weight", "first_layer", "empty_cells", "task"}


def test_every_value_that_a_sweep_or_an_ensemble_names_is_in_its_range() -> None:
    parser, checked = OverridesParser.create(), 0
    shipped = {place: node for place, node in nodes().items() if ":" not in place}
    for file in (*conf_dir().glob("sweep/*.yaml"), *conf_dir().glob("ensemble/*.yaml")):
        whole = plain(file)
        listed = ((whole.get("hydra") or {}).get("sweeper") or {}).get("params") or {}
        given = [f"{key}={value}" for key, value in listed.items()]
        given += [override for member in whole.get("members") or [] for override in member]
        chosen = [
            v for d in whole.get("defaults", []) if isinstance(d, dict) for k, v in d.items() if "model" in k
        ]
        for one in parser.parse_overrides([override for override in given if override.startswith("model.")]):
            task, name = one.key_or_group.split(".")[1:3]
            values = vars(one.value()) if one.is_sweep_override() else {"one": one.value()}
            if "list" in values:
                values = dict(enumerate(values["list"]))
            values = [v for k, v in values.items() if type(v) in (int, float) and k not in ("step",)]
            for block in (f"{which}.{task}" for which in chosen or ["scmognn"]):
                node = {"_target_": shipped[block]["_target_"], name: values}
                check_ranges(node, f"{file.name}: ")
                assert not values or range_of(owner(node), name)
                checked += len(values)
    assert checked > 60


ABSURD = {
    "trainer.max_seconds=-1": "trainer.max_seconds to be above 0, found -1",
    "trainer.max_seconds=0": "trainer.max_seconds to be above 0, found 0",
    "model=harmony model.joint_embedding.sigma=-1": "sigma to be above 0, found -1",
    "model=harmony model.joint_embedding.max_clusters=-1": "max_clusters to be at least 1, found -1",
    "model=mofa model.joint_embedding.max_iterations=-1": "max_iterations to be at least 1, found -1",
    "model=linear_hungarian model.match_modality.neighbours=-1": "neighbours to be at least 1, found -1",
    "model=scmognn model.predict_modality.dropout.GEX2ADT=-1": "GEX2ADT to be from 0 to below 1, found -1",
    "model=scmognn model.match_modality.gex_hidden.default=[8,0]": "default.1 to be at least 1, found 0",
    "model=lsl_ae model.joint_embedding.hidden=-1": "hidden to be at least 1, found -1",
    "model=cajal_depth model.predict_modality.copies=-1": "copies to be at least 0, found -1",
    "model=random model.joint_embedding.n_dimensions=-1": "n_dimensions to be at least 1, found -1",
    "dataset.n_cells=-1": "dataset.n_cells to be at least 1, found -1",
    "dataset=own +dataset.test_fraction=1.5": "dataset.test_fraction to be above 0 and below 1, found 1.5",
    "dataset=own +dataset.split_seed=-1": "dataset.split_seed to be from 0 to 4294967295, found -1",
    "dataset.n_cell_types=1": "dataset.n_cell_types to be at least 2, found 1",
    "task.n_test_cells=-5": "task.n_test_cells to be at least 1, found -5",
    "model=scmognn smoke=true model.predict_modality.max_epochs=-1": "max_epochs to be at least 1, found -1",
}


@pytest.mark.parametrize(("typed", "said"), ABSURD.items())
def test_an_absurd_number_is_refused(typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^expected .*{re.escape(said)}$"):
        compose(["dataset=tiny_cite", *typed.split()])


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands(value: float) -> None:
    for place, node in ((p, n) for p, n in nodes().items() if ":" not in p):
        for _, path, right in list(numbers(node)):
            put(node, path, value)
            spot = re.escape(".".join(map(str, path)))
            with pytest.raises(
                ValueError, match=f"^expected at.{spot} to be a finite number, found {value}$"
            ):
                check_ranges(node, "at.")
            put(node, path, right)
        check_ranges(node, place)
    with pytest.raises(ValueError, match=r"^expected model\.predict_modality\.learning_rate to be a finite"):
        compose(["dataset=tiny_cite", "model=scmognn", f"model.predict_modality.learning_rate={value}"])
    with pytest.raises(ValueError, match=r"^expected dataset\.test_fraction to be a finite number"):
        compose(["dataset=own", f"+dataset.test_fraction={value}"])
    with pytest.raises(ValueError, match=r"^expected depth to be a finite number"):
        check_ranges({"_target_": "my_method.Own", "depth": value}, "")


def test_a_class_of_the_users_own_has_no_ranges() -> None:
    node = {"_target_": "my_method.Own", "dropout": -1, "trainer": {"_target_": "scmobench.x.T", "k": 1}}
    check_ranges(node, "")
    with pytest.raises(ValueError, match=r"^expected trainer\.k to be at least 1, found 0$"):
        check_ranges(node | {"trainer": {"_target_": "scmobench.x.T", "k": 0}}, "")


def test_what_is_typed_wins_over_smoke() -> None:
    given = ["model=scmognn", "smoke=true"]
    assert compose(given).model.smoke == {"max_epochs": 3}
    assert compose([*given, "model.predict_modality.max_epochs=7"]).model.smoke == {}
    assert compose([*given, "model.predict_modality.hidden=16"]).model.smoke == {"max_epochs": 3}


OBJECTS = [
    (KNN(k=0), "expected k to be at least 1, found 0"),
    (GuanlabKRR(alpha=0), "expected alpha to be above 0, found 0"),
    (ScMoGNNPrediction(learning_rate=math.nan), "expected learning_rate to be a finite number, found nan"),
    (ScMoGNNPrediction(feature_share=2.0), "expected feature_share to be above 0 and at most 1, found 2.0"),
    (ScMoGNNMatching(validation_cells=0), "expected validation_cells to be at least 2, found 0"),
    (NovelClip(components={}, batch_size=1), "expected batch_size to be at least 2, found 1"),
    (ScMoGNNEmbedding(hidden=(8, 0)), "expected hidden.1 to be at least 1, found 0"),
    (ScMoGNNEmbedding(cell_cycle_weight=-1), "expected cell_cycle_weight to be at least 0, found -1"),
    (MOFA(factors=101), "expected factors to be from 1 to 100, found 101"),
    (LSLab(folds=1), "expected folds to be at least 2, found 1"),
    (
        ScMoGNNPrediction(trainer=TrainerSettings(max_epochs=0)),
        "expected trainer.max_epochs to be at least 1, found 0",
    ),
    (ScMoGNNPrediction(layers=10**12), f"expected layers to be from 1 to 1000, found {10**12}"),
    (ScMoGNNPrediction(norm="x"), "expected norm to be one of group, layer, batch, none, found 'x'"),
    (ScMoGNNEmbedding(first_layer=3), "expected first_layer to be one of 1, 2, found 3"),
    (
        KNN(k=TrainerSettings(accelerator="tpu")),
        "expected accelerator to be one of auto, cpu, cuda, found 'tpu'",
    ),
]


@pytest.mark.parametrize(("model", "said"), OBJECTS)
def test_an_object_of_our_classes_has_the_ranges_of_its_config(model: Any, said: str, tiny_paired) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        sb.run(model, tiny_paired)


def test_every_shipped_class_that_is_made_in_python_passes_the_table() -> None:
    made = 0
    for place, node in nodes().items():
        target = located(node["_target_"], {"scmobench"})
        if "." in place and issubclass(target, Model) and dataclasses.is_dataclass(target):
            with contextlib.suppress(TypeError):  # a setting without a default
                check_object(target())
                made += 1
    assert made > 20
