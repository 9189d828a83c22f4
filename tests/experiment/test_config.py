"""Configuration: values by subtask, allowed targets, and every file composed and built."""

import functools
import inspect

import pytest
import torch
from omegaconf import OmegaConf

from scmobench.experiment import config
from scmobench.experiment.code import own_code
from scmobench.experiment.plan import Plan, model_block
from scmobench.experiment.validate import validate_all


def test_values_by_subtask_are_resolved_at_any_depth() -> None:
    node = {
        "hidden": {"GEX2ADT": 256, "default": 48},
        "nested": [{"lr": {"ADT2GEX": 1.0, "default": 2.0}}],
        "k": 3,
    }
    assert config.for_subtask(node, "GEX2ADT") == {"hidden": 256, "nested": [{"lr": 2.0}], "k": 3}


@pytest.mark.parametrize(("cells", "size"), [(0, 64), (2999, 64), (3000, 256), (9999, 256), (10000, 512)])
def test_values_by_training_cells_hold_from_their_number_on(cells, size) -> None:
    by_cells = {"from_10000_cells": 512, "default": 64, "from_3000_cells": 256}
    assert config.for_subtask({"k": by_cells}, "GEX2ADT", cells=cells) == {"k": size}
    both = {"GEX2ADT": by_cells, "default": {"default": 1, "from_3000_cells": 2}}
    assert config.for_subtask([both], "GEX2ADT", cells=cells) == [size]
    assert config.for_subtask([both], "ADT2GEX", cells=cells) == [1 + (cells >= 3000)]


def test_values_by_features_hold_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    by_features = {"default": 1.0, "from_100_features_on_cpu": 0.25, "ADT2GEX": 0.5}
    for features, share in ((99, 1.0), (100, 0.25)):
        assert config.for_subtask({"k": by_features}, "GEX2ADT", features_on_cpu=features) == {"k": share}
        assert config.for_subtask([by_features], "ADT2GEX", features_on_cpu=features) == [0.5]
    plan = Plan.composed(["model=scmognn", "dataset=tiny_cite"])
    for features, cuda, share in ((120, False, 0.25), (121, False, 1.0), (120, True, 1.0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        numbers = {"default": 1.0, f"from_{features}_features_on_cpu": 0.25}
        plan.cfg.model.predict_modality.feature_share = numbers
        for trainer in ({}, {"accelerator": "auto"}, None):
            plan.cfg.model.predict_modality.trainer = trainer
            assert plan.settings_of(plan.cfg)["feature_share"] == share


def test_values_for_more_cells_alone_need_a_default() -> None:
    with pytest.raises(
        ValueError, match=r"k to name GEX2ADT or `default`, found values for \['from_9_cells'\]"
    ):
        config.for_subtask({"k": {"from_9_cells": 1}}, "GEX2ADT", cells=8)


def test_a_plan_takes_the_values_for_its_training_cells() -> None:
    """53 of the cells of tiny_cite train when its training cells are split again."""
    sizes = []
    for more in ([], ["score_on=validation"]):
        plan = Plan.composed(["model=scmognn", "dataset=tiny_cite", *more])
        plan.cfg.model.predict_modality.batch_size = {"default": 64, "from_54_cells": 32}
        sizes.append(plan.settings["batch_size"])
    assert sizes == [32, 64]


@pytest.mark.parametrize(
    ("cells", "size", "rate", "predicting"),
    [(999, 64, 1e-3, 64), (1000, 64, 1e-3, 128), (2999, 64, 1e-3, 128), (3000, 256, 2e-3, 256)],
)
def test_scmognn_takes_larger_steps_on_larger_sets(cells, size, rate, predicting) -> None:
    cfg = config.compose(["model=scmognn", "dataset=tiny_cite", "task=joint_embedding"])
    found = config.for_subtask(model_block(cfg, "joint_embedding"), "GEX-ADT", cells=cells)
    assert (found["batch_size"], found["learning_rate"]) == (size, rate)
    found = config.for_subtask(model_block(cfg, "predict_modality"), "GEX2ADT", cells=cells)
    assert found["batch_size"] == predicting
    for subtask, features, share in (("GEX2ADT", 9999, 1), ("GEX2ATAC", 10000, 0.25), ("ATAC2GEX", 10000, 1)):
        block = model_block(cfg, "predict_modality")
        found = config.for_subtask(block, subtask, cells=cells, features_on_cpu=features)
        assert found["feature_share"] == share


def test_value_for_no_subtask_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"hidden to name ATAC2GEX or `default`, found values for \['GEX2ADT'\] alone"
    ):
        config.for_subtask({"hidden": {"GEX2ADT": 256}}, "ATAC2GEX")


def test_command_line_replaces_a_value_by_subtask() -> None:
    cfg = config.compose(["model=svd_linear", "model.predict_modality.n_components={GEX2ADT:7,default:9}"])
    assert config.for_subtask(model_block(cfg, "predict_modality"), "GEX2ADT")["n_components"] == 7
    cfg = config.compose(["model=svd_linear", "model.predict_modality.n_components=5"])
    assert config.for_subtask(model_block(cfg, "predict_modality"), "GEX2ADT")["n_components"] == 5


@pytest.mark.parametrize("target", ["os.system", "subprocess.run", "builtins.eval"])
def test_targets_outside_the_package_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match="is outside"):
        config.build({"_target_": target})
    with pytest.raises(ValueError, match="is outside"):
        config.build(
            OmegaConf.create(
                {"_target_": "scmobench.models.controls.ZeroPrediction", "inner": {"_target_": target}}
            )
        )


