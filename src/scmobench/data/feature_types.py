"""Feature types: the words that files use for genes, proteins and peaks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

# in small letters, without spaces and signs; 10x Genomics' words are the first of each
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
    """GEX, ADT or ATAC, whichever the word means in the field; empty for any other word."""
    return MEANING.get(re.sub("[^a-z0-9]", "", str(word).lower()), "")


def needed(names: Iterable[str], kind: str | None) -> list[str]:
    """Which modalities of a file have to be read, where mod2 is to be ``kind``, or any known one (None).

    Those with unknown names count only where none is ``kind``: the user says that one of them is.
    """
    names = list(names)
    known = [name for name in names if modality_of(name) in (("GEX", kind) if kind else MODALITIES)]
    if kind and not any(modality_of(name) == kind for name in names):
        known += [name for name in names if not modality_of(name)]
    return known


def stated(modality: AnnData) -> list[str]:
    """The different values of ``var["feature_types"]``, sorted; empty where there are none."""
    if "feature_types" not in modality.var:
        return []
    return sorted(map(str, modality.var["feature_types"].dropna().unique()))


def stated_modality(modality: AnnData, where: str, advice: str = "") -> str:
    """ADT, ATAC or GEX, as a file of one modality says.

    Raises
    ------
    ValueError : it says nothing, a word that is not known, or several things.
    """
    words = stated(modality)
    kinds = {modality_of(word) for word in words}
    if len(kinds) != 1 or "" in kinds:
        raise ValueError(
            f'{where}: var["feature_types"] says {words or "nothing"}; expected {", ".join(MODALITIES)} '
            f"(or Gene Expression, Antibody Capture, Peaks). {advice or _renamed()}"
        )
    return kinds.pop()


def with_feature_type(modality: AnnData, expected: str, where: str) -> AnnData:
    """Name the feature type in the field's short form, and refuse a file of another one.

    A single word that the field does not know is what the user says that it is.

    Parameters
    ----------
    modality : cells x features; ``var["feature_types"]`` may be missing or in other words.
    expected : one of `MODALITIES`.
    where : what to call the file in a message.

    Raises
    ------
    ValueError : the file says that it holds something else, or something beside it.
    """
    if expected not in MODALITIES:
        raise ValueError(f"expected a modality of {MODALITIES}, found {expected!r}")
    words = stated(modality)
    kinds = {modality_of(word) for word in words}
    if not (kinds <= {expected} or (kinds == {""} and len(words) == 1)):
        if len(kinds - {""}) > 1:
            advice = "a file with both modalities is given alone: dataset.h5ad=FILE"
        elif expected in kinds:
            known = next(word for word in words if modality_of(word) == expected)
            advice = f'keep these features alone: cells[:, cells.var["feature_types"] == {known!r}]'
        else:
            advice = _renamed(expected) if kinds == {""} else "is this the right file?"
        raise ValueError(f"{where}: expected {expected} features, found feature_types {words}; {advice}")
    modality.var["feature_types"] = expected
    return modality


def chosen(
    words: Iterable[str], kind: str | None, where: str, rename: str = ""
) -> tuple[list[str], list[str], str]:
    """Which of the feature types, or modalities, of a file are gene expression, and which is mod2.

    Parameters
    ----------
    words : all that the file has.
    kind : what the user wants as mod2; where one word is unknown it is what that means.
    where : what to call the file in a message.
    rename : how to make an unknown word known; as a rule in ``var["feature_types"]``.

    Returns
    -------
    Words for GEX, words for mod2, and what mod2 is.

    Raises
    ------
    ValueError : there is no gene expression, or not one other modality.
    """
    words = list(words)
    found = {m: [word for word in words if modality_of(word) == m] for m in ("", *MODALITIES)}
    others = [m for m in MODALITIES[1:] if found[m] and kind in (None, m)]
    if kind and not others and len(found[""]) == 1:
        found[kind], others = found[""], [kind]
    if found["GEX"] and len(others) == 1:
        return found["GEX"], found[others[0]], others[0]
    if not found["GEX"]:
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
