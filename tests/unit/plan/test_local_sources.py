"""Files of a user's own: what cannot work is refused when a run is planned."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan.local_sources import local_folder, local_rows


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_rows_that_can_be_read(here):
    (here / "a.jsonl").write_text('\ufeff{"a": 1}\n')
    assert local_rows("d", "a.jsonl") == ["a.jsonl"]
    (here / "x").mkdir()
    assert local_rows("d", "./x/../a.jsonl") == ["a.jsonl"]
    assert local_rows("d", "~/a.jsonl") == [str(here / "a.jsonl")]
    (here / "a.csv").write_text("a\n1\n")
    assert local_rows("d", "a.csv") == ["a.csv"]
    assert local_rows("d", None) == []


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [("gone.jsonl", None, r"there is no file gone\.jsonl; relative paths .* from the working folder, /"),
     ("a.txt", b"x", r"rows are read from \.jsonl, .*, and not from a\.txt"),
     ("a.csv", b"", "a.csv is empty"),
     ("a.jsonl", b"<html>\n", r"the first line of a\.jsonl is no JSON \("),
     ("a.jsonl", b"[1]\n", "is no JSON object"), ("a.jsonl", b"\n{}\n", "is no JSON"),
     ("a.jsonl", b'{"a":' * 9999, "is no JSON"), ("a.jsonl", b"\xff\xfe", "is no JSON"),
     ("folder.jsonl", "folder", "is no file; name one file of rows")],
)  # fmt: skip
def test_rows_that_cannot(here, name, data, message):
    if data == "folder":
        (here / name).mkdir()
    elif data is not None:
        (here / name).write_bytes(data)
    with pytest.raises(AtlasError, match=rf"datasets\.d\.source\.local: .*{message}"):
        local_rows("d", name)


def test_an_absolute_path_starts_nowhere_else():
    with pytest.raises(AtlasError, match=r"there is no file /no/such\.csv; mend the path"):
        local_rows("d", "/no/such.csv")


@pytest.mark.parametrize(
    ("path", "message"),
    [("~nosuchuser/a.csv", "there is no file ~nosuchuser/a.csv"), ("x" * 5000, "no path is as long"),
     ("a\0b", "there is no file")],
)  # fmt: skip
def test_a_path_that_no_file_can_have(here, path, message):
    with pytest.raises(AtlasError, match=message):
        local_rows("d", path)
    with pytest.raises(AtlasError, match=message.replace("file", "folder")):
        local_folder("models.m", path, ["x"])


def test_a_folder_of_a_model(here):
    (here / "m").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "training_args.bin"):
        (here / "m" / name).write_text("{}")
    found = local_folder("models.m", "m", ["adapter_config.json"])
    assert found == ["m/adapter_config.json", "m/adapter_model.safetensors"]
    assert local_folder("models.m", None, ["x"]) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [(None, r"there is no folder m; relative paths"), ("file", "m is no folder"),
     ([], r"m has no config\.json; is it that of a model"),
     (["config.json"], "has no file of safetensors, and no weights are there"),
     (["optimizer.pt", "config.json"], "has no file of safetensors, and no weights are there"),
     (["m.gguf"], r'and m\.gguf is GGUF, .*gguf_file="m\.gguf"\)\.save_pretrained'),
     (["config.json", "pytorch_model.bin"], r"and pytorch_model\.bin is a pickle, which is refused")],
)  # fmt: skip
def test_a_folder_of_none(here, files, message):
    if files == "file":
        (here / "m").write_text("x")
    elif files is not None:
        (here / "m").mkdir()
        for name in files:
            (here / "m" / name).write_text("{}")
    with pytest.raises(AtlasError, match=rf"bases\.b\.source\.local: .*{message}"):
        local_folder("bases.b", "m", ["config.json"])
