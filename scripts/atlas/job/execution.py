"""One execution of a library function: its inputs hashed, its outputs staged, attested, renamed last."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import STAGE_MARK
from atlas.job import attempts, batch_system, closures, statements
from atlas.job.attempts import slug
from atlas.job.digest_cache import DigestCache
from atlas.job.records import RESULTS, BrokenRecordError, Records

WORK = Path(".snakemake/atlas")
# Inputs that are not handed to the function. `companions` (the figures of a table) only have to be
# there and are not attested; `local` (files of a user's own folder) are attested, and the function
# finds them through its source.
COMPANIONS, LOCAL = "companions", "local"
# A function that has an argument `gone` puts the files there that it made and deleted itself: path ->
# SHA-256 and bytes. Their statement says so, and they may be absent.
# A param that names the outputs which Snakemake deletes once they were read (temp()).
TEMPORARY = "temporary"
# A param of the rules whose jobs may reach a hub or a package index.
NETWORK = "network"

Named = dict[str, Path | list[Path]]


class Execution:
    """A job between Snakemake and a library function.

    :param snakemake: the object that Snakemake gives to scripts.
    :param identity: the run.
    """

    def __init__(self, snakemake: Any, identity: str) -> None:
        self.snakemake = snakemake
        self.target: str = snakemake.params.code["function"]
        self.identity = identity
        self.cache = DigestCache(
            WORK / "digests" / f"{slug(identity)}-{os.uname().nodename}.sqlite"
        )
        self.records = Records(Path())
        self.inputs = _named(snakemake.input)
        self.inputs.pop(COMPANIONS, None)
        self.outputs = _named(snakemake.output)
        self.gone: dict[str, tuple[str, int]] = {}
        self.params = {name: v for name, v in snakemake.params.items() if name != "code"}
        self.temporary = {
            str(path)
            for name in self.params.get(TEMPORARY, ())
            for path in _flat({name: self.outputs[name]})
        }

    def run(self, attempt: str) -> dict[str, Any]:
        """Do the work and make it whole.

        :param attempt: what the statement calls the attempt.
        :returns: for the attempt: digest of the statement, what was replaced by what, and the
            seconds that the work and its attestation took.
        :raises AtlasError: for code or inputs that are not those of the plan, and what the
            function refuses.
        """
        began, started = time.perf_counter(), attempts.now()
        batch = batch_system.allocation()
        code = self._code()
        dependencies = {str(path): self.cache.sha256(path) for path in _flat(self.inputs)}
        self._refuse_strangers(dependencies)
        stage = {path: _stage(path, self.identity) for path in _flat(self.outputs)}
        ready = time.perf_counter()
        module, _, name = self.target.partition(":")
        function = getattr(importlib.import_module(module), name)
        scratch = None
        if "scratch" in inspect.signature(function).parameters:
            scratch = self._scratch_folder(dependencies)
        try:
            self._call(function, stage, scratch)
            worked = time.perf_counter()
            self._refuse_changes(dependencies)
            subject = self._subject(stage)
            made = {**subject, **{path: digest for path, (digest, _) in self.gone.items()}}
            kept = [path for path in made if path in subject or not Path(path).exists()]
            replaced = self._replaced(subject)
            statement = statements.store(
                statements.statement(
                    subject=made,
                    dependencies=dependencies,
                    names={**self._names(), **dict.fromkeys(self.gone, "gone")},
                    temporary={str(path): place.stat().st_size for path, place in stage.items()
                               if str(path) in self.temporary}
                    | {path: size for path, (_, size) in self.gone.items()},
                    rule=self.snakemake.rule,
                    wildcards={k: str(v) for k, v in self.snakemake.wildcards.items()},
                    params=self.params,
                    code={**code, "outside": closures.outside()},
                    started=started,
                    finished=attempts.now(),
                    run=self.identity,
                    host={**statements.environment(), "threads": self.snakemake.threads,
                          **_device(), "attempt": attempt, "exit": 0,
                          **({"batch_system": batch} if batch else {})},
                ),
                kept,
            )  # fmt: skip
            for path, place in stage.items():
                place.replace(path)
                self.cache.put(path, subject[str(path)])
            for folder in {path.parent for path in stage}:
                _sync(folder)
        finally:
            for place in stage.values():
                place.unlink(missing_ok=True)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        attesting = time.perf_counter() - began - (worked - ready)
        return {"statement": statement, "replaced": replaced or None,
                "working_s": round(worked - ready, 3), "attesting_s": round(attesting, 3)}  # fmt: skip

    def _code(self) -> dict[str, Any]:
        """The code closure as it is now, which must be the one that the run was planned with."""
        code = closures.closure(self.target)
        if self.snakemake.params.code["modules"] != code["modules"]:
            raise AtlasError(
                f"the code behind {self.snakemake.rule} was changed since the run began; give the "
                "same command again."
            )
        return code

    def _call(
        self, function: Callable[..., None], stage: dict[Path, Path], scratch: Path | None
    ) -> None:
        """Call the function with inputs, params and staged outputs by name."""
        arguments: dict[str, Any] = {**self.inputs, **self.params}
        for name in (LOCAL, TEMPORARY, NETWORK):
            arguments.pop(name, None)
        for key, value in self.outputs.items():
            arguments[key] = [stage[p] for p in value] if isinstance(value, list) else stage[value]
        if scratch is not None:
            arguments["scratch"] = scratch
        if "digests" in inspect.signature(function).parameters:
            arguments["digests"] = self.cache
        if "gone" in inspect.signature(function).parameters:
            arguments["gone"] = self.gone
        inspect.signature(function).bind(**arguments)
        function(**arguments)

    def _names(self) -> dict[str, str]:
        """Path -> name under which the rule declares it."""
        return {
            str(path): name
            for name, value in [*self.inputs.items(), *self.outputs.items()]
            for path in _flat({name: value})
        }

    def _refuse_strangers(self, dependencies: dict[str, str]) -> None:
        """Refuse an input below results/ that no job made, or that is not what the job made."""
        for path, digest in dependencies.items():
            if not path.startswith(f"{RESULTS}/"):
                continue
            again = "remove it and give the same command again, and it is made anew."
            try:
                made = self.records.statement(path)
            except BrokenRecordError as error:
                raise AtlasError(f"{error}; {path} cannot be trusted: {again}") from None
            if made is None:
                raise AtlasError(
                    f"{path} has no attestation: no job of this workflow made it; {again}"
                )
            if made.outputs[path] != digest:
                raise AtlasError(
                    f"{path} is not what {made.rule} made: its SHA-256 is {digest[:12]}…, and that "
                    f"of its attestation {made.outputs[path][:12]}…; {again}"
                )

    def _refuse_changes(self, dependencies: dict[str, str]) -> None:
        """Refuse inputs that changed while the function read them."""
        for name, digest in dependencies.items():
            if not Path(name).is_file() or self.cache.sha256(Path(name)) != digest:
                raise AtlasError(
                    f"{name} was changed while {self.snakemake.rule} read it; give the same command "
                    "again."
                )

    def _subject(self, stage: dict[Path, Path]) -> dict[str, str]:
        for path, place in stage.items():
            if not place.is_file():
                raise AtlasError(f"{path} was not written; please report this.")
        return {str(path): self.cache.sha256(place) for path, place in stage.items()}

    def _replaced(self, subject: dict[str, str]) -> dict[str, dict[str, str]]:
        """What stood in the place of the outputs before, by the statements: path -> from, to."""
        found = {}
        for path, digest in subject.items():
            with contextlib.suppress(BrokenRecordError):
                if earlier := self.records.statement(path):
                    found[path] = {"from": earlier.outputs[path], "to": digest,
                                   "statement": earlier.digest}  # fmt: skip
        return found

    def _scratch_folder(self, dependencies: dict[str, str]) -> Path:
        """A folder that outlives a killed job and is found again only by the very same job."""
        places = sorted(map(str, _flat(self.outputs)))
        key = json.dumps(
            [self.snakemake.rule, places, dependencies, dict(self.snakemake.params.items())],
            sort_keys=True, default=str,
        )  # fmt: skip
        folder = WORK / "scratch" / hashlib.sha256(key.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _named(values: Any) -> Named:
    """Named inputs or outputs of a rule as paths, lists staying lists."""
    found: Named = {}
    count = 0
    for name, value in values.items():
        if isinstance(value, str):
            found[name] = Path(value)
            count += 1
        else:
            found[name] = [Path(str(item)) for item in value]
            count += len(value)
    if count != len(values):
        raise TypeError("every input and output of a rule has a name")
    return found


def _flat(values: Named) -> list[Path]:
    return [p for v in values.values() for p in (v if isinstance(v, list) else [v])]


def _stage(path: Path, identity: str) -> Path:
    """Where an output is written first; what dead runs left there is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{_escape(path.name)}{STAGE_MARK}*"):
        old.unlink(missing_ok=True)
    return path.with_name(f".{path.name}{STAGE_MARK}{slug(identity)}{path.suffix}")


def _escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _device() -> dict[str, str]:
    """The device that the job used, and the attention, where it loaded a network."""
    if "torch" not in sys.modules:
        return {"device": "cpu"}
    from atlas.device import attention_used, describe

    attention = attention_used()
    return {"device": describe(), **({"attention": attention} if attention else {})}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
