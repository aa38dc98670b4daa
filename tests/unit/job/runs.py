"""Tiny results folders: files written by hand, statements by the workflow's own writer."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from atlas.job import statements
from atlas.job.records import Records
from atlas.job.statements import Statement

RAW = "resources/raw.txt"
A, B, C, D, E = (
    f"results/{name}"
    for name in ("sources/a.txt", "datasets/b.txt", "models/c.txt", "pools/d.txt", "tables/e.csv")
)


def sha(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def statement(
    outputs: Mapping[str, str],
    inputs: Mapping[str, str],
    rule: str = "rule",
    wildcards: Mapping[str, str] | None = None,
    params: Mapping | None = None,
    function: str = "lib.module:work",
    modules: Mapping[str, str] | None = None,
    packages: Mapping[str, str] | None = None,
    time: int = 0,
    temporary: Mapping[str, int] | None = None,
    distributions: Mapping[str, str] | None = None,
    outside: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    input_names: Mapping[str, str] | None = None,
    **host,
) -> Statement:
    """A statement of a job, from digests; it has a digest as if it was stored."""
    made = Statement(
        outputs=dict(outputs), output_names=dict.fromkeys(outputs, "made") | (names or {}),
        inputs=dict(inputs), input_names=dict.fromkeys(inputs, "read") | (input_names or {}),
        rule=rule, wildcards=dict(wildcards or {}), params=dict(params or {}),
        code={"function": function, "modules": dict(modules or {}),
              "distributions": dict(packages or {}), "outside": dict(outside or {})},
        started=f"2026-01-01T00:{time:02d}:00+00:00", finished=f"2026-01-01T00:{time:02d}:30+00:00",
        run="1.2.host.", execution={"host": "host", "device": "cpu", **host},
        temporary=dict(temporary or {}), packages=dict(distributions or {}),
    )  # fmt: skip
    return replace(made, digest=sha(json.dumps(statements.content(made), sort_keys=True)))


class Run:
    """A folder in which jobs are run; each takes a minute of a clock of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.time = 0
        root.mkdir(parents=True, exist_ok=True)

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    @property
    def records(self) -> Records:
        """The records as they are now (an object of its own remembers what it read)."""
        return Records(self.root)

    def put(self, name: str, data: bytes | str) -> str:
        """Write a file.

        :returns: its SHA-256.
        """
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return sha(data)

    def job(
        self, outputs: Mapping[str, bytes | str], inputs: Iterable[str] = (), **more: object
    ) -> str:
        """Write outputs and their statement, which has the inputs as they are now.

        :returns: the statement's SHA-256.
        """
        self.time += 1
        made = {name: self.put(name, data) for name, data in outputs.items()}
        read = {name: sha((self.root / name).read_bytes()) for name in inputs}
        with contextlib.chdir(self.root):
            return statements.store(statement(made, read, **{"time": self.time, **more}), outputs)

    def chain(self) -> dict[str, str]:
        """resources/raw -> a -> b -> c.

        :returns: path -> digest of its statement.
        """
        self.put(RAW, "raw")
        return {
            A: self.job({A: "a"}, [RAW], rule="fetch", wildcards={"source": "a"}),
            B: self.job({B: "b"}, [A], rule="split"),
            C: self.job({C: "c"}, [B], rule="train"),
        }

    def pointer(self, name: str) -> Path:
        """The link to the statement of an artefact."""
        return self / f"results/provenance/attestations/{name.removeprefix('results/')}.json"

    def read(self, digest: str) -> Statement:
        """A stored statement, also one that was replaced since."""
        return next(s for s in self.records.all_statements() if s.digest == digest)

    def statement(self, digest: str) -> Path:
        return self / f"results/provenance/statements/{digest[:2]}/{digest}.json"


def flip(file: Path, place: int = 0, bit: int = 0) -> None:
    """Turn one bit of a file."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)
