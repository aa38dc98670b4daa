"""Sentences of the summary, for small tables: both directions, with and without intervals."""

from __future__ import annotations

import pytest
from atlas.experiments.experiment_findings import (
    additive_findings,
    outputs_findings,
    retrieval_findings,
    selection_findings,
)

from atlas.experiments import wording as say
from atlas.experiments.checkpoint_findings import (
    geometry_findings,
    instruct_findings,
    temporal_findings,
)
from atlas.experiments.silhouette_findings import (
    main_findings,
    silhouettes_findings,
    spaces_findings,
    stands_apart,
)
from atlas.files import write_csv
from atlas.report.summary import write_summary


def rows(*given, **common):
    """Rows as read_csv gives them: texts, empty where there is nothing."""
    return [{k: "" if v is None else str(v) for k, v in {**common, **row}.items()} for row in given]


def silhouette(value, low=None, high=None, p=None, **more):
    (row,) = rows({"space": "delta_activations", "silhouette": value, "low": low, "high": high,
                   "p_value": p, "label": "domain", "reason": "", "published": "", "seed": 42,
                   **more})  # fmt: skip
    return row


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.674, 2, "0.67"), (-0.04, 2, "−0.04"), (-0.004, 2, "0.00"), (0, 1, "0.0"), (-1.5, 0, "−2")],
)
def test_numbers(value, digits, text):
    assert say.number(value, digits) == text


def test_phrases():
    assert say.listed(["a"]) == "a"
    assert say.listed(["a", "b", "c"]) == "a, b and c"
    assert say.counted(1, "query", "queries") == "1 query"
    assert say.counted(1200, "query", "queries") == "1,200 queries"
    assert say.percent(0.125) == "12 %"
    assert say.interval(-0.1, 0.2) == "95 % interval −0.10 to 0.20, which includes 0"
    assert say.interval(0.1, 0.2) == "95 % interval 0.10 to 0.20, which excludes 0"
    assert say.moved(2.0, 1.5) == "falls from 2.00 to 1.50"
    assert say.moved(1.5, 2.0, 1) == "rises from 1.5 to 2.0"
    assert say.moved(1.501, 1.499) == "stays at 1.50"
    assert say.against(0.68, None) == ""
    assert say.against(0.68, 0.61) == "; published: 0.61, lower"
    assert say.against(0.39, 0.57) == "; published: 0.57, higher"
    assert say.against(0.611, 0.61) == "; published: 0.61, as here"
    assert say.overlap((0, 1), (1, 2))
    assert not say.overlap((0, 0.9), (1, 2))


def test_a_silhouette_is_said_by_its_sign_and_its_uncertainty():
    sure = stands_apart("p", silhouette(0.674, 0.57, 0.78, 0.001, published=0.645))
    assert sure == (
        "The domains of `p` stand apart by delta activations (silhouette 0.674, 95 % interval 0.570 "
        "to 0.780, which excludes 0, p = 0.001; published: 0.645, lower)."
    )
    assert "do not stand apart" in stands_apart("p", silhouette(-0.2, -0.3, -0.1, 0.01))
    unsure = stands_apart("p", silhouette(0.02, -0.11, 0.16, 0.5))
    assert unsure.startswith(
        "Whether the domains of `p` stand apart by delta activations is uncertain"
    )
    assert unsure.endswith(
        ": the interval includes 0 and random labels do as well in 50 % of the cases."
    )
    few = stands_apart("p", silhouette(0.9, 0.89, 0.91, 0.345))
    assert few.endswith(": random labels do as well in 34 % of the cases.")
    assert "interval includes" not in few
    bare = stands_apart("p", silhouette(0.5, seed="mean"))
    assert bare == (
        "The domains of `p` stand apart by delta activations (silhouette 0.500, mean over seeds)."
    )
    none = stands_apart("p", silhouette(None, reason="the models are of mixed kinds", label="base"))
    assert none == (
        "Nothing is known of the bases of `p` by delta activations: the models are of mixed kinds."
    )


def main_rows(values, published=None, pool="p"):
    published = published or {}
    return rows(*({"space": space, "distance": kind, "pool": pool, "silhouette": value,
                   "published": published.get(space)}
                  for space, value in values.items() for kind in ("cosine", "cosine_clipped")))  # fmt: skip


def sure_rows(intervals):
    return rows(*({"space": space, "distance": kind, "label": "domain", "low": low, "high": high,
                   "p_value": 0.001, "reason": ""}
                  for space, (low, high) in intervals.items()
                  for kind in ("cosine", "cosine_clipped")))  # fmt: skip


