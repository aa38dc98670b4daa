from __future__ import annotations

import numpy as np
import pytest

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.geometry.stream_files import hook_names, hook_place, write_streams
from atlas.geometry.stream_quality import COLUMNS, check_streams, refuse_bad_streams


def stored(path, change=lambda hook, array: array, layers=2):
    arrays = []
    for hook in hook_names(layers):
        array = change(hook, np.full((3, 4), 2.0, dtype=np.float16))
        if array is not None:
            arrays.append((hook, array))
    write_streams(path, ["a", "b", "c"], [5, 6, 7], "last_token", arrays)
    return path


def broken(kind):
    def change(hook, array):
        if hook != "blocks.1.hook_resid_mid":
            return array
        if kind == "missing":
            return None
        array[1, 2] = {"nan": np.nan, "inf": np.inf}.get(kind, array[1, 2])
        return array * np.float16({"large": 1000, "small": 0.01}.get(kind, 1))

    return change


def test_a_good_file(tmp_path):
    rows = check_streams(stored(tmp_path / "a.h5"), 2)
    assert len(rows) == 1 + 4 * 3
    assert all(row["passed"] == 1 for row in rows)
    assert {row["value"] for row in rows if row["check"] == "mean_norm"} == {4.0}
    write_csv(tmp_path / "quality.csv", COLUMNS, rows)
    refuse_bad_streams(tmp_path / "quality.csv")


@pytest.mark.parametrize(
    ("kind", "check", "value"),
    [
        ("nan", "not_finite", "1"), ("inf", "not_finite", "1"), ("missing", "present", "0"),
        ("large", "mean_norm", "4000.0"), ("small", "mean_norm", r"0\.04"),
    ],
)  # fmt: skip
def test_the_culprit_is_named(tmp_path, kind, check, value):
    file = stored(tmp_path / "a.h5", broken(kind))
    rows = check_streams(file, 2)
    failed = [row for row in rows if not row["passed"] and row["hook"]]
    assert failed[0]["check"] == check
    assert {row["hook"] for row in failed} == {"blocks.1.hook_resid_mid"}
    rows = [row for row in rows if row["hook"]]
    write_csv(tmp_path / "quality.csv", COLUMNS, rows)
    assert len(read_csv(tmp_path / "quality.csv")) == len(rows)
    expected = rf"a\.h5: blocks\.1\.hook_resid_mid: the check {check} failed: {value}"
    with pytest.raises(AtlasError, match=expected):
        refuse_bad_streams(tmp_path / "quality.csv")


def test_the_number_of_hooks(tmp_path):
    rows = check_streams(stored(tmp_path / "a.h5"), 3)
    assert (rows[0]["check"], rows[0]["value"], rows[0]["passed"]) == ("hooks", 4, 0)
    assert sum(row["check"] == "present" and not row["passed"] for row in rows) == 2
    more = check_streams(stored(tmp_path / "b.h5"), 1)
    assert [row for row in more if not row["passed"]] == [more[0]]
    write_csv(tmp_path / "quality.csv", COLUMNS, rows)
    with pytest.raises(
        AtlasError, match=r"a\.h5: the check hooks failed: 4, and 6 to 6 .*3 checks"
    ):
        refuse_bad_streams(tmp_path / "quality.csv")


def test_names_of_hooks():
    assert hook_place("blocks.12.hook_resid_mid") == (12, "resid_mid")
    for name in ("blocks.1.hook_attn_out", "blocks.x.hook_resid_mid", "hook_embed"):
        with pytest.raises(AtlasError, match="not the name of a hook"):
            hook_place(name)


def test_equal_arrays_give_equal_bytes(tmp_path):
    one, other = stored(tmp_path / "a.h5"), stored(tmp_path / "b.h5")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_file_is_no_larger_than_its_values(tmp_path, dtype):
    draw = np.random.default_rng(1)
    arrays = [(hook, draw.normal(size=(100, 512)).astype(dtype)) for hook in hook_names(4)]
    write_streams(tmp_path / "a.h5", ["a prompt"] * 100, [9] * 100, "last_token", arrays)
    raw = sum(array.nbytes for _, array in arrays)
    assert raw < (tmp_path / "a.h5").stat().st_size < 1.05 * raw
