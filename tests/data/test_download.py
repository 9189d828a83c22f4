"""Downloads from a server that answers rightly, wrongly, half, late or not at all."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anndata as ad
import pytest

from scmobench.cli import main
from scmobench.data.competition import PARTS, Competition
from scmobench.data.download import read_pins, sha256
from scmobench.data.genesets import gene_set_file
from scmobench.data.mini_cite import MiniCite
from scmobench.data.source import cache_dir
from scmobench.experiment.config import compose

ALL = PARTS["predict_modality"]
PAGE = b"<html><body>Sign in to download</body></html>"


class Server:
    """A real server of files; ``answers`` says what is wrong with one of them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.answers, self.asked = files, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                part = self.path.rpartition("output_")[2].removesuffix(".h5ad")
                outer.asked.append(part)
                outer.answer(self, outer.answers.get(part, ""), outer.files[part])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/files"

    @staticmethod
    def answer(request: BaseHTTPRequestHandler, wrong: str | bytes, content: bytes) -> None:
        if wrong == "404":
            request.send_error(404)
            return
        content = wrong if isinstance(wrong, bytes) else content
        request.send_response(200)
        if wrong != "cut without a length":
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if wrong == "slow":
            for start in range(0, len(content), len(content) // 5):
                request.wfile.write(content[start : start + len(content) // 5])
                time.sleep(0.1)
        else:
            cut = isinstance(wrong, str) and wrong.startswith("cut")
            request.wfile.write(content[: len(content) // 2] if cut else content)


@pytest.fixture
def server(tiny_parts: dict[str, ad.AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCMOBENCH_CACHE", str(tmp_path / "cache"))
    for part, cells in tiny_parts.items():
        cells.write_h5ad(tmp_path / part)
    served = Server({part: (tmp_path / part).read_bytes() for part in tiny_parts})
    yield served
    served.server.shutdown()
    served.server.server_close()


def source(server: Server) -> Competition:
    counts = {"GEX": "counts", "ADT": "counts"}
    return Competition(name="toy", dataset="toy", url=server.url, normalization=counts)


def stored(name: str = "*") -> list[str]:
    return sorted(p.name for p in cache_dir().rglob(name) if p.is_file() and p.name != ".lock")


def test_right_files_are_kept_and_pinned_and_not_asked_for_again(server: Server) -> None:
    server.answers["test_mod1"] = "slow"
    folder = source(server).fetch()
    assert server.asked == list(ALL)
    assert stored("*.h5ad") == sorted(f"toy.censor_dataset.output_{part}.h5ad" for part in ALL)
    assert set(read_pins(source(server).pins)) == set(ALL)
    assert source(server).fetch() == folder
    assert server.asked == list(ALL)
    assert len(source(server).load().obs) == 150


AT = "file at http://127.*test_mod1.h5ad,"
WRONG = [
    (PAGE, rf"expected an h5ad {AT} found one that cannot be"),
    ("cut", rf"expected a {AT} could not get it|found one that cannot be read"),
    ("cut without a length", rf"expected an h5ad {AT} found one that cannot"),
    ("404", rf"expected a {AT} could not get it \(404"),
    (b"", rf"expected an h5ad {AT} found one that cannot be"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_a_wrong_answer_is_neither_kept_nor_pinned_and_fetch_repairs(server: Server, wrong, told) -> None:
    server.answers["test_mod1"] = wrong
    with pytest.raises((OSError, ValueError), match=told) as error:
        source(server).fetch()
    assert "try `scmobench data fetch toy` again" in str(error.value)
    assert not stored("*test_mod1*")
    assert not stored("*.json")
    del server.answers["test_mod1"]
    source(server).fetch()  # the first advice
    assert server.asked == [*ALL[:3], "test_mod1", "test_mod2"], "what came well stays"
    assert len(read_pins(source(server).pins)) == 4


def test_the_right_file_put_by_hand_where_the_message_says_serves(server: Server) -> None:
    server.answers["test_mod2"] = PAGE
    with pytest.raises(ValueError, match="save the right file as") as error:
        source(server).fetch()
    Path(str(error.value).rpartition("save the right file as ")[2]).write_bytes(server.files["test_mod2"])
    assert len(source(server).load().obs) == 150


def test_a_damaged_file_is_told_and_got_again(server: Server) -> None:
    folder = source(server).fetch()
    file = folder / "toy.censor_dataset.output_train_mod2.h5ad"
    for damage in (PAGE, server.files["train_mod2"][:5000], server.files["test_mod2"]):
        file.write_bytes(damage)
        with pytest.raises(
            ValueError, match=r"train_mod2.h5ad is not the file first seen: .*by `scmobench data fetch toy`"
        ):
            source(server).load()
        source(server).fetch()
        assert file.read_bytes() == server.files["train_mod2"]
        source(server).load()
    assert server.asked == [*ALL, *["train_mod2"] * 3]


def test_a_page_that_was_pinned_before_gives_way_to_the_right_file(server: Server) -> None:
    folder = source(server).fetch()
    file, pins = folder / "toy.censor_dataset.output_train_mod1.h5ad", source(server).pins
    file.write_bytes(PAGE)
    pins.write_text(json.dumps(read_pins(pins) | {"train_mod1": sha256(file)}))
    with pytest.raises(ValueError, match=r"expected an h5ad file at .*train_mod1.h5ad, found one"):
        source(server).load()
    source(server).fetch()
    assert read_pins(pins)["train_mod1"] == sha256(file)
    assert len(source(server).load().obs) == 150


def test_a_server_with_another_file_than_the_first_is_refused(server: Server, tiny_paired, tmp_path) -> None:
    folder, pins = source(server).fetch(), source(server).pins
    other = tiny_paired.mod1[tiny_paired.obs["is_train"]].copy()
    other.X.data[0] += 1
    other.write_h5ad(tmp_path / "other.h5ad")
    first, server.files["train_mod1"] = server.files["train_mod1"], (tmp_path / "other.h5ad").read_bytes()
    file = folder / "toy.censor_dataset.output_train_mod1.h5ad"
    file.write_bytes(first[:100])
    with pytest.raises(
        ValueError, match=r"is not the file first seen: .*; delete .*sha256.json to accept it"
    ):
        source(server).fetch()
    assert file.read_bytes() == first[:100]
    pins.unlink()
    source(server).fetch()
    assert file.read_bytes() == server.files["train_mod1"]


def test_files_of_other_parts_are_not_pinned_together(server: Server) -> None:
    right, server.files["train_mod1"] = server.files["train_mod1"], server.files["train_mod2"]
    with pytest.raises(ValueError, match=r"delete it from .*, and `scmobench data fetch toy` gets it again"):
        source(server).fetch()
    assert not stored("*.json")
    (file,) = cache_dir().rglob("*train_mod1.h5ad")
    file.unlink()
    server.files["train_mod1"] = right
    source(server).fetch()
    assert len(source(server).load().obs) == 150


def test_damaged_pins_say_what_to_do(server: Server) -> None:
    source(server).fetch()
    for damage in ("", "[1]", "{half"):
        source(server).pins.write_text(damage)
        with pytest.raises(ValueError, match=r"expected hashes of files in .*: delete it"):
            source(server).load()
    source(server).pins.unlink()
    source(server).load()


def test_leftovers_of_a_killed_download_go(server: Server) -> None:
    folder = cache_dir() / "competition" / "predict_modality" / "toy"
    (folder / "download.partial").mkdir(parents=True)
    for name in ("download.partial/tmpabc", "tmpabcdefgh", ".12.partial"):
        (folder / name).write_text("half")
    source(server).fetch()
    assert sorted(p.name for p in folder.iterdir()) == [".lock", *stored("*.h5ad")]


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "", "..", "x" * 250, "a\nb"])
def test_the_files_of_a_dataset_stay_in_the_cache(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected dataset.dataset to be what the files' names begin with|name"
    ):
        Competition(name="toy", dataset=name, url="http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "magic://x"])
def test_no_server_is_one_line(server: Server, url: str) -> None:
    server.url = url
    with pytest.raises(
        OSError, match=r"expected a file at .*, could not get it .*check dataset.url"
    ) as error:
        source(server).fetch()
    assert "\n" not in str(error.value)


def test_a_cache_that_cannot_be_written_says_how_to_name_another(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ways = [source(server).fetch, MiniCite(name="mini").fetch, lambda: gene_set_file("hallmark")]
    monkeypatch.setenv("SCMOBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("SCMOBENCH_CACHE")
    for home in ("/proc/nohome", str(tmp_path / "file")):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        for way in ways:
            with pytest.raises(
                OSError, match=r"can be written at .*; set the .*variable SCMOBENCH_CACHE to one"
            ):
                way()
    fetch = ["data", "fetch", "competition", "+dataset.normalization={GEX:counts,ADT:counts}"]
    fetch += ["dataset.dataset=toy", f"+dataset.url={server.url}"]
    with pytest.raises(SystemExit, match="SCMOBENCH_CACHE"):
        main(fetch)
    monkeypatch.setenv("SCMOBENCH_CACHE", str(tmp_path / "another"))
    main(fetch)
    assert str(tmp_path / "another") in capsys.readouterr().out
    assert compose(["dataset=competition"]).dataset.name
    assert ad.read_h5ad(next((tmp_path / "another").rglob("*test_mod1.h5ad"))).n_obs