NEAR = rows(
    {"space": "delta_activations", "rank": 1, "domain": "a", "neighbour_domain": "a"},
    {"space": "delta_activations", "rank": 2, "domain": "a", "neighbour_domain": "b"},
    {"space": "delta_activations", "rank": 1, "domain": "b", "neighbour_domain": "a"},
)


def test_a_main_table_names_order_neighbours_and_published_order():
    values = {"salient_mask": 0.1, "delta_activations": 0.7}
    found = main_findings(
        main_rows(values, {"salient_mask": 0.133, "delta_activations": 0.645}),
        {"p": sure_rows({"salient_mask": (0.05, 0.2), "delta_activations": (0.6, 0.8)})},
        {"p": NEAR},
    )
    assert found[0].startswith(
        "The domains of `p` stand apart by delta activations (silhouette 0.70"
    )
    assert found[2] == ("In `p`, the domains stand apart most by delta activations, then by salient "
                        "mask; their intervals do not overlap.")  # fmt: skip
    assert "is the published one: delta activations and salient mask." in found[3]
    assert found[4] == (
        "The nearest neighbour of a model of `p` has its domain for 1 of 2 by delta activations."
    )
    assert len(found) == 5


def test_another_order_than_the_published_one_and_overlapping_intervals():
    values = {"salient_mask": 0.5, "delta_activations": 0.45}
    found = main_findings(
        main_rows(values, {"salient_mask": 0.133, "delta_activations": 0.645}),
        {"p": sure_rows({"salient_mask": (0.4, 0.6), "delta_activations": (0.3, 0.6)})},
        {"p": []},
    )
    assert "so that the order of the two is uncertain" in found[2]
    assert found[3] == (
        "The order of the spaces in `p` is not the published one: here salient mask and delta "
        "activations; published delta activations and salient mask."
    )


def test_pools_have_a_mean():
    one = {"delta_activations": 0.5}
    table = [*main_rows(one), *main_rows({"delta_activations": 0.7}, pool="q"),
             *main_rows({"delta_activations": 0.6}, {"delta_activations": 0.614}, "average")]  # fmt: skip
    sure = {pool: sure_rows({"delta_activations": (0.4, 0.8)}) for pool in "pq"}
    found = main_findings(table, sure, {"p": [], "q": []})
    assert found[-1] == (
        "Mean silhouettes over 2 pools: delta activations 0.600, published: 0.614, higher."
    )


def test_pools_side_by_side():
    def of(values, width):
        return silhouettes_findings([
            {**silhouette(value, value - width, value + width, 0.001), "pool": pool, "distance": kind}
            for pool, value in values.items() for kind in ("cosine", "cosine_clipped")
        ])  # fmt: skip

    text = "By delta activations, the domains of `b` stand apart most (0.700), those of `a` least (0.300)"
    found = of({"a": 0.3, "b": 0.7}, 0.1)
    assert len(found) == 3
    assert found[-1] == f"{text}; their intervals do not overlap."
    unsure = of({"a": 0.3, "b": 0.7}, 0.25)
    assert unsure[-1] == f"{text}, but their intervals overlap: the order is uncertain."
    alike = of({"a": 0.3, "b": 0.3001}, 0.1)
    assert alike[-1] == "By delta activations, the domains of all pools stand apart alike (0.300)."


def test_seeds_are_told_by_their_mean():
    table = [{**silhouette(value, seed=seed), "pool": "a", "distance": "cosine_clipped"}
             for seed, value in ((1, 0.3), (2, 0.5), ("mean", 0.4), ("spread", 0.14))]  # fmt: skip
    (found,) = silhouettes_findings(table)
    assert "silhouette 0.400, mean over seeds" in found


def test_layers_and_probes():
    def curve(values, kind):
        return [{**silhouette(v, pool="p", curve=kind), "value": str(k)} for k, v in values.items()]

    table = [{**silhouette(0.8, 0.7, 0.9, 0.001, pool="p", curve="space"), "value": ""}]
    table += [*curve({1: 0.49, 22: 0.7, 30: 0.68}, "layer"), *curve({1: 0.674, 5: 0.68}, "probes")]
    found = spaces_findings(table)
    assert found[0].startswith("The domains of `p` stand apart")
    assert found[1].endswith("read at layer 22 (silhouette 0.700); the last, 30, gives 0.680.")
    assert found[2].endswith("a silhouette of 0.674 with 1 probe and of 0.680 with 5.")
    (last,) = spaces_findings(curve({1: 0.1, 2: 0.3}, "layer"))
    assert last.endswith("read at the last layer, 2 (silhouette 0.300).")


