"""Settings of each method's source, and that files claim them only where they give them.

A file that says "published settings but a, b" in its ``tuning`` gives all settings below but a and b.
"""

from typing import Any

import pytest
from omegaconf import OmegaConf

from scmobench.experiment import config
from scmobench.experiment.ensemble import members
from scmobench.experiment.plan import Plan, model_block, model_settings
from scmobench.leaderboard.methods import NOT_SETTINGS

Settings = dict[str, Any]

# Wen et al. 2022 and its maintained port
SCMOGNN_PREDICTION = {"layers": 4, "batch_size": None, "learning_rate": 0.01, "embedding_blocks": 1}
SCMOGNN_PREDICTION |= {"residual": "cat", "cell_init": "shared", "batch_features": True, "mixer": "alpha"}
SCMOGNN_PREDICTION |= {"weight_averaging": 0.0, "transductive": True, "readout_layers": 1, "norm": "group"}
SCMOGNN_PREDICTION |= {"activation": "gelu", "aggregation": "mean", "decay_start": 1200, "evaluate_every": 1}
SCMOGNN_PREDICTION |= {"validation_share": 0.15, "feature_share": 1.0}
SCMOGNN_PREDICTION |= {"pathway": "hallmark", "pathway_weight": "cosine", "validation": "random"}
SCMOGNN_MATCHING = {"components": {"GEX": 256, "ATAC": 512}, "layers": 4, "learning_rate": 6e-4}
SCMOGNN_MATCHING |= {"batch_size": 4096, "decoder_hidden": [512], "decoder_dropout": 0.2, "auxiliary": True}
SCMOGNN_MATCHING |= {"center_batches": False, "transductive": True, "zscore": False, "propagation": True}
SCMOGNN_MATCHING |= {"weight_decay": 0.01, "validation": "random", "hard": True}
SCMOGNN_MATCHING |= {"max_epochs": 2000, "patience": 20, "validation_cells": 4096, "quantile": 0.995}
CITE_MATCHING = {"joint_dim": 64, "log_scale": 2.739896, "gex_hidden": [512, 512], "gex_dropout": 0.25}
CITE_MATCHING |= {"other_hidden": [512, 512], "other_dropout": 0.2}
MULTIOME_MATCHING = {"joint_dim": 256, "log_scale": 3.065016, "gex_hidden": [1024, 1024], "gex_dropout": 0.5}
MULTIOME_MATCHING |= {"other_hidden": [2048], "other_dropout": 0.5}
SCMOGNN_EMBEDDING = {"layers": 3, "graph": "joint", "log_svd": False, "center_batches": False}
SCMOGNN_EMBEDDING |= {"harmony_theta": 0, "first_layer": 2}
SCMOGNN_EMBEDDING |= {"learning_rate": 1e-4, "batch_size": 512, "max_epochs": 60, "patience": 10}
SCMOGNN_EMBEDDING |= {"zscore": False, "propagation": True, "decoder_hidden": [150], "output_relu": True}
SCMOGNN_EMBEDDING |= {"dropout": 0.3, "weight_decay": 0.01}
SUPERVISED = {"reconstruction_weight": 0.7, "cell_type_weight": 0.2, "regulariser_weight": 0.05, "free": 5}
SUPERVISED |= {"cell_cycle_weight": 0.05, "hidden": [150, 120, 100], "validation_share": 0.1}
SUPERVISED |= {"transductive": True}
# the competition's teams (Lance et al. 2022, PMLR 176, and their code)
GUANLAB_SVD = {"zscore": True, "transductive": True}
AXX = {"learning_rate": 1e-3, "max_epochs": 10, "batch_size": 512, "weight_decay": 1e-5, "min_steps": 1}
NOVEL_MLP = {"max_epochs": 100, "min_steps": 1, "patience": None, "validation_share": 0.25, "decoupled": True}
BABEL = {"latent": 16, "hidden": 64, "learning_rate": 0.01, "batch_size": 512, "patience": 25, "min_steps": 1}
BABEL |= {"dropout": 0.0, "own_weight": 1.0, "weight_decay": 0.0, "max_epochs": 500}
NOVEL_CLIP = {"learn_scale": True, "activation": "elu", "zscore": True, "center_batches": False}
NOVEL_CLIP |= {"max_epochs": 7000, "patience": 150, "weight_decay": 0.0, "models": None, "normalised": True}
NOVEL_CLIP |= {"quantile": 0.99, "assignment": "cosine"}
CITE_CLIP = {"components": {"GEX": 128, "ATAC": 32}, "joint_dim": 64, "log_scale": 3.463735}
CITE_CLIP |= {"gex_hidden": [1024, 512], "other_hidden": [512, 2048], "batch_size": 2048}
CITE_CLIP |= {"gex_dropout": [0.0107, 0.2547], "other_dropout": [0.0222, 0.2969], "learning_rate": 7.8e-5}
MULTIOME_CLIP = {"components": {"GEX": 64, "ATAC": 512}, "joint_dim": 256, "log_scale": 3.065016}
MULTIOME_CLIP |= {"gex_hidden": [1024, 1024], "other_hidden": [2048], "batch_size": 16384}
MULTIOME_CLIP |= {"gex_dropout": [0.541, 0.396], "other_dropout": [0.661], "learning_rate": 5.85e-4}
LSL = {"hidden": 64, "latent": 64, "dropout": 0.1, "learning_rate": 1e-4, "patience": 20, "peak_share": 0.03}
LSL |= {"max_epochs": 600, "batch_size": 32, "validation": "last", "validation_share": 0.2}
JAE = {"components": {"GEX": 100, "ATAC": 100}, "batch_target": "uniform", "center_batches": False}
JAE |= {"harmony_theta": 0, "dropout": 0.1, "output_relu": True, "weight_decay": 0.0}
JAE |= {"learning_rate": 1e-4, "batch_size": 32, "max_epochs": 500, "patience": 5}


