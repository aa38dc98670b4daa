"""The one entry of every job.

``run(snakemake)`` calls the function that the rule's param ``code`` names, with the rule's inputs,
outputs and params as keyword arguments, and makes the outcome whole: every output is staged beside
its place, hashed, attested, and renamed last.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atlas import deployment, progress
from atlas.deployment import Deployment
from atlas.errors import AtlasError
from atlas.files import STAGE_MARK
from atlas.job import attempts, deathwatch, digest_cache, forked, gpu_share, usage
from atlas.job.attempts import Attempt
from atlas.job.environment import WORK, environment_of
from atlas.job.execution import Execution
from atlas.job.statements import RESULTS
from atlas.redaction import clean_logs, traceback_without_secrets

SCRATCH_DAYS = 14  # a job that was killed is taken up again within these days, or from its start


def run(snakemake: Any) -> None:
    """Run the function behind a rule as a job of the workflow."""
    deathwatch.watch()
    clean_logs()
    identity = os.environ.get(deathwatch.VARIABLE, f"{os.getpid()}")
    os.environ.update(environment_of(snakemake))
    keep_memory()
    if snakemake.resources.get("gpu", 0):
        gpu_share.take_one_of_several(WORK / "gpus")
    log = Path(str(snakemake.log[0]))
    log.parent.mkdir(parents=True, exist_ok=True)
    label = " ".join([snakemake.rule, *map(str, snakemake.wildcards)])
    wildcards = {name: str(value) for name, value in snakemake.wildcards.items()}
    attempt = None
    with _terminal_to_log(log, label):
        try:
            place = deployment.of_job(snakemake.config)
            outputs = [place.file_name(str(output)) for output in snakemake.output]
            rule = place.rule_name(snakemake.rule)
            attempt = Attempt(identity, rule, wildcards, outputs, Path(place.root))
            done = Execution(snakemake, identity).run(attempt.reference)
            attempt.close("finished", **done)
            usage.tell()
        except Exception as error:
            print(traceback_without_secrets(), file=sys.stderr)
            sentence = _sentence(error)
            if attempt is not None:
                attempt.close("failed", error=sentence)
            print(f"\n{label}: {sentence}", file=sys.stderr, flush=True)
            progress.put(f"\nError in {label}: {sentence}")
            if "ipykernel" in sys.modules:
                raise  # a notebook's kernel reports by itself, and must not vanish
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)


def keep_memory() -> None:
    """Let glibc keep freed memory: returning it after each tensor costs a tenth of a training."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
        mallopt(top_pad, 64 << 20)


def _sentence(error: Exception) -> str:
    if isinstance(error, AtlasError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{where}; make room and give the same command again."
    if "No space left on device" in str(error):
        return "the disk is full; make room and give the same command again."
    return str(AtlasError(f"{type(error).__name__}: {error}"))


@contextlib.contextmanager
def _terminal_to_log(log: Path, label: str) -> Iterator[None]:
    """Send what libraries print to the log; the terminal shows progress."""
    terminal = os.dup(2)
    progress.attach(terminal, label)
    with log.open("w") as handle:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = os.dup(1)
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved, 1)
            os.dup2(terminal, 2)


def start(
    place: Deployment, read: dict[str, str], configuration: dict[str, Any], configfiles: list[Path]
) -> None:
    """Before the first job of a run, with the working folder locked.

    :param read: the Snakefile that Snakemake was given, and the folder of the workflow.
    """
    root = Path(place.root)
    sweep(root / RESULTS)
    here = Path.cwd()

    def name(file: Path) -> str:
        path = file.absolute()
        inside = path.is_relative_to(here)
        return place.file_name(str(path.relative_to(here) if inside else path))

    identity = deathwatch.announce()
    read |= {"snakefile": name(Path(read["snakefile"])), "folder": os.path.relpath(here, root)}
    attempts.open_run(identity, configuration, list(map(name, configfiles)), read, root)
    attempts.compile_history(root)
    digest_cache.reach_snakemake(digest_cache.of_run(identity))


def finish(place: Deployment) -> None:
    """After the last job of a run, however it ended."""
    forked.stop()
    attempts.compile_history(Path(place.root))


def sweep(results: Path = Path(RESULTS)) -> int:
    """Remove what dead runs left half-written; call it while the working folder is locked.

    :returns: number of files removed.
    """
    removed = 0
    for place, _, names in os.walk(results):
        for name in names:
            if STAGE_MARK in name or (name.startswith(".") and name.endswith(".tmp")):
                Path(place, name).unlink(missing_ok=True)
                removed += 1
    for file in (*(WORK / "digests").glob("*"), *(WORK / "usage").glob("*")):
        file.unlink(missing_ok=True)
    for folder in (WORK / "cache").glob("scratch-*"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (WORK / "scratch").glob("*"):
        if time.time() - folder.stat().st_mtime > SCRATCH_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
    return removed