def test_additivity():
    pair = {"first": "a", "second": "b", "seed": 42}
    none = dict.fromkeys(
        ("published_cosine_first", "published_cosine_second", "published_cosine_sum")
    )
    good = {**pair, **none, "cosine_first": 0.5, "cosine_second": 0.6, "cosine_sum": 0.9}
    bad = {**good, "second": "c", "cosine_first": 1.0, "published_cosine_first": 0.1,
           "published_cosine_second": 0.2, "published_cosine_sum": 0.3}  # fmt: skip
    found = additive_findings(rows(good, bad))
    assert "in 1 of 2 pairs of domains; its mean cosine is 0.90 with the sum and 0.80" in found[0]
    assert found[1] == "It is not so for a with c."
    assert (
        found[2] == "Of the 1 pair that the paper has, the sum is closest in 0 here and in 1 there."
    )
    assert len(additive_findings(rows(good))) == 1


def test_retrieval():
    query = {"pool": "p", "seed": 42, "accuracy": None, "published": None}
    found = retrieval_findings(rows({**query, "query": "x", "rank": 1}, {**query, "query": "y", "rank": 3},
                                    {**query, "query": "accuracy", "rank": None, "accuracy": 0.5,
                                     "published": 1.0}))  # fmt: skip
    assert found == [
        "In `p`, the nearest model has the domain of the examples for 50 % of 2 queries; published: "
        "1.00, higher; the first model of the domain stands at rank 3 at the latest."
    ]


def test_outputs_are_counted():
    (found,) = outputs_findings(rows(*({"pool": "p", "model": m, "text": t}
                                       for m, t in (("a", "x"), ("a", "y"), ("b", "x")))))  # fmt: skip
    assert found == ("2 models wrote 3 texts to the probes, 2 of them different from one another.")


def test_selection_in_both_directions():
    def of(strategy, method, value, low, high, seeds=5, published=None, task="mean"):
        return {"selection": "s", "task": task, "strategy": strategy, "method": method,
                "exact_match": value, "low": low, "high": high, "seeds": seeds, "majority": 0.4,
                "published": published}  # fmt: skip

    found = selection_findings(rows(
        of(None, "base", 0.1, 0.1, 0.1, None), of("random", "lorahub", 0.3, 0.25, 0.35),
        of("similar", "lorahub", 0.5, 0.45, 0.55, published=0.303),
        of("similar+random", "lorahub", 0.42, 0.35, 0.49), of("random", "ties", 0.2, 0.2, 0.2, 1),
        of("random", "lorahub", 0.3, 0.3, 0.3, task="t"),
    ))  # fmt: skip
    assert found[0] == (
        "Models of `s` chosen by `similar` and composed answer 50.0 % (95 % interval over seeds 45.0 "
        "to 55.0) of 1 task exactly; published: 30.3, lower, more than the commonest answer alone "
        "(40.0 %)."
    )
    assert "not told apart from the commonest answer alone" in found[1]
    assert "less than the commonest answer alone" in found[2]
    assert found[3] == "In `s`, `similar` is ahead of `random`, and their intervals do not overlap."
    assert found[4] == "Without composing, the exact match in `s` is base 10.0 %."
    assert found[5].endswith("with 20.0 % (one seed, no interval).")
    close = selection_findings(rows(of("random", "lorahub", 0.3, 0.2, 0.4),
                                    of("similar", "lorahub", 0.35, 0.25, 0.45)))  # fmt: skip
    assert close[-1].endswith("but their intervals overlap: the order is uncertain.")


def checkpoint(name, measure, on, **values):
    return rows(*({"delta": "d", "model": name, "role": role, "checkpoint": role, "measure": measure,
                   "on": on, "value": value, "text": ""} for role, value in values.items()))  # fmt: skip


def test_what_a_delta_keeps():
    better = instruct_findings([
        *checkpoint("m", "perplexity", "t", base=30, instruct=29, model=20, merged=22),
        *checkpoint("m", "chat_loss", "c", base=3, instruct=1, model=2.5, merged=1.2),
        *checkpoint("m", "chat_loss", "e", base=3, instruct=1, model=1.5, merged=1.8),
    ])  # fmt: skip
    assert better[0] == (
        "The perplexity of `t` falls from 30.0 to 20.0 from the base to `m`; with the delta `d` it is "
        "22.0, which keeps 80 % of the gain."
    )
    assert better[1] == (
        "The loss of the answers of `m` falls from 2.00 to 1.50 with the delta `d`, mean over 2 "
        "datasets; it is lower in 1 of them. The instruct model has 1.00."
    )
    assert "no interval" in better[2]
    lost = instruct_findings(
        checkpoint("m", "perplexity", "t", base=30, instruct=29, model=20, merged=31)
    )
    assert "nothing of the gain is left" in lost[0]
    worse = instruct_findings(
        checkpoint("m", "perplexity", "t", base=30, instruct=29, model=33, merged=31)
    )
    assert worse[0].startswith("The perplexity of `t` rises from 30.0 to 33.0")
    assert "gain" not in worse[0]