def krr(n1: int | None, n2: int, alpha: float) -> Settings:
    found = {"n1": n1, "n2": n2, "alpha": alpha, "length_scale": 10.0, "repeats": 5, "legacy": True}
    return found | {"exact_up_to": None, "transductive": n1 is not None}


CITE, MULTIOME = ("GEX2ADT", "ADT2GEX"), ("GEX2ATAC", "ATAC2GEX")
PUBLISHED: dict[tuple[str, str], Settings] = {
    ("scmognn", "GEX2ADT"): SCMOGNN_PREDICTION
    | {"hidden": 256, "pathway_threshold": 0.1, "alpha": 0.25, "initial_residual": True, "edge_dropout": 0.4}
    | {"dropout": 0.3, "weight_decay": 1e-4, "readout": "weighted_sum", "max_epochs": 15000, "patience": 200}
    | {"n_top_features": None},
    ("scmognn", "ADT2GEX"): SCMOGNN_PREDICTION
    | {"hidden": 48, "initial_residual": False, "edge_dropout": 0.3, "dropout": 0.2, "weight_decay": 1e-5}
    | {"readout": "cat", "max_epochs": 15000, "patience": 300, "n_top_features": None},
    ("scmognn", "GEX2ATAC"): SCMOGNN_PREDICTION
    | {"hidden": 48, "pathway_threshold": None, "alpha": 0.5, "initial_residual": True, "edge_dropout": 0.4}
    | {"dropout": 0.2, "weight_decay": 1e-5, "readout": "cat", "max_epochs": 15000, "patience": 300}
    | {"n_top_features": None},
    ("scmognn", "ATAC2GEX"): SCMOGNN_PREDICTION
    | {"hidden": 48, "initial_residual": False, "edge_dropout": 0.0, "dropout": 0.2, "weight_decay": 1e-5}
    | {"readout": "cat", "max_epochs": 3000, "patience": 1000, "n_top_features": 10000},
    ("guanlab_krr", "GEX2ADT"): krr(300, 70, 0.2),
    ("guanlab_krr", "ADT2GEX"): krr(None, 50, 0.2),
    ("guanlab_krr", "GEX2ATAC"): krr(1000, 50, 0.1),
    ("guanlab_krr", "ATAC2GEX"): krr(100, 70, 0.1),
    ("axx_mlp", "GEX2ADT"): AXX | {"hidden": [1024, 512], "dropout": 0.0},
    ("axx_mlp", "ADT2GEX"): AXX | {"hidden": [256, 128], "dropout": 0.0},
    ("axx_mlp", "ATAC2GEX"): AXX | {"hidden": [256, 128], "dropout": 0.5},
    ("axx_mlp", "GEX2ATAC"): AXX | {"hidden": None, "dropout": 0.0},
    ("novel_mlp", "GEX2ADT"): NOVEL_MLP
    | {
        "components": 256,
        "hidden": [512, 512, 2048],
        "dropout": [0.203, 0.154, 0.169],
        "learning_rate": 3.461e-5,
        "weight_decay": 9.966e-4,
        "batch_size": 32,
    },
    ("novel_mlp", "ADT2GEX"): NOVEL_MLP
    | {"components": None, "hidden": [512] * 4, "learning_rate": 4.1e-4, "decoupled": False, "dropout": 0.0}
    | {"weight_decay": 1.39e-5, "batch_size": 64},
    ("novel_mlp", "GEX2ATAC"): NOVEL_MLP
    | {"components": 256, "hidden": [1024, 256, 2048], "learning_rate": 1.807e-5, "batch_size": 64}
    | {"dropout": [0.299, 0.113, 0.135], "weight_decay": 4.084e-4},
    ("novel_mlp", "ATAC2GEX"): NOVEL_MLP
    | {"components": 256, "hidden": [2048, 2048, 512], "learning_rate": 8.387e-5, "batch_size": 256}
    | {"dropout": [0.265, 0.177, 0.252], "weight_decay": 6.849e-4},
    ("ls_lab", "GEX2ADT"): {"n1": 50, "n2": 50, "folds": 10, "networks": [[400, 400], [500, 500, 500, 500]]},
    **{("svd_linear", s): {"n_components": 50, "transductive": True} for s in CITE + MULTIOME},
    **{("knn", s): {"n_components": 50, "k": 20, "transductive": True} for s in CITE + MULTIOME},
    **{("babel_like", s): BABEL for s in CITE + MULTIOME},
    ("guanlab_svd", "GEX-ADT"): GUANLAB_SVD | {"mod1_components": 73, "mod2_components": 27},
    ("guanlab_svd", "GEX-ATAC"): GUANLAB_SVD | {"mod1_components": 38, "mod2_components": 62},
    ("lsl_ae", "GEX-ADT"): LSL,
    ("lsl_ae", "GEX-ATAC"): LSL,
    ("jae", "GEX-ADT"): SUPERVISED | JAE,
    ("jae", "GEX-ATAC"): SUPERVISED | JAE,
    ("scmognn", "GEX-ADT"): SCMOGNN_EMBEDDING | SUPERVISED | {"components": {"GEX": 256, "ATAC": 512}},
    ("scmognn", "GEX-ATAC"): SCMOGNN_EMBEDDING | SUPERVISED | {"components": {"GEX": 64, "ATAC": 512}},
}
MATCHING: dict[tuple[str, str], Settings] = {
    ("scmognn", "GEX2ADT"): SCMOGNN_MATCHING | CITE_MATCHING,
    ("scmognn", "ADT2GEX"): SCMOGNN_MATCHING | CITE_MATCHING,
    ("scmognn", "GEX2ATAC"): SCMOGNN_MATCHING | MULTIOME_MATCHING,
    ("scmognn", "ATAC2GEX"): SCMOGNN_MATCHING | MULTIOME_MATCHING,
    **{("novel_clip", s): NOVEL_CLIP | CITE_CLIP for s in CITE},
    **{("novel_clip", s): NOVEL_CLIP | MULTIOME_CLIP for s in MULTIOME},
    ("clue_like", "GEX2ADT"): {"neighbours": 1, "assignment": "shared_neighbours", "center_batches": False},
}


