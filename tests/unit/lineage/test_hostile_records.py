"""Whatever somebody wrote into the records, a question ends in an answer or one sentence, and soon."""

from __future__ import annotations

import json
import os

import pytest

from atlas.lineage.command import main
from atlas.lineage.verify import verify
from unit.job.runs import RAW, A, B, C, sha

STATEMENTS = "results/provenance/statements"
HISTORY = "results/provenance/history.jsonl"
NESTED = b'{"a":' * 100_000


def forge(run, name, change):
    """Put a changed statement in the place of an artefact's, under its own digest."""
    value = json.loads(run.pointer(name).read_bytes())
    change(value)
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    run.put(f"{STATEMENTS}/{sha(data)[:2]}/{sha(data)}.json", data)
    run.pointer(name).unlink()
    run.pointer(name).symlink_to(run.statement(sha(data)))


def at(*path):
    """A change of what stands at a path in a statement."""

    def make(new):
        def change(value):
            for key in path[:-1]:
                value = value[key]
            value[path[-1]] = new

        return change

    return make


SUBJECT, READ = at("subject", 0), at("predicate", "buildDefinition", "resolvedDependencies", 0)
DIGEST = at("subject", 0, "digest", "sha256")
NAME, URI = (
    at("subject", 0, "name"),
    at("predicate", "buildDefinition", "resolvedDependencies", 0, "uri"),
)
ASKED = ("predicate", "buildDefinition", "externalParameters")
CODE = ("predicate", "buildDefinition", "internalParameters", "code")
WHEN = ("predicate", "runDetails", "metadata")
# Statements that are none.
FORGED = {
    "a digest that is a number": DIGEST(7),
    "a digest that is a list": DIGEST(["a"]),
    "a short digest": DIGEST("abc"),
    "a digest in capitals": DIGEST("A" * 64),
    "no subject": at("subject")(None),
    "a subject that is a text": SUBJECT("x"),
    "a name that is a number": NAME(1),
    "a name elsewhere": NAME("/etc/passwd"),
    "a name that climbs": NAME("results/../../x"),
    "a name with a null": NAME("results/\0"),
    "a dependency that is a number": READ(3),
    "an input that is a list": URI([]),
    "an input that climbs": URI("results/../x"),
    "an input in disguise": URI("./results/a"),
    "an input with a null": URI("a\0b"),
    "an endless input": URI("/dev/zero"),
    "the memory": URI("/proc/kcore"),
    "a rule that is a list": at(*ASKED, "rule")([]),
    "wildcards of numbers": at(*ASKED, "wildcards")({"a": 1}),
    "wildcards that are a list": at(*ASKED, "wildcards")([1]),
    "params that are none": at(*ASKED, "params")(None),
    "no function": at(*CODE, "function")("x"),
    "a function elsewhere": at(*CODE, "function")("../x:y"),
    "modules of numbers": at(*CODE, "modules")({"a": 1}),
    "outside of lists": at(*CODE, "outside")({"a": []}),
    "outside that is a text": at(*CODE, "outside")("x"),
    "a time that is a number": at(*WHEN, "finishedOn")(5),
    "no time": at(*WHEN, "startedOn")("soon"),
    "execution that is a list": at("predicate", "runDetails", "delta_atlas_execution")([]),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_statement(chain, what):
    forge(chain, B, FORGED[what])
    faults = verify(chain.records).faults
    assert {(f.kind, f.file) for f in faults} == {("statement", B)}
    assert "is not an attestation of a job" in faults[0].sentence
    assert ask(chain) <= {0, 1, 2}


def ask(run) -> set[int]:
    """Exit statuses of all questions; none of them raises."""
    root = ("--root", str(run.root))
    questions = [("verify", *root), ("verify", *root, "--json"), ("trace", C, *root), ("history", *root),
                 ("diff", str(run.root), str(run.root))]  # fmt: skip
    return {main(list(question)) for question in questions}


@pytest.mark.parametrize(
    "data", [NESTED, b'{"a": ' + b"9" * 5000 + b"}", b'{"a": NaN}', b'"\\ud800"', b"\xff", b""],
    ids=["nested", "digits", "NaN", "half a pair", "no text", "empty"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["statement", "attempt", "run", "history"])
def test_what_is_no_json(chain, data, where):
    digest = sha(data)
    folder = "results/provenance/attempts/0123456789ab"
    chain.put({"statement": f"{STATEMENTS}/{digest[:2]}/{digest}.json", "attempt": f"{folder}/x.json",
               "run": f"{folder}/run.json",
    "history": "results/provenance/history.jsonl"}[where], data)  # fmt: skip
    if where == "statement":
        chain.pointer(C).unlink()
        chain.pointer(C).symlink_to(chain.statement(digest))
    assert ask(chain) <= {0, 1, 2}
    faults = verify(chain.records).faults
    wanted = {"statement": {C}, "history": {HISTORY} if data else set()}
    assert {f.file for f in faults} == wanted.get(where, set())


@pytest.mark.parametrize(
    "path", ["~nosuchuser/x", "~root/no-such", "x" * 5000, "a/" * 3000, "data/\udcff"]
)
def test_an_input_that_is_nowhere(chain, path):
    if path.isascii():
        forge(chain, A, URI(path))
        faults = verify(chain.records).faults
        assert ("missing", path) in {(f.kind, f.file) for f in faults}
        assert ask(chain) <= {0, 1, 2}
    else:
        forge(chain, A, URI(path))
        assert {f.kind for f in verify(chain.records).faults} == {"statement"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "circle", "nothing"])
@pytest.mark.parametrize("place", ["statement", "artefact", "pointer", "attempt", "source"])
def test_what_is_no_file(chain, kind, place):
    digest = "0" * 64
    file = {"statement": f"{STATEMENTS}/00/{digest}.json", "artefact": "results/models/x",
            "pointer": "results/provenance/attestations/models/x.json",
            "attempt": "results/provenance/attempts/0123456789ab/x.json",
    "source": RAW}[place]  # fmt: skip
    target = chain / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    {"folder": lambda: (target / "inner").mkdir(parents=True), "pipe": lambda: os.mkfifo(target),
     "circle": lambda: target.symlink_to(target.name),
    "nothing": lambda: target.symlink_to("gone")}[kind]()  # fmt: skip
    assert ask(chain) <= {0, 1, 2}
    found = {(f.kind, f.file) for f in verify(chain.records).faults}
    empty = kind == "folder" and place in ("artefact", "attempt")
    assert bool(found) is not empty  # an empty folder holds nothing that could be mistaken


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read(chain):
    (chain / B).chmod(0)
    assert {(f.kind, f.file) for f in verify(chain.records).faults} == {("artefact", B)}


@pytest.mark.parametrize(
    "graph",
    [[], {}, 7, "x", {"@graph": 7}, {"@graph": [7, None, "x", []]}, {"@graph": {"@type": "File"}},
     {"@graph": [{"@type": "File", "@id": []}]}, {"@graph": [{"@type": 5}]},
     {"@graph": [{"@type": "File", "@id": "a", "sha256": 7, "contentSize": 1}]},
     {"@graph": [{"@type": "File", "@id": "a", "sha256": "a", "contentSize": 1e308}]},
     {"@graph": [{"@type": "File", "@id": "a\0", "sha256": "a", "contentSize": "1"}]},
     {"@graph": [{"@type": "File", "@id": "http://[", "sha256": "a", "contentSize": "1"}]},
     {"@graph": [{"@type": "File", "@id": "x:y", "sha256": "a", "contentSize": "1", "alternateName": [7]}]}],
)  # fmt: skip
def test_metadata_of_a_crate(chain, graph):
    data = json.dumps(graph)
    chain.put("ro-crate-metadata.json", data)
    names = [RAW, A, B, C, *(f"{STATEMENTS}/{d[:2]}/{d}.json" for d in ())]
    lines = {name: sha((chain / name).read_bytes()) for name in names}
    text = "".join(f"{d}  {n}\n" for n, d in {**lines, "ro-crate-metadata.json": sha(data)}.items())
    chain.put("manifest-sha256.txt", text)
    assert main(["verify", str(chain.root)]) in (1, 2)
    assert ask(chain) <= {0, 1, 2}


@pytest.mark.parametrize(
    "text", [b"x", b"\0" * 64 + b"  a\n", b"0" * 64 + b"  a\0b\n", b"\xff\xfe"]
)
def test_a_seal_of_a_crate(chain, text):
    chain.put("ro-crate-metadata.json", json.dumps({"@graph": []}))
    chain.put("manifest-sha256.txt", text)
    assert main(["verify", str(chain.root)]) == 1


@pytest.mark.parametrize(
    ("name", "data"),
    [("results/sources/bases/b/base.json", d) for d in
     (NESTED, b'{"origin": []}', b'{"origin": {"pypi": 7}}', b'{"origin": {"pypi": {"files": [{}]}}}',
      b'{"origin": {}}', b"7")]
    + [("results/models/m/rows.jsonl", d) for d in
       (b"7\n", NESTED, b'{"dataset": 1}\n', b'{"rows": 7}\n', b'{"rows": [[1]]}\n', b"\xff\n")],
)  # fmt: skip
def test_an_artefact_that_no_job_would_write(run, capsys, name, data):
    """Its statement fits it: both are forged."""
    run.job({name: data})
    root = ("--root", str(run.root))
    assert main(["verify", *root]) == 0
    for more in ((), ("--json",)):
        assert main(["trace", name, *root, *more]) in (0, 2)
    assert main(["trace", f"{name}:1", *root]) == 2
    assert "Traceback" not in capsys.readouterr().err
