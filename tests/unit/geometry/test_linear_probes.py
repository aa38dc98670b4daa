from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.geometry.linear_probes import probe_auc


def test_a_separable_set_and_random_labels():
    draw = np.random.default_rng(1)
    activations = draw.normal(size=(400, 10))
    assert probe_auc(activations, (activations[:, 3] > 0.2).astype(int)) > 0.99
    apart = draw.normal(size=(60, 30)) + 20 * (np.arange(60) % 2)[:, None]
    assert probe_auc(apart.astype(np.float16), np.arange(60) % 2) == 1.0
    # Of labels that know nothing, about half; a probe that is tried on what it has seen finds more.
    areas = [probe_auc(draw.normal(size=(200, 20)), draw.integers(2, size=200)) for _ in range(20)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.04)
    # More directions than prompts: all can be told apart by heart, and still nothing is known.
    wide = [probe_auc(draw.normal(size=(60, 300)), draw.integers(2, size=60)) for _ in range(20)]
    assert np.mean(wide) == pytest.approx(0.5, abs=0.08)


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_the_scale_of_activations_does_not_matter(seed, scale):
    draw = np.random.default_rng(seed)
    activations, labels = draw.normal(size=(30, 4)), np.arange(30) % 2
    found = probe_auc(activations, labels)
    assert probe_auc(scale * activations + 7, labels) == pytest.approx(found, abs=0.01)
    assert probe_auc(activations, 1 - labels) == pytest.approx(found, abs=0.01)


def test_too_few_of_a_kind():
    activations = np.random.default_rng(2).normal(size=(30, 4))
    for count in (0, 4, 26, 30):
        assert probe_auc(activations, (np.arange(30) < count).astype(int)) is None
    assert probe_auc(activations, (np.arange(30) < 5).astype(int)) is not None
