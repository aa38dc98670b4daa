from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.lineage.graph import Graph, Node
from atlas.lineage.page import HEIGHT, TEMPLATE, _content, arrange, layers, write_page
from unit.job.runs import sha, statement

MODULES = {f"atlas.module_{k}": sha(str(k))[:16] for k in range(40)}
PACKAGES = {f"package-{k}": f"{k}.0" for k in range(20)}
RECIPE = {
    "objective": "sft", "parameters": {"lora": {"rank": 8, "targets": ["q_proj", "v_proj"]}},
    "learning_rate": 0.0002, "optimizer": "adamw", "scheduler": "cosine", "betas": [0.9, 0.999],
}  # fmt: skip


class Jobs:
    """A graph made job by job, by file names."""

    def __init__(self):
        self.graph = Graph()
        self.made: dict[str, str] = {}

    def job(self, outputs, inputs=(), rule="rule", **more) -> str:
        written = {path: sha(path) for path in outputs}
        read = {path: sha(path) for path in inputs}
        made = statement(written, read, rule, **more)
        stage = min(outputs).split("/")[1]
        node = Node(made.digest, made.job, stage, written, made)
        self.graph.nodes[node.id] = node
        for path in inputs:
            above = self.made.get(path, path)
            if above not in self.graph.nodes:
                self.graph.nodes[path] = Node(path, path, "outside", {path: read[path]})
            self.graph.edges.setdefault((above, node.id), []).append(path)
        self.made.update(dict.fromkeys(outputs, node.id))
        return node.id


