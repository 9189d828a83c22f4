"""Submissions: packed, scored anew, and refused one by one for what is wrong with them."""

import io
import json
import pickle
import stat
import struct
import tarfile
import zipfile

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from command_line import here
from scmobench.experiment import archive
from scmobench.experiment.config import compose
from scmobench.experiment.evaluate import evaluate
from scmobench.experiment.plan import Plan
from scmobench.experiment.records import write_prediction
from scmobench.experiment.run import run
from scmobench.experiment.submission import score_folder, scored

TINY = ["task=predict_modality", "dataset=tiny_cite"]


@pytest.fixture(scope="module")
def plan():
    return Plan(compose(TINY))


@pytest.fixture(scope="module")
def sound(plan, tmp_path_factory):
    """A folder with two predictions and the archive of both."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    truth = plan.problem.solution.X.toarray()
    for seed in (0, 1):
        answer = plan.task.pack(truth + rng.normal(0, 0.3, truth.shape), plan.problem.data, "mine")
        write_prediction(folder / f"p{seed}.h5ad", answer)
    done = submitted(folder, "p0.h5ad", "p1.h5ad")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def submitted(folder, *predictions, **changed):
    given = {
        "name": "mine",
        "task": "predict_modality",
        "dataset": "tiny_cite",
        "authors": "A. Author",
        "description": "ridge",
        "licence": "MIT",
        "link": "https://example.org/mine",
        "out": "mine.zip",
    } | changed
    options = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", value)]
    return here("submit", *predictions, *options, cwd=folder)


def members(path):
    with zipfile.ZipFile(path) as found:
        return {info.filename: found.read(info) for info in found.infolist()}


def written(path, content, change=None, way=zipfile.ZIP_STORED):
    """A zip of these files, compressed in a ``way``; ``change`` acts on each ZipInfo."""
    with zipfile.ZipFile(path, "w") as made:
        for name, data in content.items() if isinstance(content, dict) else content:
            info = zipfile.ZipInfo(name)
            if change:
                change(info)
            made.writestr(info, data, way)
    return path


def refusal(path):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        scored(path, {})
    return str(error.value)


def test_an_archive_has_the_same_bytes_each_time(sound, tmp_path):
    first = (sound / "mine.zip").read_bytes()
    submitted(sound, "p0.h5ad", "p1.h5ad", out=str(tmp_path / "again.zip"))
    assert (tmp_path / "again.zip").read_bytes() == first
    assert list(members(sound / "mine.zip")) == ["card.json", "seed-0.h5ad", "seed-1.h5ad"]


def test_predictions_are_scored_anew_from_their_values(sound, plan):
    records = scored(sound / "mine.zip", {})
    assert [r["seed"] for r in records] == [0, 1]
    for record in records:
        assert (record["source"], record["kind"], record["method"]) == ("external", "external", "mine")
        assert (record["data_hash"], record["subtask"]) == (plan.cells.hash, "GEX2ADT")
        assert record["report"]["authors"] == "A. Author"
    prediction = plan.task.pack(
        plan.problem.solution.X.toarray()
        + np.random.default_rng(0).normal(0, 0.3, plan.problem.solution.shape),
        plan.problem.data,
        "mine",
    )
    by_hand = evaluate("predict_modality", prediction, plan.problem.solution)
    assert records[0]["scores"]["rmse"]["value"] == pytest.approx(by_hand["rmse"].value, rel=1e-12)


def test_the_leaderboard_shows_what_is_sound_and_names_what_is_not(sound, tmp_path):
    run(Plan(compose([*TINY, "model=mean", f"runs={tmp_path / 'runs'}"]), "mean"))
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "mine.zip").write_bytes((sound / "mine.zip").read_bytes())
    (folder / "bad.zip").write_bytes(b"no zip at all")
    (folder / "twin.zip").write_bytes((sound / "mine.zip").read_bytes())
    done = here(
        "leaderboard", "--records", "runs", "--out", "tables", "--submissions", "submissions", cwd=tmp_path
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("'bad.zip' is refused: expected a zip archive as `scmobench submit` makes it")
    assert lines[1].startswith(
        "'twin.zip' is refused: 'mine.zip' holds predict_modality tiny_cite GEX2ADT mine seed 0 already"
    )
    assert lines[2] == "scmobench: 2 submissions are refused, see above"
    table = pd.read_csv(tmp_path / "tables" / "predict_modality.csv")
    (mine,) = table[(table["method"] == "mine") & (table["metric"] == "rmse")].to_dict("records")
    values = [r["scores"]["rmse"]["value"] for r in scored(sound / "mine.zip", {})]
    assert (mine["source"], mine["kind"], mine["n"]) == ("external", "external", 2)
    assert mine["mean"] == pytest.approx(np.mean(values), rel=1e-6)
    page = (tmp_path / "tables" / "index.html").read_text()
    assert "authors: A. Author." in page
    assert "<b>mine</b><small>external: its prediction was submitted</small>" in page
    assert "<td> external</td>" in page
    assert "scmobench leaderboard --submissions FOLDER" in page
    (folder / "bad.zip").unlink()
    (folder / "twin.zip").unlink()
    done = here(
        "leaderboard", "--records", "runs", "--out", "tables", "--submissions", "submissions", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_solution_is_no_prediction(sound, plan, tmp_path):
    for seed, answer in enumerate((plan.problem.solution.X, plan.problem.solution.X.toarray())):
        write_prediction(tmp_path / f"{seed}.h5ad", plan.task.pack(answer, plan.problem.data, "mine"))
        done = submitted(tmp_path, f"{seed}.h5ad")
        assert done.returncode == 1
        assert f"scmobench: {seed}.h5ad: expected what a method predicts, found the solution's" in done.stderr


def test_a_folder_without_archives_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected archives of `scmobench submit` \(\*\.zip\)"):
        score_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../seed-1.h5ad", "leads out of the archive"),
        ("/seed-1.h5ad", "leads out of the archive"),
        ("..\\seed-1.h5ad", "leads out of the archive"),
        ("C:seed-1.h5ad", "leads out of the archive"),
        ("more/seed-1.h5ad", "is neither card.json nor a prediction"),
        ("seed-1.pkl", "is neither card.json nor a prediction"),
        ("seed-01.h5ad", "is neither card.json nor a prediction"),
        ("seed-1.h5ad\0.pkl", "is neither card.json nor a prediction"),
        ("folder/", "is a folder"),
    ],
)
def test_names_that_have_no_place_in_an_archive(sound, tmp_path, name, told):
    content = [*members(sound / "mine.zip").items(), (name.replace("\0", "~"), b"x")]
    path = written(tmp_path / "odd.zip", content)
    if "\0" in name:
        path.write_bytes(path.read_bytes().replace(b"h5ad~", b"h5ad\0"))
    before = set(tmp_path.iterdir())
    assert told in refusal(path)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (stat.S_IFLNK, "is a link"),
        (stat.S_IFCHR, "a device or a pipe"),
        (stat.S_IFIFO, "a device or a pipe"),
        (stat.S_IFBLK, "a device or a pipe"),
    ],
)
def test_kinds_of_files_that_have_no_place_in_an_archive(sound, tmp_path, kind, told):
    content = members(sound / "mine.zip") | {"seed-1.h5ad": b"/etc/passwd"}

    def change(info):
        if info.filename == "seed-1.h5ad":
            info.external_attr = (kind | 0o644) << 16

    assert told in refusal(written(tmp_path / "odd.zip", content, change))


def test_a_pickle_is_never_loaded(sound, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    content = members(sound / "mine.zip") | {"seed-0.h5ad": pickle.dumps(Bomb())}
    assert "expected an h5ad file at seed-0.h5ad" in refusal(written(tmp_path / "odd.zip", content))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice(sound, tmp_path):
    content = [*members(sound / "mine.zip").items()]
    path = written(tmp_path / "odd.zip", [*content, content[-1]])
    assert refusal(path).startswith("expected every file once, found 'seed-1.h5ad' twice")


def test_a_bomb_is_refused_by_its_declared_size(sound, tmp_path):
    content = members(sound / "mine.zip") | {"seed-1.h5ad": bytes(1 << 20)}
    path = written(tmp_path / "bomb.zip", content, way=zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02")  # the last file in the list, which is seed-1.h5ad
    assert struct.unpack_from("<I", raw, place + 24) == (1 << 20,)
    struct.pack_into("<I", raw, place + 24, 0xFFFFFFF0)
    path.write_bytes(raw)
    assert refusal(path).startswith("expected at most 4294967296 bytes in it, found 42949")


def test_a_bomb_is_refused_by_its_real_size(sound, tmp_path):
    content = members(sound / "mine.zip") | {"seed-1.h5ad": bytes(1 << 24)}
    path = written(tmp_path / "bomb.zip", content, way=zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.rindex(b"PK\x01\x02") + 24, 1000)
    path.write_bytes(raw)
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(ValueError, match="expected a whole archive, found a damaged one"):
        archive.unpack(path, tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / "seed-1.h5ad").stat().st_size <= 1000


def test_a_list_of_a_million_files_is_not_read(sound, tmp_path):
    path = tmp_path / "long.zip"
    raw = bytearray((sound / "mine.zip").read_bytes())
    struct.pack_into("<I", raw, len(raw) - 22 + 12, 80_000_000)
    path.write_bytes(raw)
    assert "found one of 80000000 bytes" in refusal(path)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as made:
        made.add(sound / "p0.h5ad", "seed-0.h5ad")
    path.write_bytes(tar.getvalue())
    assert "found another file" in refusal(path)


def test_locked_and_oddly_compressed_files(sound, tmp_path):
    path = written(tmp_path / "odd.zip", members(sound / "mine.zip"), way=zipfile.ZIP_BZIP2)
    assert "is compressed by another method than deflate" in refusal(path)
    raw = bytearray((sound / "mine.zip").read_bytes())
    struct.pack_into("<H", raw, raw.rindex(b"PK\x01\x02") + 8, 1)
    path.write_bytes(raw)
    assert "is encrypted" in refusal(path)


def test_sixty_thousand_squared_are_refused_by_their_shape(sound, tmp_path):
    with h5py.File(tmp_path / "large.h5ad", "w") as file:
        file.create_dataset("X", (60_000, 60_000), "f4", chunks=(1000, 1000), compression="gzip")
        for name in ("obs", "var"):
            table = file.create_group(name)
            table.attrs.update({"_index": "_index", "encoding-type": "dataframe", "column-order": []})
            table.create_dataset("_index", data=np.array([b"x"] * 60_000, "S1"))
    content = members(sound / "mine.zip") | {"seed-1.h5ad": (tmp_path / "large.h5ad").read_bytes()}
    told = refusal(written(tmp_path / "large.zip", content))
    assert told.startswith("seed-1.h5ad: expected 44 rows and at most 1024 columns to fit the solution")
    assert "(60000, 60000)" in told


def changed(plan, sound, tmp_path, change):
    """The archive with one prediction that ``change`` acts on."""
    from scmobench.data.foreign import read_h5ad

    (answer,) = read_h5ad(sound / "p0.h5ad")
    write_prediction(tmp_path / "odd.h5ad", change(answer))
    content = members(sound / "mine.zip") | {"seed-1.h5ad": (tmp_path / "odd.h5ad").read_bytes()}
    return refusal(written(tmp_path / "odd.zip", content))


def test_order_shape_names_and_values_of_a_prediction(plan, sound, tmp_path):
    def told(change):
        return changed(plan, sound, tmp_path, change)

    assert "the rows (cells) are the right ones in another order" in told(lambda a: a[::-1].copy())
    assert "expected 44 rows (cells) x 20 columns (features), found the shape (43" in told(
        lambda a: a[1:].copy()
    )
    assert "columns (features) are the right ones in another order" in told(lambda a: a[:, ::-1].copy())

    def renamed(answer):
        answer.obs_names = [f"other{k}" for k in range(answer.n_obs)]
        return answer

    def spoiled(answer):
        answer.X[0, 0] = np.nan
        return answer

    assert "names of the rows (cells) are not the solution's" in told(renamed)
    assert "expected finite values in X of the prediction" in told(spoiled)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data_hash": "0" * 64}, "expected predictions of the cells of tiny_cite with hash"),
        ({"data_hash": ""}, "found none on the card"),
        ({"name": "scmognn"}, "expected a name of its own, found 'scmognn', a method of the suite"),
        ({"name": "<script>"}, "expected a name of at most 60 letters"),
        ({"name": "mine+more"}, "expected a name of at most 60 letters"),
        ({"dataset": "../tiny_cite"}, "expected dataset to be one of"),
        ({"dataset": "own"}, "expected dataset to be one of"),
        ({"task": "nothing"}, "expected task to be one of"),
        ({"direction": "sideways"}, "expected direction to be one of from_gex, to_gex"),
        ({"link": "javascript:alert(1)"}, "expected a link https://"),
        ({"description": "x" * 3000}, "expected one line of at most 2000 characters as description"),
        ({"description": "two\nlines"}, r"found '\n' in 'two\nlines': remove the invisible character"),
        ({"name": "knn\u200b"}, r"found '\u200b' in 'knn\u200b': remove the invisible character"),
        ({"licence": " "}, "expected licence on the card, found none"),
        ({"transductive": "yes"}, "expected transductive of the card to be true or false, found 'yes'"),
        ({"authors": 7}, "expected authors of the card to be a text, found 7"),
        ({"rmse": 0.0}, "found the fields rmse"),
    ],
)
def test_cards_that_are_refused(sound, tmp_path, change, told):
    content = members(sound / "mine.zip")
    card = json.loads(content["card.json"]) | change
    assert told in refusal(written(tmp_path / "odd.zip", content | {"card.json": json.dumps(card).encode()}))


def test_a_card_that_is_none(sound, tmp_path):
    content = members(sound / "mine.zip")
    for raw, told in {
        b"\xff": "expected a card in JSON",
        b"[" * 50_000: "expected a card in JSON",
        b"[]": "found []",
        b'{"name": '
        + b"9" * 5000
        + b"}": "found b'{\"name\": 9999999999999999999999999999999' (a number of 5000 digits",
        b"{}": "expected authors, dataset, description, direction, licence, name, task on the card",
        b" " * 70_000: "has 70000 bytes, more than 65536",
    }.items():
        assert told in refusal(written(tmp_path / "odd.zip", content | {"card.json": raw}))
    del content["card.json"]
    assert "expected card.json and 1 to 99 predictions" in refusal(written(tmp_path / "odd.zip", content))


def test_submit_says_at_once_what_could_not_be_scored(sound):
    done = submitted(sound, "p0.h5ad", "missing.h5ad")
    assert done.stderr.startswith("scmobench: expected an h5ad file at missing.h5ad, found none")
    done = submitted(sound, "p0.h5ad", direction="to_gex")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "found the shape (44, 20)" in done.stderr
    options = "--name x --task predict_modality --dataset tiny_cite --authors A --description d --licence MIT"
    done = here("submit", "p0.h5ad", *options.split(), "--seeds", "1,1", cwd=sound)
    assert "expected 1 different seeds from 0 on, one a prediction, found [1, 1]" in done.stderr
    done = here("submit", "--seeds", "p0.h5ad", *options.split(), cwd=sound)
    assert "--seeds: expected whole numbers as 0,1,2, found 'p0.h5ad'" in done.stderr


def test_the_same_prediction_as_two_seeds_is_refused(sound, tmp_path):
    (sound / "again.h5ad").write_bytes((sound / "p0.h5ad").read_bytes())
    done = submitted(sound, "p0.h5ad", "again.h5ad", out=str(tmp_path / "x.zip"))
    told = "scmobench: expected another prediction for each seed, found the same in p0.h5ad and again.h5ad: "
    assert done.stderr.startswith(told + "a deterministic method has one seed, so give one file")
    assert not (tmp_path / "x.zip").exists()
    assert submitted(sound, "p0.h5ad", out=str(tmp_path / "x.zip")).returncode == 0  # what the message says
    content = members(sound / "mine.zip")
    content["seed-1.h5ad"] = content["seed-0.h5ad"]
    assert "found the same in seed-0.h5ad and seed-1.h5ad" in refusal(written(tmp_path / "odd.zip", content))


@pytest.mark.parametrize("form", ["without X", "beside proteins"])
def test_embeddings_in_obsm_are_told_apart_by_their_values(form, tmp_path):
    cells = Plan.composed(["task=joint_embedding", "dataset=tiny_cite"]).problem.data.mod2
    rng, var = np.random.default_rng(0), pd.DataFrame({"feature_types": "ADT"}, cells.var_names)
    for name in ("p0", "p1"):
        X = cells.X if form == "beside proteins" else None
        obsm = {"X_emb": rng.normal(size=(cells.n_obs, 3))}
        anndata.AnnData(X, cells.obs[[]], var if X is not None else None, obsm=obsm).write_h5ad(
            tmp_path / f"{name}.h5ad"
        )
    done = submitted(tmp_path, "p0.h5ad", "p1.h5ad", task="joint_embedding")
    assert done.returncode == 0, done.stderr
    assert len(score_folder(tmp_path)) == 2
    done = submitted(tmp_path, "p0.h5ad", "p0.h5ad", task="joint_embedding", seeds="0,1", out="twice.zip")
    assert "found the same in p0.h5ad and p0.h5ad" in done.stderr


def test_archives_are_known_by_any_case_and_other_files_are_named(sound, tmp_path, capsys):
    content = members(sound / "mine.zip")
    (tmp_path / "a.ZIP").write_bytes((sound / "mine.zip").read_bytes())
    (tmp_path / "note\n.txt").write_text("x")
    later = {"card.json": content["card.json"], "seed-7.h5ad": content["seed-0.h5ad"]}
    written(tmp_path / "b\n.zip", later)
    found, (refused,) = score_folder(tmp_path)
    assert [record["seed"] for record in found] == [0, 1]
    assert capsys.readouterr().err == "ignored: 'note\\n.txt'\n"
    assert refused.startswith(
        "'b\\n.zip' is refused: 'a.ZIP' holds predict_modality tiny_cite GEX2ADT mine pred"
    )


def test_where_the_output_cannot_go_is_said_before_any_work(sound, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    out = tmp_path / "folder"
    done = submitted(sound, "missing.h5ad", out=str(out))
    right = f"{out}/mine-predict_modality-tiny_cite-from_gex.zip"
    told = f"expected a file for the archive, found the folder {out}: give --out {right}"
    assert done.stderr == f"scmobench: {told}\n"
    assert submitted(sound, "p0.h5ad", out=right).returncode == 0
    done = submitted(sound, "p0.h5ad", out=str(tmp_path / "file" / "x.zip"))
    assert "partial" not in done.stderr
    assert "[Errno" not in done.stderr
    for line, what in ("figures --runs nowhere --out", "pictures"), ("leaderboard --keep", "records"):
        told = f"expected a folder for the {what} at file, found a file: name another by {line.split()[-1]}"
        assert here(*line.split(), "file", cwd=tmp_path).stderr == f"scmobench: {told}\n"