def test_a_module_that_the_user_named_is_allowed() -> None:
    assert config.build({"_target_": "fractions.Fraction", "numerator": 1}, modules=["fractions"]) == 1


def test_code_of_the_package_is_no_part_of_a_config() -> None:
    """Else every record would change with the next release."""
    assert own_code(model_block(config.compose(["model=scmognn"]), "predict_modality")) == {}
    assert list(own_code([{"_target_": "fractions.Fraction"}], ["fractions"])) == ["fractions"]
    with pytest.raises(ValueError, match="found no 'fractoins'"):
        own_code({}, ["fractoins"])


def test_every_dataset_and_model_builds(capsys: pytest.CaptureFixture[str]) -> None:
    validate_all()
    assert "ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("model=knn seed=3", "knn"),
        ("model=knn model.predict_modality.k=5 seed=3", "knn[k=5]"),
        ("model=knn ++model.predict_modality.k=5", "knn[k=5]"),
        ("model=knn ~model.predict_modality.k", "knn[k]"),
        ("model=knn model.predict_modality.k=20", "knn"),
        ("model=knn trainer.max_epochs=1", "knn"),
        ("model=scmognn trainer.max_epochs=1 trainer.checkpoint=true", "scmognn[trainer.max_epochs=1]"),
        ("model=knn smoke=true model.predict_modality.k=5", "knn[k=5,smoke]"),
        ("model=scmognn ablation=no_pathway", "scmognn+no_pathway"),
    ],
)
def test_the_name_of_a_method_says_what_was_changed(given: str, name: str) -> None:
    assert Plan.composed(given.split()).name == name


OFFICIAL = "neurips2021_cite_phase2"


@functools.cache
def model_settings(*overrides: str) -> dict:
    return OmegaConf.to_container(config.compose(overrides).model, resolve=True)


@pytest.mark.parametrize("group", ["ablation", "tuned"])
def test_deltas_change_only_keys_that_exist(group: str) -> None:
    """`optional` and merging would swallow a misspelt name: every key must be known to its model."""
    for path in sorted((config.conf_dir() / group).rglob("*.yaml")):
        assert path.read_text().startswith("# @package _global_\n"), path
        delta = OmegaConf.to_container(OmegaConf.load(path)).get("model")
        assert group == "ablation" or path.stem in config.names("dataset"), path
        if not delta:
            assert path.stem == "none"
            continue
        model = path.parent.name if group == "tuned" else "scmognn"
        sets = ("tiny_cite",) if group == "tuned" else ("tiny_cite", OFFICIAL, "neurips_bmmc_cite_starter")
        bases = [model_settings(f"model={model}", f"dataset={name}") for name in sets]
        for task, settings in delta.items():
            known = set(bases[0][task])
            if "_target_" in bases[0][task]:  # what the YAML leaves to the code
                target = config.located(bases[0][task]["_target_"], {"scmobench"})
                known |= set(inspect.signature(target).parameters)
            unknown = set(settings) - known
            assert not unknown, f"{path}: {sorted(unknown)} are not settings of {model} on {task}"
        merged = [OmegaConf.to_container(OmegaConf.merge(base, delta)) for base in bases]
        assert merged != bases, f"{path} changes nothing"
    other = (f"dataset={path.stem}",) if group == "tuned" else ("dataset=tiny_cite", f"ablation={path.stem}")
    assert model_settings(f"model={model}", *other) == merged[0], "as the last of them is composed"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model=knn model.predict_modality.k=abc", "^expected k to be a whole number, found 'abc'"),
        ("model=scmognn model.predict_modality.hidden=wide", "hidden to be a whole number, found 'wide'"),
        ("model=scmognn model.predict_modality.pathway_threshold=low", "to be a number or null, found 'low'"),
        ("model=scmognn model.predict_modality.max_epochs=2.5", "max_epochs to be a whole number, found 2.5"),
        (
            "model=babel_like model.predict_modality.batch_size=[8]",
            r"batch_size to be .* number, found \[8\]",
        ),
        ("dataset.n_cells=many", "^expected n_cells to be a whole number, found 'many'"),
        ("trainer.checkpoint=3 model=scmognn", "^expected checkpoint to be true or false, found 3"),
    ],
)
def test_a_setting_of_another_type_is_named(setting: str, message: str) -> None:
    cfg = config.compose(["dataset=tiny_cite", *setting.split(" ")])
    model = config.for_subtask(model_block(cfg, "predict_modality"), "GEX2ADT")
    with pytest.raises(ValueError, match=message):
        config.build(OmegaConf.to_container(cfg.dataset) if "dataset." in setting else model)
