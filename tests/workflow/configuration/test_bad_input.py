"""Bad input: one clear sentence, a status that is not 0, nothing half-made."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from micro import digests, litter, micro, micro_config, snakemake, write_config, write_rows

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
FIRST = "results/models/micro-alpha-first/adapter_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return micro(tmp_path_factory.mktemp("bad") / "checkout")


def setting(path: str, value):
    """A change of the micro configuration: a dotted path and its new value."""

    def change(config: dict) -> None:
        *parents, last = path.split("/")
        for key in parents:
            config = config.setdefault(key, {})
        config[last] = value

    return change


GRAMMAR = [
    (setting("recipies", {}), r"unknown key 'recipies' in the top level; did you mean 'recipes'"),
    (setting("recipes/quick/learning_rte", 1), r"recipes.quick; did you mean 'learning_rate'"),
    (setting("recipes/quick/lora/rank", 4), r"unknown key 'rank' in recipes.quick.lora"),
    (setting("recipes/quick/learning_rate", "fast"), r"recipes.quick.learning_rate: .*number.*fast"),
    (setting("recipes/quick/batch_size", 0), r"batch_size: .*greater than or equal to 1.*0"),
    (setting("recipes/quick/batch_size", 2.5), r"batch_size: .*integer.*2.5"),
    (setting("recipes/quick/objective", "rlhf"), r"objective: .*'sft', 'dpo', 'cpt' or 'grpo'.*rlhf"),
    (setting("bases/mi cro", {"source": {"local": "x"}}), r"'mi cro' is not a name"),
    (setting("models/a√b", {"base": "micro", "source": {"local": "x"}, "domain": "d"}),
     r"'a√b' is not a name"),
    (setting("pools/micro/models", ["mikro-*"]), r"'mikro-\*' matches no model"),
    (setting("pools/micro/models", ["micro-alpha-*"]), r"at least two domains"),
    (setting("tables/main/pools", ["mikro"]), r"no pool 'mikro'; did you mean 'micro'"),
    (setting("tables/mine", {"kind": "additive", "comparisons": []}),
     r"unknown key 'comparisons' in tables.mine, a table of the kind additive; .*geometry or "
     r"weight_space have it"),
    (setting("pools/micro/sheet", "none.tsv"), r"none.tsv: there is no such sheet"),
    (setting("pushes", {"mine": {"path": "models/micro-alpha-frist", "repo": "org/mine"}}),
     r"pushes.mine.path: there is no model 'micro-alpha-frist'; did you mean 'micro-alpha-first'"),
    (setting("bases/micro/source/local", "x"), r"exactly one of pypi, hub, local, random, model"),
    (setting("datasets/alpha/cut", "questoin"), r"no column 'questoin'; did you mean 'question'"),
    (setting("datasets/alpha/source/pypi",
             {"format": "jsonl", "files": [{"name": "a.whl", "sha256": "12", "member": "x"}]}),
     r"sha256"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), GRAMMAR)
def test_a_wrong_configuration_is_refused_before_the_dag(folder, change, message):
    config = micro_config()
    change(config)
    write_config(folder, config)
    done = snakemake(folder, "-n", MAIN, "--cores", "1", check=False)
    assert done.returncode != 0
    assert re.search(message, done.stdout), done.stdout
    assert "Traceback" not in done.stdout
    assert not (folder / "results").exists()


def test_a_sheet_without_a_column_is_refused(folder):
    (folder / "sheet.tsv").write_text("model\tsource\tdomain\nx\torg/x\talpha\n")
    config = micro_config()
    config["pools"]["micro"]["sheet"] = "sheet.tsv"
    write_config(folder, config)
    done = snakemake(folder, "-n", MAIN, "--cores", "1", check=False)
    assert done.returncode != 0
    assert "sheet.tsv: the column 'base' is missing" in done.stdout


def fails(folder, target: str, message: str) -> str:
    """Run a target that must fail, with its sentence shown and nothing half-made."""
    done = snakemake(folder, target, "--cores", "1", check=False)
    assert done.returncode != 0, done.stdout
    assert re.search(message, done.stdout), done.stdout[-3000:]
    assert not (folder / target).exists()
    assert litter(folder) == []
    return done.stdout


@pytest.fixture
def fresh(tmp_path):
    return micro(tmp_path / "checkout")


def test_an_empty_file_of_rows(fresh):
    (fresh / "data/alpha.jsonl").write_text("")
    fails(
        fresh,
        "results/sources/datasets/alpha.jsonl",
        r"datasets.alpha.source.local: data/alpha.jsonl is empty\.",
    )


def test_a_truncated_file_of_rows(fresh):
    file = fresh / "data/alpha.jsonl"
    file.write_text(file.read_text()[:-20])
    fails(fresh, "results/sources/datasets/alpha.jsonl", r"line 30: not valid JSON.*truncated")


def test_a_missing_column(fresh):
    config = micro_config()
    config["datasets"]["alpha"]["columns"]["answer"] = "item.anwser"
    write_config(fresh, config)
    fails(fresh, "results/datasets/alpha/first.jsonl",
          r"row 0: there is no column 'item.anwser'.*answer, question")  # fmt: skip


def test_fewer_rows_than_the_splits_need(fresh):
    write_rows(fresh / "data/alpha.jsonl", "alpha", 3)
    fails(fresh, "results/datasets/alpha/first.jsonl", r"3 rows give a region of 2.*too few")


def test_a_row_without_room_for_its_completion(fresh):
    config = micro_config()
    config["recipes"]["quick"]["length"] = {"max_tokens": 100, "policy": "refuse"}
    write_config(fresh, config)
    message = (
        r"alpha/first, row \d+: \d+ tokens of prompt and \d+ of completion do not fit into 100"
    )
    fails(fresh, "results/models/micro-alpha-first/rows.jsonl", message)


def fetched(folder, adapter, **more) -> str:
    """A configuration with one model from a folder, in a run that has its base."""
    config = micro_config()
    config["models"] = {"found": {"base": "micro", "domain": "alpha",
                                  "source": {"local": str(adapter)}} | more}  # fmt: skip
    write_config(folder, config)
    return "results/models/found/adapter_config.json"


@pytest.fixture(scope="module")
def adapter(finished, tmp_path_factory):
    """An adapter of the micro base, as PEFT would have saved it."""
    target = tmp_path_factory.mktemp("adapter") / "found"
    shutil.copytree(finished / "results/models/micro-alpha-first", target)
    return target


def rewrite(adapter, tmp_path, *, tensors=None, metadata=None, config=None):
    """A changed copy of an adapter."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    target = tmp_path / "changed"
    shutil.copytree(adapter, target)
    file = target / "adapter_model.safetensors"
    with safe_open(file, framework="numpy") as handle:
        found = {k: handle.get_tensor(k) for k in handle.keys()}  # noqa: SIM118
        kept = handle.metadata()
    save_file(tensors(found) if tensors else found, file, kept if metadata is None else metadata)
    if config:
        path = target / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return target


