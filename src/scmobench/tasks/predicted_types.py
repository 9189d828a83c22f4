"""Cell types of the test cells, predicted by a classifier of the training cells, to choose settings by."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from scmobench.data.reduce import LSI, SVD
from scmobench.tasks.base import normalized
from scmobench.types import Paired, feature_type

COMPONENTS = 32
INVERSE_REGULARISATION = 0.1
KEPT = ("batch", "is_train", "is_scored", "cell_type")


def predicted_types(paired: Paired) -> Paired:
    """The same cells with predicted types of the test cells, and without all other labels.

    A score with these types asks: do test cells lie with training cells of the type that they look like?
    Where there is a single training batch, held-out training cells cannot show the shift between batches. No
    label of a test cell is read; the training cells keep their own types.

    The classifier is a logistic regression on both modalities' components (SVD of log shares, or of the
    normalised values where there are no counts; proteins as normalised), centred by batch. Limits: it favours
    embeddings of similar inputs, it takes a shift that looks like another type for that type, and there are
    no cell-cycle scores and pseudotimes, for models and for metrics. Raises ValueError if the training cells
    have no types, or only one, and if no test cell is scored, so that this score would be that of the table.
    """
    train = paired.obs["is_train"].to_numpy(dtype=bool)
    if not paired.obs["is_scored"][~train].any():
        raise ValueError(
            f"score_on=predicted_types needs test cells that are scored: on {paired.name} all scored cells "
            "are training cells, whose types are known; use score_on=validation"
        )
    known = paired.obs["cell_type"][train] if "cell_type" in paired.obs else pd.Series(dtype=object)
    if known.nunique() < 2 or known.isna().any():
        raise ValueError(
            "score_on=predicted_types needs a cell_type of every training cell and two types at least, "
            f"found {known.nunique()} types and {int(known.isna().sum())} training cells without"
        )
    inputs = np.hstack([_components(modality) for modality in normalized(paired)[:2]])
    inputs = StandardScaler().fit(inputs[train]).transform(inputs)
    classifier = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=2000)
    types = paired.obs["cell_type"].astype(object).to_numpy(copy=True)
    types[~train] = classifier.fit(inputs[train], known.astype(str)).predict(inputs[~train])
    digest = hashlib.sha256("\n".join(types.astype(str)).encode()).hexdigest()[:12]
    kept = [column for column in KEPT if column in paired.obs]
    return replace(
        paired,
        obs=paired.obs[kept].assign(cell_type=pd.Categorical(types.astype(str))),
        protocol="",
        hash=f"{paired.hash}-predicted-types-{digest}",
    )


def _components(modality: AnnData) -> np.ndarray:
    """Cells x components, or proteins, centred by batch, float64."""
    if feature_type(modality) == "ADT":
        reduced = modality.to_df()
    elif "counts" in modality.layers:
        counts = modality.layers["counts"]
        svd = LSI(COMPONENTS, drop_first=False, seed=0, weighted=False).fit(counts)
        reduced = pd.DataFrame(svd.transform(counts), index=modality.obs_names)
    else:
        reduced = pd.DataFrame(SVD(COMPONENTS, seed=0).fit_transform(modality.X), index=modality.obs_names)
    return (reduced - reduced.groupby(modality.obs["batch"].astype(str)).transform("mean")).to_numpy(
        np.float64
    )