def test_periods():
    table = [*checkpoint("old", "perplexity", "t", base=30, instruct=29, model=20, merged=22),
             *checkpoint("new", "perplexity", "t", base=30, instruct=29, model=25, merged=26)]  # fmt: skip
    apart = {"pool": "p", "space": "delta_activations", "reason": ""}
    found = temporal_findings(table, rows(
        {**apart, "delta": "", "one": "old", "other": "new", "distance": 0.2},
        {**apart, "delta": "d", "one": "old+d", "other": "new+d", "distance": 0.4},
        {**apart, "space": "salient_mask", "delta": "", "one": "old", "other": "new", "distance": "",
         "reason": "no"},
    ))  # fmt: skip
    assert found[2] == (
        "On `t`, the lowest perplexity is that of `old`: `old` 20.0 and `new` 25.0; the base has 30.0."
    )
    assert found[3] == (
        "By delta activations, the distance of `old` and `new` rises from 0.20 to 0.40 with the delta "
        "`d`."
    )
    assert len(found) == 5


DECIDED = {"comparison": "c", "rl": "a, b", "sft": "d, e", "measure": "decision",
           "rl_mean": 0.9, "sft_mean": 0.8, "difference": 0.1,
           "low": 0.05, "high": 0.15, "decision": "strong", "reason": "", "reward_slope": 0.01,
           "reward_low": 0.005, "reward_high": 0.02, "reward_steps": 40, "reward_reason": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "first", "second"),
    [
        ({}, "rewards keep more of", "the mean reward rises: 0.0100 per step over 40 steps"),
        ({"difference": -0.1, "low": -0.15, "high": -0.05, "reward_slope": -0.01, "reward_low": -0.02,
          "reward_high": -0.005}, "rewards keep less of", "the mean reward falls: −0.0100"),
        ({"low": -0.05, "reward_low": -0.01}, "is uncertain (", "Whether the mean reward changes"),
        ({"reason": "one side is empty", "reward_slope": None, "reward_reason": "none is trained here"},
         "nothing can be said of subspaces: one side is empty.", "no slope of the rewards: none is"),
    ],
)  # fmt: skip
def test_geometry(changed, first, second):
    kept, reward = geometry_findings(rows({**DECIDED, **changed}))
    assert first in kept
    assert second in reward


def test_one_model_of_a_side_is_said_to_be_one():
    found = geometry_findings(rows({**DECIDED, "rl": "a"}))
    assert found[2].startswith("`c` has 1 model trained with rewards and 2 fine-tuned on solutions")


def test_the_summary_is_made_of_its_tables(tmp_path):
    main = tmp_path / "main.csv"
    columns = ("space", "distance", "pool", "silhouette", "published")
    write_csv(main, columns, main_rows({"delta_activations": 0.7}))
    pool = tmp_path / "p"
    pool.mkdir()
    sure = sure_rows({"delta_activations": (0.6, 0.8)})
    write_csv(pool / "silhouette.csv", tuple(sure[0]), sure)
    write_csv(pool / "neighbours.csv", tuple(NEAR[0]), NEAR)
    texts = rows({"pool": "p", "model": "a", "text": "x"})
    write_csv(tmp_path / "what_they_say.csv", tuple(texts[0]), texts)
    page = tmp_path / "summary.md"
    write_summary(
        tables=[main, tmp_path / "what_they_say.csv"],
        pool_tables=[pool / "silhouette.csv", pool / "neighbours.csv"], distances=[],
        entries=[{"name": "main", "kind": "main"}, {"name": "what_they_say", "kind": "outputs"}],
        pools=[{"name": "p", "models": 2, "domains": ["a", "b"], "bases": ["x"], "recipes": []}],
        seeds=[42, 7], page=page,
    )  # fmt: skip
    text = page.read_text()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Summary of findings", "## Main", "## What they say", "## What was run",
                        "## How to read this"]  # fmt: skip
    assert "* 1 model wrote 1 text to the probes" in text
    assert "Global seeds: 42 and 7." in text
    assert "| p | 2 | a, b | x | – |" in text
    assert "p is 0.05 or more" in text
