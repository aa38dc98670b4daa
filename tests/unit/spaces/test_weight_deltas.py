from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from atlas.kept import Kept
from atlas.networks.named_weights import NamedWeights
from atlas.spaces import weight_deltas
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.sketches import DIMENSIONS, sketched
from atlas.spaces.weight_deltas import add_products, embed, inner_products
from atlas.weights.lora import LoraModule
from atlas.weights.matrix_changes import Dense, LowRank
from unit.networks.kinds import adapter, full, lora, make_base, of
from unit.networks.model_kinds import EMBEDDED
from unit.networks.test_model_kinds import merged_minus_base

KINDS = {
    "lora 4": adapter(lora()),
    "lora 2": adapter(lora(r=2, target_modules=["q_proj", "down_proj", "up_proj"])),
    "rslora": adapter(lora(r=8, use_rslora=True)),
    "ia3": adapter(of("IA3", ["v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "dora": adapter(lora(use_dora=True)),
    "lokr": EMBEDDED["lokr"],
    "norms saved": EMBEDDED["norms saved"],
    "grown": EMBEDDED["grown"],
    "full": full(),
}


class Base:
    def __init__(self, folder, name):
        self.folder = folder / name
        make_base(self.folder, name)
        self.files = sorted(self.folder.iterdir())
        self.weights = NamedWeights(self.files)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return Base(tmp_path_factory.mktemp("bases"), "llama")


@pytest.fixture(scope="module")
def pool(base, tmp_path_factory):
    """Folders of the models, and the whole dW of each as one vector, as PEFT merges it."""
    folder, rows = tmp_path_factory.mktemp("models"), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, kind in KINDS.items():
            kind.make(base.folder, folder / name)
            delta = merged_minus_base(kind.reference(base.folder, folder / name), base, kind.called)
            whole = {n: torch.zeros(base.weights.shape(n)) for n in base.weights}
            for tensor, values in delta.items():
                whole[tensor][: len(values)] = values
            rows.append(torch.cat([whole[n].reshape(-1).double() for n in sorted(whole)]))
    return [folder / name for name in KINDS], torch.stack(rows).numpy()


def embedded(base, folders, folder, **more):
    embed(
        bases=base.files, weights=[p for f in folders for p in sorted(f.iterdir()) if p.is_file()],
        models=[{"name": f.name, "base": base.folder.name, "domain": "d"} for f in folders],
        embeddings=folder / "embeddings.npz", **more,
    )  # fmt: skip
    return read_embeddings(folder / "embeddings.npz")


def test_similarities_are_those_of_all_changed_weights(base, pool, tmp_path):
    folders, rows = pool
    found = embedded(base, folders, tmp_path)
    expected = cosine_similarity(rows)
    assert abs(expected - np.eye(len(rows))).max() > 0.1
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)
    assert found.dimension == rows.shape[1]


def low_rank(a, b, scale):
    return LowRank(LoraModule(a, b, scale))


def products(changes):
    gram = np.zeros((len(changes), len(changes)))
    add_products(gram, dict(enumerate(changes)))
    return gram


sizes = st.integers(1, 6)


@given(st.integers(0, 10_000), sizes, sizes, st.lists(sizes, min_size=1, max_size=4), st.booleans())
def test_products_of_any_ranks_and_of_what_has_none(seed, rows, columns, ranks, dense):
    random = torch.Generator().manual_seed(seed)
    changes = [
        low_rank(
            torch.randn(r, columns, generator=random), torch.randn(rows, r, generator=random), r
        )
        for r in ranks
    ]
    if dense:
        whole = torch.randn(rows, columns, generator=random)
        changes.insert(1, Dense((rows, columns), lambda: whole))
    flat = np.stack([
        (c.module.b.double() @ c.module.a.double() * c.module.scale).reshape(-1).numpy()
        if isinstance(c, LowRank) else c.values.reshape(-1).double().numpy()
        for c in changes
    ])  # fmt: skip
    np.testing.assert_allclose(products(changes), flat @ flat.T, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 8]))
def test_the_basis_of_the_factors_is_nothing(seed, rank):
    """B A = (B R^-1) (R A): the cosines of one pool and of its refactoring."""
    random = torch.Generator().manual_seed(seed)
    one, two = [], []
    for scale in (0.5, 1.0, 2.0):
        a, b = torch.randn(rank, 40, generator=random), torch.randn(30, rank, generator=random)
        turn = torch.linalg.qr(torch.randn(rank, rank, generator=random))[0]
        turn = turn @ torch.diag(torch.rand(rank, generator=random) * 3 + 0.3)
        one.append(low_rank(a, b, scale))
        two.append(low_rank(turn @ a, b @ torch.linalg.inv(turn), scale))
    found, turned = (products([*one, *two[:1]]), products([*two, *one[:1]]))

    def cosines(gram):
        return gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))

    np.testing.assert_allclose(cosines(found), cosines(turned), atol=1e-6)
    np.testing.assert_allclose(cosines(found)[0, 3], 1.0, atol=1e-6)


