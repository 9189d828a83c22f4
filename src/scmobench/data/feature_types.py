"""Feature types: the words that files use for genes, proteins and peaks."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

# Lower case, without spaces and signs; the first word of each modality is that of 10x Genomics.
WORDS = {
    "GEX": "geneexpression gex rna mrna gene genes scrna scrnaseq snrna snrnaseq rnaseq transcript "
    "transcripts transcriptome transcriptomics expression",
    "ADT": "antibodycapture adt adts prot protein proteins proteinexpression surfaceprotein surfaceproteins "
    "cellsurfaceprotein antibody antibodies antibodyderivedtag antibodyderivedtags cite citeseq",
    "ATAC": "peaks peak atac atacseq scatac scatacseq snatac snatacseq atacpeaks chromatinaccessibility "
    "accessibility chromatin openchromatin",
}
MODALITIES = tuple(WORDS)
MEANING = {word: modality for modality, words in WORDS.items() for word in words.split()}


def modality_of(word: object) -> str:
    """GEX, ADT or ATAC, as the word is used in the field; empty for any other word."""
    return MEANING.get(re.sub("[^a-z0-9]", "", str(word).lower()), "")


def needed(names: Iterable[str], kind: str | None) -> list[str]:
    """The modalities of a file to read, if mod2 is to be ``kind``, or any known one (None).

    Unknown names count only where no name means ``kind``: the user says that one of them does.
    """
    names = list(names)
    known = [name for name in names if modality_of(name) in (("GEX", kind) if kind else MODALITIES)]
    if kind and not any(modality_of(name) == kind for name in names):
        known += [name for name in names if not modality_of(name)]
    return known


def _stated(modality: "AnnData") -> dict[str, str]:
    """The different values of ``var["feature_types"]`` and their meanings."""
    if "feature_types" not in modality.var:
        return {}
    words = sorted(map(str, modality.var["feature_types"].dropna().unique()))
    return {word: modality_of(word) for word in words}


def stated_modality(modality: "AnnData", where: str, advice: str = "") -> str:
    """GEX, ADT or ATAC, as ``var["feature_types"]`` states."""
    words = _stated(modality)
    kinds = set(words.values())
    if len(kinds) != 1 or "" in kinds:
        advice = (advice if len(words) < 2 else _of_several(words, MODALITIES[1:])) or _renamed()
        raise ValueError(
            f'{where}: var["feature_types"] {f"says {list(words)}" if words else "is missing"}; expected '
            f"{', '.join(MODALITIES)} (or Gene Expression, Antibody Capture, Peaks). {advice}"
        )
    return kinds.pop()


def _of_several(words: Mapping[str, str], wanted: Iterable[str]) -> str:
    """What to do with a file of several feature types; empty where none is of a wanted modality."""
    known = [word for word, kind in words.items() if kind]
    if len({words[word] for word in known}) > 1:
        return "a file with both modalities is given alone: dataset.h5ad=FILE"
    if not known or words[known[0]] not in wanted:
        return ""
    return f'keep these features alone: cells[:, cells.var["feature_types"] == {known[0]!r}]'


def with_feature_type(modality: "AnnData", expected: str, where: str) -> "AnnData":
    """Set ``var["feature_types"]`` to ``expected``, one of `MODALITIES`, unless it states another modality.

    A single unknown word is taken for the expected modality, as the user says.
    """
    words = _stated(modality)
    kinds = set(words.values())
    if not (kinds <= {expected} or (kinds == {""} and len(words) == 1)):
        several = _of_several(words, (expected,)) or "is this the right file?"
        advice = _renamed(expected) if kinds == {""} else several
        found = list(words)
        raise ValueError(f"{where}: expected {expected} features, found feature_types {found}; {advice}")
    modality.var["feature_types"] = expected
    return modality


def chosen(
    words: Iterable[str], kind: str | None, where: str, rename: str = ""
) -> tuple[list[str], list[str], str]:
    """Choose gene expression and mod2 among feature types, or among names of modalities.

    Returns the words for GEX, those for mod2, and the modality of mod2. Raises ValueError without gene
    expression, or without exactly one other modality.

    ``kind`` is the modality that the user wants as mod2; if a single word is unknown, it means this.
    ``rename`` is advice on how to make an unknown word known.
    """
    words = list(map(str, words))
    found = {m: [word for word in words if modality_of(word) == m] for m in ("", *MODALITIES)}
    others = [m for m in MODALITIES[1:] if found[m] and kind in (None, m)]
    if kind and not others and len(found[""]) == 1:
        found[kind], others = found[""], [kind]
    if found["GEX"] and len(others) == 1:
        return found["GEX"], found[others[0]], others[0]
    if len(found["GEX"]) == len(words):
        advice = "give the other modality too, as two files: dataset.gex=FILE dataset.mod2=FILE"
    elif not found["GEX"]:
        advice = rename or _renamed("GEX")
    elif len(others) > 1:
        advice = "where there are three, choose by dataset.kind=ADT or dataset.kind=ATAC"
    elif not kind and len(found[""]) == 1:
        advice = f"if {found[''][0]} are proteins: dataset.kind=ADT, if they are peaks: dataset.kind=ATAC"
    else:
        advice = rename or _renamed(kind or "ADT")
    raise ValueError(
        f"{where}: expected gene expression and one of ADT or ATAC, found {sorted(words)}"
        f"{f' and dataset.kind={kind}' if kind else ''}; {advice}"
    )


def _renamed(modality: str = "ADT") -> str:
    return f'name the features in the file: var["feature_types"] = "{modality}" for those that are'
