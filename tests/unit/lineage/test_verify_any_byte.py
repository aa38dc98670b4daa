from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.lineage.verify import verify
from unit.job.runs import Run, flip, sha
from unit.lineage.faults import the_one


@st.composite
def dags(draw):
    """Jobs in an order in which they can run: (number of outputs, names that they read)."""
    jobs, known = [], ["resources/0", "resources/1"]
    for job in range(draw(st.integers(1, 6))):
        names = [f"results/stage/{job}.{n}" for n in range(draw(st.integers(1, 2)))]
        read = draw(st.lists(st.sampled_from(known), max_size=3, unique=True))
        jobs.append((names, read))
        known += names
    return jobs


def make(folder, jobs):
    run = Run(Path(folder) / "run")
    for source in ("resources/0", "resources/1"):
        run.put(source, source)
    for names, read in jobs:
        run.job({name: f"{name} of {read}" for name in names}, read)
    return run


def standing_on(name, jobs):
    """Artefacts that are made from a file, directly or not."""
    tainted = {name}
    for names, read in jobs:
        if tainted & set(read):
            tainted |= set(names)
    return tainted - {name}


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_one_artefact(jobs, seed):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        assert verify(run.records).faults == []
        names = chance.choice(jobs)[0]
        name = chance.choice(names)
        file = run / name
        flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
        fault = the_one(run)
        assert (fault.kind, fault.file, fault.first) == ("artefact", name, True)
        assert fault.found == sha(file.read_bytes())
        if len(names) == 1:
            assert fault.behind == len(standing_on(name, jobs))


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_each_of_two_artefacts(jobs, seed):
    """The one that stands on the other is its consequence."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        every = [name for names, _ in jobs for name in names]
        chosen = chance.sample(every, min(2, len(every)))
        for name in chosen:
            flip(run / name, chance.randrange((run / name).stat().st_size))
        first = {n for n in chosen if not any(n in standing_on(m, jobs) for m in chosen)}
        assert {(f.file, f.first) for f in verify(run.records).faults} == {
            (n, n in first) for n in chosen
        }


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_one_statement(jobs, seed):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        names, _ = chance.choice(jobs)
        file = run.pointer(names[0]).resolve()
        flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
        faults = verify(run.records).faults
        assert {(f.kind, f.file) for f in faults} == {
            ("statement", name)
            for name in [*names, file.relative_to(run.root.resolve()).as_posix()]
        }
