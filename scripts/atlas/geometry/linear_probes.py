"""Whether the activations of a prompt tell that the model will answer it correctly.

A linear probe reads them; G. Alain and Y. Bengio, ICLR 2017 workshop (arXiv 1610.01644).
"""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from atlas.files import read_csv

Array = np.ndarray[Any, Any]
FOLDS, SEED = 5, 42


def probe_auc(activations: Array, correct: Array) -> float | None:
    """Area under the curve of a cross-validated linear probe: .5 where it knows nothing, 1 where all.

    Logistic regression (L2, C = 1) of standardised activations, which sees a prompt only when it was
    trained on the others: stratified folds, shuffled by SEED.

    :param activations: (n, d), any float type. :param correct: (n,) 0 or 1.
    :returns: None where one answer or the other was given fewer than FOLDS times.
    """
    if min(np.bincount(correct, minlength=2)) < FOLDS:
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(
        probe, activations.astype(np.float64), correct, cv=folds, method="decision_function"
    )
    return float(roc_auc_score(correct, scores))


def correct_answers(file: Path) -> Array:
    """(n,) int64, 1 where the answer to a prompt is correct; the first n prompts."""
    return np.array([int(row["correct"]) for row in read_csv(file)], dtype=np.int64)
