"""Gene sets in GMT files, and the MSigDB hallmark sets."""

import os
from pathlib import Path

from scmobench.data.download import sha256
from scmobench.data.source import cache_dir, cache_folder

HALLMARK = "h.all.v7.4.symbols.gmt"
HALLMARK_URL = f"https://data.broadinstitute.org/gsea-msigdb/msigdb/release/7.4/{HALLMARK}"
HALLMARK_SHA256 = "53adce93e699353f59947ead34a228ef1a6483473bca12ca8f32971087cd4ed0"


def read_gmt(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Gene sets by name; each line of a GMT file is name, description and genes, separated by tabs.

    Raises FileNotFoundError if there is no such file, and ValueError without sets, for a line without genes
    and for a name that comes twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a GMT file of gene sets at {path}, found none: give its path")
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = line.rstrip().split("\t")
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not genes:
            raise ValueError(
                f"expected name, description and genes, separated by tabs, in line {number} of {path}"
            )
        if name in sets:
            raise ValueError(f"expected each set once in {path}, found {name!r} again in line {number}")
        sets[name] = genes
    if not sets:
        raise ValueError(f"expected gene sets in {path}, found an empty file")
    return sets


def gene_set_file(source: str | Path) -> Path:
    """The file at a path; for ``hallmark`` the 50 MSigDB hallmark sets (Liberzon et al. 2015, Cell Systems
    1:417; version 7.4), from ``$SCMOBENCH_DATA/pathways`` or downloaded once.

    Raises OSError if the download failed (it says how to name a file), and ValueError for another file of
    that name in ``$SCMOBENCH_DATA/pathways``.
    """
    if str(source) != "hallmark":
        return Path(source)
    at_hand = Path(os.environ.get("SCMOBENCH_DATA", "data")) / "pathways" / HALLMARK
    if at_hand.is_file():
        if sha256(at_hand) != HALLMARK_SHA256:
            raise ValueError(f"expected the hallmark sets of version 7.4 in {at_hand}, found another file")
        return at_hand
    import pooch

    folder = cache_dir() / "genesets"
    if not (folder / HALLMARK).is_file():
        cache_folder("genesets")
    try:
        return Path(pooch.retrieve(HALLMARK_URL, f"sha256:{HALLMARK_SHA256}", fname=HALLMARK, path=folder))
    except OSError as error:
        raise OSError(
            f"the hallmark sets could not be downloaded from {HALLMARK_URL} ({error}): "
            f"put {HALLMARK} into $SCMOBENCH_DATA/pathways, or name a file in place of hallmark, "
            "model.predict_modality.pathway=FILE.gmt"
        ) from error
