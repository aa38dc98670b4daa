"""Sheets of models made elsewhere, and pools of them."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from unit.plan.small_plans import names, two_domains

SHEET = "model\tsource\tbase\tdomain\nme/a\tme/a@v1\ttiny\tmath\nb\t./b\ttiny\tlegal\n"


def from_sheet(tmp_path, text, pools=None):
    (tmp_path / "pool.tsv").write_text(text)
    data = two_domains(pools={"s": {"sheet": "pool.tsv", "spaces": ["delta_activations"]}})
    data["pools"] |= pools or {}
    return build(data, root=tmp_path)


def test_a_sheet_of_fetched_models(tmp_path):
    plan = from_sheet(tmp_path, SHEET)
    assert names(plan.pools["s"]) == ["b", "me--a"]
    assert plan.models["me--a"].source == {"hub": {"repo": "me/a", "revision": "v1", "files": []}}
    assert plan.models["b"].source == {"local": "./b"}
    assert plan.models["b"].adapter
    assert not plan.models["b"].trained
    assert plan.models["b"].domain == "legal"


def test_full_models_and_folders_of_repositories(tmp_path):
    lines = ["model\tsource\tbase\tdomain\tkind\tsubfolder", "a\tme/a@v1\ttiny\tmath\tadapter\tsft/last",
             "b\t./b\ttiny\tlegal\tfull\t", "c\t./c\ttiny\tlegal\t\tsft", "d\tme/d\ttiny\tlegal"]  # fmt: skip
    models = from_sheet(tmp_path, "\n".join(lines) + "\n").models
    assert models["a"].source["hub"]["subfolder"] == "sft/last"
    assert "subfolder" not in models["d"].source["hub"]
    assert [models[name].adapter for name in "abcd"] == [True, False, True, True]
    assert models["c"].source == {"local": "c/sft"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (SHEET.encode("utf-16"), "a sheet is UTF-8, and it is UTF-16; save it as UTF-8"),
        (SHEET.encode("utf-16-le"), "it is UTF-16"),
        (SHEET.replace("legal", "légal").encode("latin-1"), "and line 3 is not, .* Latin-1"),
        (SHEET.replace("\t", ",").encode(), "'model' is missing; .* are separated by ','"),
        (SHEET.replace("\t", ";").encode(), "'model' is missing; .* are separated by ';'"),
        (SHEET.replace("math", "m" * 200_000).encode(), "cannot be read as a sheet .*field"),
        (SHEET.replace("math", '"').encode() + b"x" * 200_000, "cannot be read as a sheet .*field"),
        (b"\t".join(b"c%d" % i for i in range(100_000)), "'model' is missing"),
    ],
)
def test_a_sheet_that_is_written_otherwise(tmp_path, data, message):
    (tmp_path / "pool.tsv").write_bytes(data)
    with pytest.raises(AtlasError, match=rf"pool\.tsv: .*{message}"):
        build(two_domains(pools__p={"sheet": "pool.tsv"}), root=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHEET.replace("domain\n", "domain\tkind\n").replace("math", "math\tlora"),
         "line 2: the kind .lora. is neither"),
        (SHEET.replace("domain", "label", 1), "the column 'domain' is missing"),
        (SHEET.replace("\ttiny\t", "\ttinny\t", 1), "line 2: there is no base 'tinny'.*'tiny'"),
        (SHEET.replace("\tlegal", "\t"), "line 3: 'domain' is empty"),
        (SHEET.replace("\tlegal", ""), "line 3: 'domain' is empty"),
        (SHEET.replace("b\t./b", "me--a\t./b"), "line 3: the model 'me--a' stands in the sheet twice"),
        (SHEET.replace("b\t./b", "b b\t./b"), "line 3: 'b b' is not a name"),
        (SHEET.replace("./b", "what is this"), "line 3: .*neither a folder nor a repository"),
        (SHEET.replace("b\t./b", "b" * 241 + "\t./b"), "line 3: 'b+' is not a name; .* at most 240"),
        (SHEET.replace("./b", "x" * 5000), "no path is as long as that"),
        (SHEET.splitlines()[0] + "\n", "the sheet has no models"),
        (SHEET.replace("base", "model", 1), "the column 'model' is there twice"),
        (SHEET.replace("legal", "legal\tfull"), r"line 3: has more cells than the header has columns \(4\)"),
    ],
)  # fmt: skip
def test_mistakes_in_a_sheet(tmp_path, text, message):
    with pytest.raises(
        AtlasError, match=message if "no path" in message else rf"pool\.tsv.*{message}"
    ):
        from_sheet(tmp_path, text)


@pytest.mark.parametrize("path", ["no.tsv", "~nosuchuser/no.tsv"])
def test_a_missing_sheet(tmp_path, path):
    with pytest.raises(AtlasError, match=r"no\.tsv: there is no such sheet"):
        build(two_domains(pools__p={"sheet": path}), root=tmp_path)


def test_a_sheet_in_the_home_of_its_user(tmp_path, monkeypatch):
    """As any other path of a configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.tsv").write_text(SHEET)
    pools = {"p": {"sheet": "~/mine.tsv", "spaces": ["delta_activations"]}}
    plan = build(two_domains(pools=pools, cache="~/cache"), root=tmp_path / "no")
    assert {"b", "me--a"} <= set(plan.models)
    assert plan.config.cache == str(tmp_path / "cache")


def test_trained_and_fetched_models_in_one_pool(tmp_path):
    plan = from_sheet(tmp_path, SHEET, {"s": {
        "sheet": "pool.tsv", "models": ["m"], "spaces": ["delta_activations"],
    }})  # fmt: skip
    assert names(plan.pools["s"]) == ["b", "m", "me--a"]


THIRD = SHEET + "c\tme/c\ttiny\tlegal\n"

PASSING = {"sheet": "pool.tsv", "spaces": ["delta_activations"], "keep_weights": False, "shards": 2}


def test_excluding_an_adapter_that_is_not_kept_leaves_its_shard_as_it_is(tmp_path):
    whole = from_sheet(tmp_path, THIRD, {"s": PASSING}).pools["s"]
    without = from_sheet(tmp_path, THIRD, {"s": PASSING | {"excluded": ["c"]}}).pools["s"]
    assert names(without) == ["b", "me--a"]
    assert without.shards == whole.shards
    assert without.listed == whole.listed
    kept = PASSING | {"excluded": ["c"], "keep_weights": True}
    pool = from_sheet(tmp_path, THIRD, {"s": kept}).pools["s"]
    assert sorted(m.name for some in pool.shards.values() for m in some) == ["b", "me--a"]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"excluded": ["d"]}, r"pools\.s\.excluded: there is no model 'd'"),
        ({"excluded": ["b", "c", "me--a"]}, r"pools\.s\.excluded: no model is left"),
        ({"spaces": ["salient_mask"]}, r"keep_weights: .*give spaces: \[delta_activations\]"),
        (
            {"models": ["m"]},
            r"keep_weights: only adapters made elsewhere may go, and m is made here",
        ),
    ],
)
def test_pools_that_cannot_do_without_weights(tmp_path, pool, message):
    with pytest.raises(AtlasError, match=message):
        from_sheet(tmp_path, THIRD, {"s": PASSING | pool})
