"""The file that was meant where no rule makes what was asked for."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.job.file_names import nearest
from atlas.plan.inputs import constraint

PATTERNS = [
    f"results/tables/{{table,{constraint(['main', 'few.shot', 'robustness'])}}}.csv",
    f"results/tables/{{table,{constraint(['main'])}}}.md",
    f"results/pools/{{pool,{constraint(['smollm2', 'gemma-3'])}}}/silhouette.csv",
    f"results/pools/{{pool,{constraint(['smollm2'])}}}/{{space,{constraint(['delta_logits'])}}}/map.csv",
    r"results/pools/{pool,smollm2}/shards/{shard,\d{4}}.h5",
    r"results/datasets/{dataset,gsm8k}/{split,[A-Za-z0-9._-]+}{variant,(\+none|\+universal)?}.jsonl",
    "results/summary.html",
]  # fmt: skip


@pytest.mark.parametrize(("asked", "meant"), [
    ("results/tables/mian.csv", "results/tables/main.csv"),
    ("results/tables/few_shot.csv", "results/tables/few.shot.csv"),
    ("results/table/main.md", "results/tables/main.md"),
    ("results/tables/main.cvs", "results/tables/main.csv"),
    ("results/pools/smolm2/silhouette.csv", "results/pools/smollm2/silhouette.csv"),
    ("results/pools/smollm2/silhouettes.csv", "results/pools/smollm2/silhouette.csv"),
    ("results/pools/smollm/delta_logit/map.csv", "results/pools/smollm2/delta_logits/map.csv"),
    ("results/pools/smolm2/shards/0003.h5", "results/pools/smollm2/shards/0003.h5"),
    ("results/datasets/gsm8/rest+none.jsonl", "results/datasets/gsm8k/rest+none.jsonl"),
    ("results/sumary.html", "results/summary.html"),
    ("results/tables/qqqqqq.csv", None),
    ("results/main.csv", None),
])  # fmt: skip
def test_the_file_that_was_meant(asked, meant):
    assert nearest(asked, PATTERNS) == meant


@given(st.data())
def test_a_file_that_is_made_is_itself_and_one_with_a_letter_left_out_is_near(data):
    names = data.draw(st.lists(st.text(string.ascii_lowercase, min_size=6, max_size=9), min_size=1,
                               max_size=8, unique=True))  # fmt: skip
    pattern = f"results/tables/{{table,{constraint(names)}}}.csv"
    name = data.draw(st.sampled_from(names))
    assert nearest(f"results/tables/{name}.csv", [pattern]) == f"results/tables/{name}.csv"
    place = data.draw(st.integers(0, len(name) - 1))
    found = nearest(f"results/tables/{name[:place]}{name[place + 1 :]}.csv", [pattern])
    assert found in {f"results/tables/{one}.csv" for one in names}