def big_graph(models: int = 150) -> Graph:
    """About as many jobs as a run of three pools has: 500 with the files from outside."""
    jobs = Jobs()

    def job(name, outputs, inputs=(), params=None, **wildcards):
        return jobs.job(
            outputs, inputs, name, wildcards=wildcards, params=params,
            function=f"atlas.{name}:{name}", modules=MODULES, packages=PACKAGES,
            time=len(jobs.graph.nodes) % 60,
        )  # fmt: skip

    bases, encoder = "results/sources/bases/smollm2", "results/sources/encoders/minilm"
    base = [f"{bases}/{f}" for f in ("base.json", "config.json", "model.safetensors")]
    encoders = [f"{encoder}/{f}" for f in ("encoder.json", "model.safetensors")]
    job("fetch_base", base, base="smollm2")
    job("fetch_encoder", encoders, encoder="minilm")
    domains = ["maths", "coding", "medical", "legal", "commonsense"]
    runs = []
    for domain in domains:
        raw = f"results/sources/datasets/{domain}.jsonl"
        job("fetch_rows", [raw], [f"resources/rows/{domain}.txt"], dataset=domain)
        for part in ("first", "second", "third"):
            split = f"results/datasets/{domain}/{part}.jsonl"
            job("make_split", [split], [raw], {"seed": 7}, dataset=domain, split=part)
            runs += [(domain, part, split, k) for k in range(models // 15)]
    weights = []
    for domain, part, split, k in runs:
        name = f"smollm2-{domain}-{part}-r8-seed{k}"
        rows, made = (
            f"results/models/{name}/rows.jsonl",
            f"results/models/{name}/adapter_model.safetensors",
        )
        job("prepare_rows", [rows], [split, base[0]], {"rows": 500, "seed": k}, model=name)
        job("train_adapter", [made, made.replace("_model.safetensors", "_config.json")],
            [rows, *base], {"recipe": RECIPE, "seed": k}, model=name)  # fmt: skip
        weights.append(made)
    shards, sentences = [], []
    for shard in range(0, models, 15):
        pool, number = f"results/pools/pool{shard // 50}", f"{shard // 15:04d}"
        part = weights[shard : shard + 15]
        for name, found, kind in (("compute_shard", shards, "h5"),
                                  ("generate_shard", sentences, "sentences.jsonl")):  # fmt: skip
            found.append(f"{pool}/shards/{number}.{kind}")
            job(name, found[-1:], ["resources/probes.txt", *base, *part],
                {"models": [{"base": "smollm2", "name": n.split("/")[2]} for n in part]},
                pool=pool.split("/")[2], shard=number)  # fmt: skip
    ends = []
    for k in range(0, models, 50):
        name, part = f"pool{k // 50}", weights[k : k + 50]
        pool = f"results/pools/{name}"
        hers = [s for s in shards if s.startswith(f"{pool}/")]
        job("assemble_activations", [f"{pool}/activations.h5"], hers, pool=name)
        said = [s for s in sentences if s.startswith(f"{pool}/")]
        ways = {"delta_activations": [f"{pool}/activations.h5"], "flattened_weights": part,
                "salient_mask": [*base, *part], "output_sentences": [*encoders, *said]}  # fmt: skip
        spaces = [f"{pool}/{space}/embeddings.npz" for space in ways]
        for space, inputs, made in zip(ways, ways.values(), spaces, strict=True):
            job(
                f"embed_{space}",
                [made],
                inputs,
                {"models": [p.split("/")[2] for p in part]},
                pool=name,
            )
            figures = [f"{pool}/figures/{space}.{kind}" for kind in ("svg", "png")]
            job("draw_figures", figures, [made], pool=name, space=space)
            ends += figures[:1]
        for rule in ("silhouettes", "neighbours", "clusters", "select_model"):
            job(rule, [f"{pool}/{rule}.csv"], spaces, pool=name)
            ends.append(f"{pool}/{rule}.csv")
    checks: list[str] = []
    for k in range(max(0, 499 - len(jobs.graph.nodes))):  # other checks and tables, up to 500
        made = f"results/pools/pool{k % 3}/checks/{k:03d}.csv"
        job("check_pool", [made], [ends[k % len(ends)]], pool=f"pool{k % 3}", check=f"{k:03d}")
        checks.append(made)
    jobs.graph.targets = [job("main_table", ["results/tables/main.csv", "results/tables/main.md"],
                              [e for e in ends + checks if not e.endswith(".svg")])]  # fmt: skip
    return jobs.graph


class Page(HTMLParser):
    """What a page holds: elements with their attributes, scripts' text, text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts[-1] += data

    def of(self, tag, kind):
        return [a for t, a in self.tags if t == tag and kind in (a.get("class") or "").split()]


def written(graph, folder, title="results/tables/main.csv"):
    write_page(graph, folder / "page.html", title)
    return (folder / "page.html").read_text(encoding="utf-8")


def named(edges) -> Graph:
    """A graph of jobs without files, by the numbers of their ends."""
    jobs = Jobs()
    ends = sorted({k for edge in edges for k in edge})
    ids = {k: jobs.job([f"results/models/m{k}/file"], rule=f"rule{k}") for k in ends}
    jobs.graph.edges = {(ids[a], ids[b]): [f"results/models/m{a}/file"] for a, b in edges}
    return jobs.graph


def dags(most: int = 24):
    """Edges from smaller to larger numbers."""
    pair = st.tuples(st.integers(0, most), st.integers(0, most)).filter(lambda p: p[0] != p[1])
    return st.sets(pair.map(lambda p: (min(p), max(p))), min_size=1, max_size=3 * most)


@pytest.fixture(scope="module")
def big() -> Graph:
    return big_graph()


def test_every_job_and_every_edge_is_there(big, tmp_path):
    page = Page(written(big, tmp_path))
    nodes = page.of("button", "node")
    order = list(arrange(big))
    assert len(order) == len(big.nodes) == 500
    assert [n["title"] for n in nodes] == [big.nodes[i].label for i in order]
    drawn = [tuple(map(int, e["data-e"].split())) for e in page.of("path", "edge")]
    assert sorted((order[a], order[b]) for a, b in drawn) == sorted(big.edges)
    table = [a for t, a in page.tags if t == "tr"]
    assert len(table) == 501
    marked = [n["title"] for n in page.of("button", "target")]
    assert marked == [big.nodes[i].label for i in big.targets]
    outside = [n["title"] for n in page.of("button", "outside")]
    assert sorted(outside) == sorted(i for i, n in big.nodes.items() if n.statement is None)
    panel = json.loads(page.scripts[0])
    for job, i in zip(panel["jobs"], order, strict=True):
        node = big.nodes[i]
        assert dict(panel["store"][k] for k in job["o"]) == node.outputs
        if node.statement:
            assert dict(panel["store"][k] for k, _ in job["i"]) == node.statement.inputs
            makers = {order[maker] for _, maker in job["i"]}
            assert makers == {a for a, b in big.edges if b == i}


def test_the_page_is_small_and_says_things_once(big, tmp_path):
    text = written(big, tmp_path)
    assert len(text.encode()) < 1_000_000
    assert text.count("atlas.module_7") == 1
    assert text.count(sha("results/sources/bases/smollm2/base.json")) == 1


@given(dags())
def test_layers_are_longest_paths(edges):
    graph = named(edges)
    layer = {i: k for k, ids in enumerate(layers(graph)) for i in ids}
    assert set(layer) == set(graph.nodes)
    dag = nx.DiGraph(list(graph.edges))
    for i in dag:
        assert layer[i] == max((layer[a] + 1 for a in dag.pred[i]), default=0)


@given(dags(), st.integers(1, 90))
def test_places_respect_edges_and_keep_apart(edges, more):
    wide = {(0, 100 + k) for k in range(more)}  # a layer that may have to be wrapped
    graph = named(edges | wide)
    boxes = arrange(graph)
    assert set(boxes) == set(graph.nodes)
    for a, b in graph.edges:
        assert boxes[a].right < boxes[b].left
    places = {(box.x, box.y) for box in boxes.values()}
    assert len(places) == len(boxes)
    assert all((x - 28) >= 0 and (y - 28) % 58 == 0 for x, y in places)
    assert all(box.left <= box.x and box.x + box.width <= box.right for box in boxes.values())


def points(path: str) -> np.ndarray:
    """Points along a path of the page, a few pixels apart."""
    found, at = [], np.zeros(2)
    for letter, text in re.findall(r"([MHC])([-0-9 ]+)", path):
        v = [int(x) for x in text.split()]
        if letter == "M":
            at = np.array(v, dtype=float)
            continue
        goal = np.array([v[0], at[1]] if letter == "H" else v[4:], dtype=float)
        p1, p2 = (at, goal) if letter == "H" else (np.array(v[:2]), np.array(v[2:4]))
        t = np.linspace(0, 1, 60)[:, None]
        found.append(
            (1 - t) ** 3 * at + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * goal
        )
        at = goal
    return np.concatenate(found)


def crossed(graph: Graph) -> list:
    """Edges that are drawn through a node."""
    boxes = list(arrange(graph).values())
    left, top = np.array([b.x for b in boxes]), np.array([b.y for b in boxes])
    found = []
    for a, b, path in _content(graph, "")["edges"]:
        x, y = points(path).T[:, :, None]
        inside = (x > left) & (x < left + boxes[0].width) & (y > top) & (y < top + HEIGHT)
        if inside.any():
            found.append((a, b))
    return found


def test_edges_of_a_real_graph_cross_no_node(big):
    assert crossed(big) == []


@given(dags(12), st.integers(1, 60))
def test_edges_cross_no_node(edges, more):
    wide = {(k % 3, 100 + k) for k in range(more)} | {(100 + k, 300) for k in range(0, more, 2)}
    assert crossed(named(edges | wide)) == []


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    graph = big_graph(45)
    first = written(graph, tmp_path)
    nodes, edges = list(graph.nodes.items()), list(graph.edges.items())
    random.Random(3).shuffle(nodes)
    random.Random(4).shuffle(edges)
    assert written(Graph(dict(nodes), dict(edges), graph.targets), tmp_path) == first
    assert written(big_graph(45), tmp_path) == first


EVIL = """</script><script>alert(1)</script><!-- <b onclick='x'> "&amp; {{ 7 * 7 }} \u2028"""


def test_text_is_text(tmp_path):
    jobs = Jobs()
    name = f"results/models/{EVIL}"
    evil = jobs.job([name], [f"data/{EVIL}"], params={EVIL: [EVIL], "recipe": {EVIL: EVIL}},
                    wildcards={"model": EVIL}, function=EVIL, modules={EVIL: EVIL})  # fmt: skip
    jobs.graph.targets = [evil]
    page = Page(written(jobs.graph, tmp_path, title=EVIL))
    harmless = Page(written(named({(1, 2)}), tmp_path))
    assert len(page.scripts) == 2
    assert page.scripts[1] == harmless.scripts[1]
    assert {t for t, _ in page.tags} == {t for t, _ in harmless.tags} | {"em"}
    assert not any("onclick" in a for _, a in page.tags)
    assert [n["title"] for n in page.of("button", "node")] == [f"data/{EVIL}", f"rule {EVIL}"]
    panel = json.loads(page.scripts[0])
    (key,) = set(panel["jobs"][1]["p"]) - {"recipe"}
    assert key == EVIL
    assert json.loads(panel["store"][panel["jobs"][1]["p"][key]][0]) == EVIL


def test_numbers_are_shown_as_they_are(tmp_path):
    jobs = Jobs()
    values = {"seed": 2**63 + 1, "rate": 1e-05, "one": 1.0, "none": None, "odd": float("nan")}
    jobs.job(["results/models/m/file"], params=values)
    panel = json.loads(Page(written(jobs.graph, tmp_path)).scripts[0], parse_constant=pytest.fail)
    shown = {k: panel["store"][v] for k, v in panel["jobs"][0]["p"].items()}
    assert shown == {"seed": "9223372036854775809", "rate": "1e-05", "one": "1.0", "none": "null",
                     "odd": "NaN"}  # fmt: skip


def test_nothing_outside_the_page_is_asked_for(big, tmp_path):
    page = Page(written(big, tmp_path))
    allowed = re.compile(r"#|data:,$")
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset", "data"):
            assert name not in attributes or allowed.match(attributes[name]), (tag, attributes)
    assert "default-src 'none'" in str(page.tags)
    text = TEMPLATE.read_text(encoding="utf-8")
    assert not re.search(r"https?:|\burl\(|@import|import\s*\(|fetch\(|XMLHttp|[\"'(]//", text)


def test_newest_statements_that_read_each_other(tmp_path):
    graph = named({(1, 2), (2, 3), (3, 1), (3, 4)})
    page = Page(written(graph, tmp_path))
    assert len(page.of("path", "edge")) == 4
    assert len(page.of("button", "node")) == 4


def test_many_stages_share_colours(tmp_path):
    jobs = Jobs()
    for k in range(12):
        jobs.job([f"results/stage{k}/file"], rule=f"rule{k}")
    page = Page(written(jobs.graph, tmp_path))
    assert {n["data-stage"] for n in page.of("button", "node")} == {f"stage{k}" for k in range(12)}


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(AtlasError, match=r"no/page\.html: cannot be written \(No such file"):
        write_page(named({(1, 2)}), tmp_path / "no/page.html", "title")
