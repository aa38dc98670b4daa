"""Python programs, run from processes that have imported their libraries for all tests of the session.

What costs most in a test of a program is often the import of Snakemake or torch. A program that is run
here is a process of its own, as one that a shell starts (:mod:`atlas.job.forkserver`): its arguments,
environment, folder and output are for itself, and nothing of it is left over.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from atlas.job import forked, forkserver

# What `python -m snakemake` imports in a run of this workflow.
SNAKEMAKE = ("snakemake.cli", "snakemake.api", "snakemake.scheduling", "snakemake.executors.local",
             "snakemake.script", "snakemake.benchmark", "snakemake.persistence", "snakemake.profiles",
             "snakemake.storage", "smart_open", "requests", "platformdirs", "argparse_dataclass",
             "packaging.version", "graphlib", "pydantic", "psutil")  # fmt: skip
INSTALLED = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None,
    libraries: Sequence[str] = (), timeout: int = 1200, together: bool = False,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What `subprocess.run` gives, of [sys.executable, script or "-c" or "-m", ...], output as text.

    :param libraries: that the program imports, of :data:`atlas.job.forkserver.LIBRARIES`.
    :param together: whether errors go where output goes.
    """
    assert command[0] == sys.executable
    # A process that imports libraries serves only who has its environment.
    given = os.environ if env is None else env
    environment = {k: v for k, v in given.items() if not k.startswith("PYTEST")}
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place, name) for name in ("output", "errors")]
        script, arguments = _script(command[1:], Path(place))
        with files[0].open("w+") as output, files[1].open("w+") as errors:
            request = forked.request(script, arguments, environment, libraries, Path(script).stem)
            # Neither the folders of tests nor this checkout's library, unless they are asked for.
            asked = [part for part in environment.get("PYTHONPATH", "").split(":") if part]
            request["like"] = forkserver.likeness(
                environment | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            )
            request["folder"] = str((cwd or Path.cwd()).absolute())
            request["path"] = [str(Path(script).absolute().parent), *asked, *INSTALLED]
            streams = (os.open(os.devnull, os.O_RDONLY), output.fileno(),
                       (output if together else errors).fileno())  # fmt: skip
            try:
                status = _status(request, streams, timeout)
                if status is None:  # as when the process that it was meant for has just ended
                    status = subprocess.run(
                        command, cwd=cwd, env=environment, timeout=timeout, check=False,
                        **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True)),
                    ).returncode  # fmt: skip
            except (TimeoutError, subprocess.TimeoutExpired):
                raise subprocess.TimeoutExpired(
                    list(command), timeout, files[0].read_bytes()
                ) from None
            finally:
                os.close(streams[0])
        said = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return subprocess.CompletedProcess(command, status, *said)


def _script(line: Sequence[str], place: Path) -> tuple[str, list[str]]:
    """The file that a command line of Python runs, and its arguments."""
    if line[0] == "-c":
        file = place / "code.py"
        file.write_text(line[1])
        return str(file), list(line[2:])
    if line[0] == "-m":
        found = find_spec(f"{line[1]}.__main__")
        assert found is not None
        return str(found.origin), list(line[2:])
    return line[0], list(line[1:])


def _status(request: dict, streams: tuple[int, ...], timeout: int) -> int | None:
    """How a program ends, at the latest when nobody waits for it any more; None where no process takes it."""
    connection = forked.ask(os.environ[forked.VARIABLE], request, streams, timeout)
    if connection is None:
        return None
    with connection:
        return forkserver.receive(connection)[0]["status"]