ENTRY = {"hidden": 48, "embedding_blocks": 2, "pathway_threshold": None, "alpha": 0.5, "edge_dropout": 0.4}
ENTRY |= {"dropout": 0.2, "weight_decay": 1e-5, "readout": "cat", "residual": "cat", "initial_residual": True}


@pytest.mark.parametrize(
    ("data", "subtask", "ensemble"),
    [
        ("neurips2021_cite_phase2", "GEX2ADT", ["ensemble=competition_entry"]),
        ("neurips2021_multiome_phase2", "GEX2ATAC", ["ensemble=seeds", "ablation=competition_settings"]),
    ],
)
def test_members_of_the_competitions_entry(data: str, subtask: str, ensemble: list[str]) -> None:
    given = [f"dataset={data}", "model=scmognn", *ensemble]
    configs = [member.cfg for member in members(Plan.composed(given))]
    settings = [model_settings(cfg, subtask) for cfg in configs]
    assert [{name: found[name] for name in ENTRY} for found in settings] == [ENTRY] * 4
    held_out = ["random", "random", "batch_separated", "batch_separated"]
    assert [found["validation"] for found in settings] == (held_out if "ADT" in subtask else ["random"] * 4)
    assert [cfg.seed for cfg in configs] == [0, 1, 2, 3]