def test_factors_are_multiplied_in_groups_too(monkeypatch):
    random = torch.Generator().manual_seed(1)
    changes = [
        low_rank(torch.randn(r, 9, generator=random), torch.randn(7, r, generator=random), 1.5)
        for r in (1, 3, 2, 4)
    ]
    at_once = products(changes)
    monkeypatch.setattr(weight_deltas, "STACKED", 60)
    np.testing.assert_allclose(products(changes), at_once, rtol=1e-12)


def test_sketches_of_a_large_pool(base, pool, tmp_path, monkeypatch, capsys):
    folders, rows = pool
    monkeypatch.setattr(weight_deltas, "EXACT", 2)
    found = embedded(base, folders, tmp_path)
    assert found.embeddings.shape == (len(folders), DIMENSIONS)
    assert found.dimension == DIMENSIONS
    off = cosine_similarity(found.embeddings.astype(np.float64)) - cosine_similarity(rows)
    pairs = np.triu_indices(len(rows), 1)
    error = np.sqrt(np.mean(off[pairs] ** 2))
    assert 0 < error < 0.1
    assert f"are off by {error:.4f} (root mean square, of 9 models)" in capsys.readouterr().err


@pytest.mark.parametrize("before", ["sketches", "similarities"])
def test_sketches_that_are_there_are_kept(base, pool, tmp_path, monkeypatch, before):
    folders, _ = pool
    if before == "sketches":
        monkeypatch.setattr(weight_deltas, "EXACT", 2)
    embedded(base, folders[:4], tmp_path)
    old = (tmp_path / "embeddings.npz").rename(tmp_path / "old.npz")
    monkeypatch.setattr(weight_deltas, "EXACT", 2)
    embedded(base, folders, tmp_path)
    whole = (tmp_path / "embeddings.npz").read_bytes()
    made = []
    monkeypatch.setattr(weight_deltas, "sketched", lambda c: made.append(1) or sketched(c))
    kept = Kept({f.name: base.folder.name for f in folders[:4]}, {"embeddings": old})
    embedded(base, folders, tmp_path, kept=kept)
    assert (tmp_path / "embeddings.npz").read_bytes() == whole
    assert len(made) == len(folders) - (4 if before == "sketches" else 0)
    assert len(kept.models) == (4 if before == "sketches" else 0)


def test_a_sketch_keeps_products_in_the_mean():
    """Over many names, and so many choices of signs: within four standard errors."""
    random = torch.Generator().manual_seed(2)
    one, two = (
        low_rank(torch.randn(2, 30, generator=random), torch.randn(20, 2, generator=random), 1.0)
        for _ in range(2)
    )
    two = low_rank(one.module.a + two.module.a, one.module.b + two.module.b, 0.5)
    exact = products([one, two])[0, 1]
    found = np.array([
        np.dot(sketched([(name, one)]).astype(float), sketched([(name, two)]).astype(float))
        for name in map(str, range(200))
    ])  # fmt: skip
    assert abs(exact) > 100
    assert abs(found.mean() - exact) < 4 * found.std() / np.sqrt(len(found))
    assert found.std() < abs(exact)


def test_a_sketch_does_not_hang_on_the_kind():
    random = torch.Generator().manual_seed(3)
    one = low_rank(torch.randn(3, 70, generator=random), torch.randn(90, 3, generator=random), 2.0)
    whole = Dense((90, 70), lambda: one.values)
    np.testing.assert_allclose(sketched([("w", one)]), sketched([("w", whole)]), atol=1e-4)
    longer = Dense((95, 70), lambda: torch.cat([one.values, torch.zeros(5, 70)]))
    np.testing.assert_allclose(sketched([("w", one)]), sketched([("w", longer)]), atol=1e-4)


def test_what_changes_no_weight_has_a_reason(base, pool, tmp_path):
    kind = EMBEDDED["prompt"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(base.folder, tmp_path / "prompt")
    found = embedded(base, [pool[0][0], tmp_path / "prompt"], tmp_path)
    assert found.reason == "prompt: prompt tuning changes no weight of the base"


def test_the_merged_adapter_is_where_the_adapter_is(base, tmp_path):
    """An adapter, and the same merged into a full model."""
    kind = KINDS["lora 4"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(base.folder, tmp_path / "adapter")
        merged = kind.reference(base.folder, tmp_path / "adapter").merge_and_unload()
    merged.save_pretrained(tmp_path / "whole")
    found = embedded(base, [tmp_path / "adapter", tmp_path / "whole"], tmp_path)
    np.testing.assert_allclose(found.similarity, 1.0, atol=1e-5)
    files = [sorted((tmp_path / name).iterdir()) for name in ("adapter", "whole")]
    gram = inner_products({str(i): (f, base.weights) for i, f in enumerate(files)})
    np.testing.assert_allclose(gram, gram[0, 0], rtol=1e-5)
