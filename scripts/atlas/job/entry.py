"""The one entry of every job.

``run(snakemake)`` calls the function that the rule's param ``code`` names, with the rule's inputs,
outputs and params as keyword arguments, and makes the outcome whole: every output is staged beside
its place, hashed, attested, and renamed last.
"""

import contextlib
import ctypes
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atlas import deployment, owners, progress
from atlas.deployment import Deployment
from atlas.errors import sentence_of
from atlas.files import owner_of
from atlas.job import attempts, deathwatch, digest_cache, forked, history, usage
from atlas.job.attempts import Attempt
from atlas.job.environment import WORK, environment_of
from atlas.job.execution import OWNER_FILE, Execution
from atlas.job.machine import gpu_share
from atlas.job.statements import RESULTS
from atlas.limits import without_panics
from atlas.redaction import clean_logs, traceback_without_secrets
from atlas.sources.hub import SCRATCH

SCRATCH_DAYS = 14  # a job that was killed is taken up again within these days, or from its start


def run(snakemake: Any) -> None:
    """Run the function behind a rule as a job of the workflow."""
    deathwatch.watch()
    clean_logs()
    identity = os.environ.get(owners.RUN, f"{os.getpid()}")
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
            with without_panics():
                done = Execution(snakemake, identity).run(attempt.reference)
            attempt.close("finished", **done)
            usage.tell()
        except Exception as error:
            print(traceback_without_secrets(), file=sys.stderr)
            sentence = sentence_of(error)
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
    place: Deployment, read: dict[str, str], configuration: dict[str, Any],
    configfiles: list[Path], cache: Path,
) -> None:  # fmt: skip
    """Before the first job of a run; other runs may go on in this folder, for other targets.

    :param read: the Snakefile that Snakemake was given, and the folder of the workflow.
    :param cache: folder of downloads.
    """
    root = Path(place.root)
    sweep(cache, root / RESULTS)
    here = Path.cwd()

    def name(file: Path) -> str:
        path = file.absolute()
        inside = path.is_relative_to(here)
        return place.file_name(str(path.relative_to(here) if inside else path))

    identity = deathwatch.announce()
    read |= {"snakefile": name(Path(read["snakefile"])), "folder": os.path.relpath(here, root)}
    attempts.open_run(identity, configuration, list(map(name, configfiles)), read, root)
    history.compile_history(root)
    digest_cache.reach_snakemake(digest_cache.of_run(identity))


def finish(place: Deployment) -> None:
    """After the last job of a run, however it ended."""
    forked.stop()
    history.compile_history(Path(place.root))


def sweep(cache: Path, results: Path = Path(RESULTS)) -> int:
    """Remove what runs left half-written that are proven to be over; those that live keep theirs.

    :param cache: folder of downloads, which other working folders may share.
    :returns: number of files and folders removed.
    """
    found = [
        Path(place, name)
        for place, folders, names in os.walk(results)
        for name in (*folders, *names)
        if owners.is_over(owner_of(name) or "")
    ]
    for folder in (WORK / "digests", WORK / "usage"):
        found += [file for file in folder.glob("*") if owners.is_over(file.name)]
    for folder in cache.glob(f"{SCRATCH}*"):
        if owners.is_over(folder.name.removeprefix(SCRATCH)):
            found.append(folder)
    for folder in (WORK / "scratch").glob("*"):
        with contextlib.suppress(OSError):  # its job, or another sweep, has removed it
            old = time.time() - folder.stat().st_mtime > SCRATCH_DAYS * 86_400
            if old and owners.is_over((folder / OWNER_FILE).read_text()):
                found.append(folder)
    for place in found:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    return len(found)