# what the sources do not have, or do not say
UNSTATED = {
    "scmognn": {"pathway_neighbours", "fused", "min_epochs", "validation_share", "partners"},
    "guanlab_krr": {"landmarks"},
    "axx_mlp": {"folds"},
    "babel_like": {"validation_share"},
    "novel_clip": {"validation_share", "neighbours"},
    "lsl_ae": {"min_genes"},
    "jae": {"validation"},
}
# of inputs without genes, of embeddings
UNSTATED["scmognn"] |= {"free_unsupervised", "pathway_threshold", "alpha", "validation"}
SOURCES = {
    "predict_modality": {key: settings for key, settings in PUBLISHED.items() if "-" not in key[1]},
    "match_modality": MATCHING,
    "joint_embedding": {key: settings for key, settings in PUBLISHED.items() if "-" in key[1]},
}
OFFICIAL = ("neurips2021_cite_phase2", "neurips2021_multiome_phase2")
CLAIM = "published settings"


def official(subtask: str) -> str:
    return OFFICIAL["ATAC" in subtask]


def given(task: str, model: str, dataset: str, subtask: str) -> tuple[Settings, str]:
    """Settings of a model on a data set, and how they are said to be chosen."""
    cfg = config.compose([f"dataset={dataset}", f"model={model}", f"task={task}"])
    settings = config.for_subtask(model_block(cfg, task), subtask)
    settings = {name: value for name, value in settings.items() if name not in NOT_SETTINGS}
    return settings, (cfg.model.get("tuning") or {}).get(task, "")


def named(said: str) -> set[str]:
    """Settings that a text excepts from its claim."""
    return set(said.partition(f"{CLAIM} but ")[2].split(", ")) - {""}


@pytest.mark.parametrize(
    ("task", "model", "subtask"), [(task, *key) for task, known in SOURCES.items() for key in known]
)
def test_official_settings_are_the_published_ones(task: str, model: str, subtask: str) -> None:
    """Also where the model's own settings name a subtask that the official ones leave to `default`."""
    settings, said = given(task, model, official(subtask), subtask)
    expected = SOURCES[task][model, subtask]
    kept = expected.keys() - named(said)
    assert {name: settings[name] for name in kept} == {name: expected[name] for name in kept}


def claims() -> list[tuple[str, str, str]]:
    """Task, model and data set of every file that says that it gives the published settings."""
    found = []
    root = config.conf_dir()
    for path in sorted([*(root / "model").glob("*.yaml"), *(root / "tuned").glob("*/*.yaml")]):
        content = OmegaConf.to_container(OmegaConf.load(path))
        own = path.parent.name == "model"
        for task, said in (content if own else content["model"]).get("tuning", {}).items():
            if CLAIM in said:
                assert said.startswith(f"none: {CLAIM}"), path
                datasets = OFFICIAL if own else [path.stem]
                found += [(task, path.stem if own else path.parent.name, dataset) for dataset in datasets]
    return found


@pytest.mark.parametrize(("task", "model", "dataset"), claims())
def test_who_claims_the_published_settings_gives_them_and_names_what_is_changed(
    task: str, model: str, dataset: str
) -> None:
    subtasks = [s for m, s in SOURCES[task] if m == model and official(s) == dataset]
    assert subtasks, "a claim needs its source's settings in this file"
    changed, excepted = set(), set()
    for subtask in subtasks:
        settings, said = given(task, model, dataset, subtask)
        source, excepted = SOURCES[task][model, subtask], named(said)
        unknown = settings.keys() - source.keys() - UNSTATED.get(model, set())
        assert not unknown, "settings that neither the source's nor UNSTATED has"
        changed |= {name for name in settings.keys() & source.keys() if settings[name] != source[name]}
    assert changed == excepted