def test_a_fetched_adapter_of_this_base_is_taken_as_it_stands(copy, adapter):
    snakemake(copy, fetched(copy, adapter), "--cores", "1")
    here = copy / "results/models/found/adapter_model.safetensors"
    assert here.read_bytes() == (adapter / "adapter_model.safetensors").read_bytes()


def test_an_adapter_of_another_base_by_digest(copy, adapter, tmp_path):
    other = rewrite(adapter, tmp_path, metadata={"base_sha256": "0" * 64})
    fails(copy, fetched(copy, other), r"trained from a base with the digest 000000000000")


def test_an_adapter_of_another_base_by_name(copy, adapter, tmp_path):
    other = rewrite(adapter, tmp_path, metadata={},
                    config={"base_model_name_or_path": "org/other"})  # fmt: skip
    fails(copy, fetched(copy, other), r"records the base org/other.*aliases")


def test_an_adapter_of_another_base_by_shapes(copy, adapter, tmp_path):
    def widen(tensors):
        return {k: np.repeat(v, 2, axis=1) if "lora_A" in k else v for k, v in tensors.items()}

    other = rewrite(adapter, tmp_path, metadata={}, tensors=widen)
    fails(copy, fetched(copy, other), r"is made for a matrix of shape .* another base")


def test_nan_in_an_adapter(copy, adapter, tmp_path):
    def spoil(tensors):
        name = sorted(tensors)[3]
        tensors[name][0, 0] = np.nan
        return tensors

    other = rewrite(adapter, tmp_path, tensors=spoil)
    fails(copy, fetched(copy, other), r"the tensor base_model.* has NaN or Inf")


def test_another_rank_than_its_configuration_says(copy, adapter, tmp_path):
    other = rewrite(adapter, tmp_path, config={"r": 7})
    fails(copy, fetched(copy, other), r"has the rank 2 .* its configuration says 7")


def test_a_pickle_instead_of_safetensors(copy, adapter, tmp_path):
    import pickle

    target = tmp_path / "pickled"
    shutil.copytree(adapter, target)
    (target / "adapter_model.safetensors").unlink()
    (target / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))
    fails(copy, fetched(copy, target), r"adapter_model.bin is a pickle, which is refused")
    shutil.move(target / "adapter_model.bin", target / "adapter_model.safetensors")
    fails(copy, fetched(copy, target), r"a pickle|not a whole safetensors file")


def test_a_truncated_adapter(copy, adapter, tmp_path):
    target = tmp_path / "short"
    shutil.copytree(adapter, target)
    file = target / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    fails(copy, fetched(copy, target), r"not a whole safetensors file")


def test_a_digest_that_differs(fresh):
    """The package is in the cache with other bytes than the pin says, and cannot be had."""
    import hashlib

    pin = hashlib.sha256(b"right").hexdigest()
    place = fresh / f".snakemake/atlas/cache/sha256/{pin[:2]}/{pin}/thing-1.0-py3-none-any.whl"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"wrong")
    config = micro_config()
    config["datasets"]["alpha"]["source"] = {"pypi": {"format": "jsonl", "files": [
        {"name": place.name, "sha256": pin, "member": "rows.jsonl"}]}}  # fmt: skip
    write_config(fresh, config)
    done = snakemake(fresh, "results/sources/datasets/alpha.jsonl", "--cores", "1", check=False,
                     PIP_INDEX_URL="http://127.0.0.1:9/simple")  # fmt: skip
    assert done.returncode != 0
    assert "could not be downloaded from the package index" in done.stdout
    assert not place.exists()


def test_a_full_disk(fresh):
    """Splits are written to a file system that is too small."""
    target = fresh / "results/datasets"
    target.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(target)], capture_output=True,
        check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a file system can only be mounted by root")
    try:
        done = snakemake(fresh, "results/datasets/alpha/first.jsonl", "--cores", "1", check=False)
        assert done.returncode != 0
        assert "the disk is full" in done.stdout
        assert [f for f in target.rglob("*") if f.is_file()] == []
    finally:
        subprocess.run(["umount", str(target)], check=True)
    snakemake(fresh, "results/datasets/alpha/first.jsonl", "--cores", "1")
    assert "results/datasets/alpha/first.jsonl" in digests(fresh)
