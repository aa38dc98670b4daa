"""One execution of a library function: its inputs hashed, its outputs staged, attested, renamed last."""

import contextlib
import hashlib
import importlib
import inspect
import json
import shutil
import sys
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from atlas import deployment, owners
from atlas.errors import AtlasError
from atlas.files import owner_of, staged, sync, unfinished
from atlas.job import attempts, digest_cache, earlier, statements
from atlas.job.closures import Library, Store
from atlas.job.environment import NETWORK, WORK
from atlas.job.machine import batch_system
from atlas.job.machine.energy import Meter
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement, is_artefact
from atlas.job.withdrawn.notices import TELLERS, Withdrawn
from atlas.kept import Kept

# Inputs that the function does not get: `companions` (figures of a table) only have to be there and
# are not attested; `local` (files of a user's own folder) are, and are found through the source.
COMPANIONS, LOCAL = "companions", "local"
# Param: outputs that Snakemake deletes once they were read.
TEMPORARY = "temporary"

# In a folder that outlives a killed job: the run whose job had it last.
OWNER_FILE = ".owner"

Named = dict[str, Path | list[Path]]


class Execution:
    """A job between Snakemake (its object for scripts) and a library function."""

    def __init__(self, snakemake: Any, identity: str) -> None:
        self.snakemake = snakemake
        self.target: str = snakemake.params.code["function"]
        self.identity = identity
        self.cache = digest_cache.of_run(identity)
        self.place = deployment.of_job(snakemake.config)
        self.root = Path(self.place.root)
        self.records = Records(self.root)
        self.inputs = _named(snakemake.input)
        self.inputs.pop(COMPANIONS, None)
        self.outputs = _named(snakemake.output)
        self.input_names, self.output_names = self._names(self.inputs), self._names(self.outputs)
        # Where the files are that statements name.
        named = (*self.inputs.values(), *self.outputs.values())
        self.paths = {self._name(path): path for value in named for path in _flat(value)}
        # What the function made and deleted itself, if it has an argument `gone`: SHA-256 and bytes.
        self.gone: dict[str, tuple[str, int]] = {}
        self.params = {name: v for name, v in snakemake.params.items() if name != "code"}

    def run(self, attempt: str) -> dict[str, Any]:
        """Do the work and make it whole.

        :returns: for the attempt: statement, what was replaced, seconds of work and attestation.
        :raises AtlasError: for code or inputs that are not those of the plan, and what the
            function refuses.
        """
        began, started = time.perf_counter(), attempts.now()
        batch = batch_system.allocation()
        code = self._code()
        inputs = {name: self.cache.sha256(self.paths[name]) for name in self.input_names}
        self._refuse_strangers(inputs)
        self._refuse_withdrawn(code, inputs)
        stage = {name: _stage(self.paths[name], self.identity) for name in self.output_names}
        ready, meter = time.perf_counter(), Meter()
        module, _, name = self.target.partition(":")
        function = getattr(importlib.import_module(module), name)
        wanted = inspect.signature(function).parameters
        scratch = self._scratch_folder(inputs) if "scratch" in wanted else None
        arguments, reused = self._arguments(stage), None
        if "kept" in wanted:
            arguments["kept"], reused = self._kept(code, inputs)
        try:
            offered = {"scratch": scratch, "digests": self.cache, "gone": self.gone}
            function(**arguments, **{k: offered[k] for k in offered if k in wanted})
            worked, energy = time.perf_counter(), meter.joules()
            self._refuse_changes(inputs)
            written = self._digests(stage)
            host = statements.environment() | _device()
            host |= {"threads": self.snakemake.threads, "attempt": attempt, "exit": 0}
            if batch:
                host["batch_system"] = batch
            if energy:
                host["energy_j"] = energy
            if reused and (models := sorted(arguments["kept"].models)):
                host["kept"] = {"models": models, "statement": reused.digest}
            made = self._statement(code, inputs, written, stage, started, host)
            replaced = self._replaced(written)
            there = [name for name in made.outputs
                     if name in written or not (self.root / name).exists()]  # fmt: skip
            statement = statements.store(made, there, self.root)
            for name, place in stage.items():
                place.replace(self.paths[name])
                self.cache.put(self.paths[name], written[name])
            for folder in {self.paths[name].parent for name in stage}:
                sync(folder)
        finally:
            for place in stage.values():
                place.unlink(missing_ok=True)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        attesting = time.perf_counter() - began - (worked - ready)
        return {"statement": statement, "replaced": replaced or None,
                "working_s": round(worked - ready, 3), "attesting_s": round(attesting, 3)}  # fmt: skip

    def _name(self, path: Path) -> str:
        """What the statement calls a file."""
        return self.place.file_name(str(path))

    def _names(self, values: Named) -> dict[str, str]:
        """What the statement calls each file -> name under which the rule declares it."""
        return {self._name(path): name for name, value in values.items() for path in _flat(value)}

    def _code(self) -> dict[str, Any]:
        """The code closure as it is now, which must be the one that the run was planned with."""
        library = Library(store=Store())
        code = library.closure(self.target)
        if self.snakemake.params.code["modules"] != code["modules"]:
            raise AtlasError(
                f"the code behind {self.snakemake.rule} was changed since the run began; give the "
                "same command again."
            )
        return {**code, "outside": library.outside()}

    def _arguments(self, stage: dict[str, Path]) -> dict[str, Any]:
        """Inputs, params and staged outputs by name, as the function takes them."""
        arguments: dict[str, Any] = {**self.inputs, **self.params}
        for name in (LOCAL, TEMPORARY, NETWORK):
            arguments.pop(name, None)
        for name, value in self.outputs.items():
            staged = [stage[self._name(path)] for path in _flat(value)]
            arguments[name] = staged if isinstance(value, list) else staged[0]
        return arguments

    def _planned(self, code: dict[str, Any], inputs: dict[str, str]) -> Statement:
        """What can be attested before the work is done."""
        return Statement(
            rule=self.place.rule_name(self.snakemake.rule),
            wildcards={name: str(value) for name, value in self.snakemake.wildcards.items()},
            params=self.params,
            code=code,
            outputs=dict.fromkeys(self.output_names, ""),
            inputs=inputs,
            output_names=self.output_names,
            input_names=self.input_names,
        )

    def _statement(
        self, code: dict[str, Any], inputs: dict[str, str], written: dict[str, str],
        stage: dict[str, Path], started: str, execution: dict[str, Any],
    ) -> Statement:  # fmt: skip
        """What the job attests, of the files that it deleted itself, too."""
        passing = self.params.get(TEMPORARY, ())
        sizes = {path: stage[path].stat().st_size for path, name in self.output_names.items()
                 if name in passing}  # fmt: skip
        return replace(
            self._planned(code, inputs),
            outputs=written | {path: digest for path, (digest, _) in self.gone.items()},
            output_names=self.output_names | dict.fromkeys(self.gone, "gone"),
            temporary=sizes | {path: size for path, (_, size) in self.gone.items()},
            packages=statements.distributions(),
            execution=execution,
            started=started,
            finished=attempts.now(),
            run=self.identity,
        )

    def _refuse_strangers(self, dependencies: dict[str, str]) -> None:
        """Refuse an input below results/ that no job made, or that is not what the job made."""
        again = "remove it and give the same command again, and it is made anew."
        for path in filter(is_artefact, dependencies):
            digest = dependencies[path]
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

    @cached_property
    def withdrawn(self) -> Withdrawn:
        """What was withdrawn when the job began."""
        return Withdrawn(self.records)

    def _refuse_withdrawn(self, code: dict[str, Any], inputs: dict[str, str]) -> None:
        """Refuse inputs that hang on something withdrawn, and to run with something that is."""
        if self.withdrawn.notices:
            if self.target not in TELLERS:
                self.withdrawn.refuse(inputs.items())
            execution = statements.environment() | {"attempt": ""}
            planned = replace(self._planned(code, inputs), packages=statements.distributions(),
                              execution=execution)  # fmt: skip
            self.withdrawn.refuse_to_run(planned)

    def _kept(
        self, code: dict[str, Any], inputs: dict[str, str]
    ) -> tuple[Kept, Statement | None]:  # fmt: skip
        """What need not be computed again, and the statement of the execution that made it."""
        planned = self._planned(code, inputs)
        kept, reused = earlier.kept(planned, self.records, self.cache.sha256)
        if reused and self.withdrawn.ran(reused):
            return Kept(), None
        return kept, reused

    def _refuse_changes(self, dependencies: dict[str, str]) -> None:
        """Refuse inputs that changed while the function read them."""
        for name, digest in dependencies.items():
            path = self.paths[name]
            if not path.is_file() or self.cache.sha256(path) != digest:
                raise AtlasError(
                    f"{path} was changed while {self.snakemake.rule} read it; give the same command "
                    "again."
                )

    def _digests(self, stage: dict[str, Path]) -> dict[str, str]:
        """SHA-256 of what was written, by the place where it will be."""
        for path, place in stage.items():
            if not place.is_file():
                raise AtlasError(f"{path} was not written; please report this.")
        return {path: self.cache.sha256(place) for path, place in stage.items()}

    def _replaced(self, written: dict[str, str]) -> dict[str, dict[str, str]]:
        """What stood in the place of the outputs before, by the statements: path -> from, to."""
        found = {}
        for path, digest in written.items():
            with contextlib.suppress(BrokenRecordError):
                if earlier := self.records.statement(path):
                    found[path] = {"from": earlier.outputs[path], "to": digest,
                                   "statement": earlier.digest}  # fmt: skip
        return found

    def _scratch_folder(self, dependencies: dict[str, str]) -> Path:
        """A folder that outlives a killed job and is found again only by the very same job."""
        key = json.dumps(
            [self.snakemake.rule, sorted(self.output_names), dependencies,
             dict(self.snakemake.params.items())],
            sort_keys=True, default=str,
        )  # fmt: skip
        folder = WORK / "scratch" / hashlib.sha256(key.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OWNER_FILE).write_text(owners.owner(self.identity))
        return folder


def _named(values: Any) -> Named:
    """Named inputs or outputs of a rule as paths, lists staying lists."""
    found: Named = {
        name: Path(value) if isinstance(value, str) else [Path(str(item)) for item in value]
        for name, value in values.items()
    }
    if sum(len(_flat(value)) for value in found.values()) != len(values):
        raise TypeError("every input and output of a rule has a name")
    return found


def _flat(value: Path | list[Path]) -> list[Path]:
    return value if isinstance(value, list) else [value]


def _stage(path: Path, identity: str) -> Path:
    """Where an output is written first; what others left there is removed, unless they live."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = staged(path, owners.owner(identity))
    for old in unfinished(path):
        if old == place or not owners.is_alive(owner_of(old.name) or ""):
            old.unlink(missing_ok=True)
    return place


def _device() -> dict[str, str]:
    """The device that the job used, and the attention, where it loaded a network."""
    if "torch" not in sys.modules:
        return {"device": "cpu"}
    from atlas.device import attention_used, describe

    attention = attention_used()
    return {"device": describe(), **({"attention": attention} if attention else {})}
