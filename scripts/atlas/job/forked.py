"""Jobs that start from a process which has imported their libraries, where there is one.

The main process of a local run starts the root of a tree of such processes
(:mod:`atlas.job.forkserver`). What the shell starts for a job then hands its script over, waits, and
ends as the job ends; where nobody takes the script, it runs the job itself.
"""

import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from atlas.job import deathwatch, forkserver, usage
from atlas.job.environment import NETWORK, environment_of

VARIABLE = "DELTA_ATLAS_FORKSERVER"
AHEAD = "DELTA_ATLAS_LIBRARIES"
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_root: subprocess.Popen[bytes] | None = None  # it ends when its standard input does, which is ours


def start(*also: str) -> None:
    """In the main process of a run: start the root of the tree, unless there is one.

    :param also: modules that each of its processes has imported.
    """
    global _root
    if not hasattr(os, "pidfd_open") or VARIABLE in os.environ:
        return
    name = f"delta-atlas-{os.getpid()}-{secrets.token_hex(16)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{name}")
        listener.listen(128)  # from now on; who asks before the root has come up waits
        number = listener.fileno()
        # Without the folder of the script or the working folder on the search path (-P).
        _root = subprocess.Popen(
            [sys.executable, "-P", forkserver.__file__, str(number), *also], pass_fds=[number],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    os.environ[VARIABLE] = name


def look_ahead(params: Iterable[Mapping[str, Any]]) -> None:
    """In the main process: let the first jobs tell the tree what others will need, to be there by then.

    :param params: of our rules that will run.
    """
    wanted: dict[bool, set[tuple[str, ...]]] = {True: set(), False: set()}
    for given in params:
        if code := given.get("code"):
            libraries = forkserver.path_to(list(code["distributions"]))
            wanted[bool(given.get(NETWORK))].add(tuple(libraries))
    os.environ[AHEAD] = json.dumps({str(key): sorted(paths) for key, paths in wanted.items()})


def stop() -> None:
    """After the last job: end the tree that :func:`start` began."""
    global _root
    os.environ.pop(AHEAD, None)
    if _root is not None and _root.stdin is not None:
        del os.environ[VARIABLE]
        _root.stdin.close()
        _root.wait()
        _root = None


def takes(snakemake: Any) -> bool:
    """In what the shell started for a job: let a forked process run the script, and end as it ends.

    :returns: False where there is no process for it; otherwise this does not return.
    """
    if usage.VARIABLE not in os.environ:
        deathwatch.end_orphans()
    if "SLURM_JOB_ID" in os.environ or not snakemake.config.get("fork_jobs", True):
        return False
    environment = environment_of(snakemake)
    environment[usage.VARIABLE] = str(usage.file_of_this_shell())
    root = environment.pop(VARIABLE, None)
    ahead = json.loads(environment.pop(AHEAD, "{}")).get(
        str(bool(snakemake.params.get(NETWORK))), []
    )
    libraries = snakemake.params.code["distributions"]
    asked = request(sys.argv[0], sys.argv[1:], environment, libraries, snakemake.rule, ahead)
    # A signal that comes meanwhile ends this process, and the job with it: to import what it needs may
    # take long.
    connection = ask(root, asked, (0, 1, 2)) if root else None
    if connection:
        _end_as_the_job(connection)
    return False


def ask(
    root: str, asked: dict[str, Any], streams: tuple[int, ...], timeout: float | None = None
) -> socket.socket | None:
    """Ask a tree for a script.

    :param root: the name of its socket.
    :param asked: what :func:`request` makes.
    :param streams: standard input, output and error of the script.
    :param timeout: seconds to wait for each answer; also of what is returned.
    :returns: a connection, which tells how the script ends and lasts no longer than it; None where
        no process takes it.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(f"\0{root}")
        if forkserver.user_of(connection) == os.getuid():
            forkserver.send(connection, asked, streams)
            forkserver.receive(connection)
            return connection
    except (OSError, EOFError):
        pass
    connection.close()
    return None


def request(
    script: str, arguments: list[str], environment: dict[str, str], libraries: Iterable[str], name: str,
    ahead: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:  # fmt: skip
    """What a tree is asked for: a script, with the folder and the limits of this process.

    :param libraries: that it imports.
    :param name: of its process.
    :param ahead: libraries of each of the jobs that will follow in the same environment.
    """
    mask = os.umask(0o77)
    os.umask(mask)
    kinds = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    return {
        "like": forkserver.likeness(environment),
        "environment": environment, "libraries": sorted(libraries), "name": name, "ahead": ahead,
        "arguments": [str(Path(script).absolute()), *arguments],
        "folder": str(Path.cwd()), "path": sys.path, "umask": mask,
        # A shell lets what it starts in the background ignore it.
        "interrupted": signal.getsignal(signal.SIGINT) != signal.SIG_IGN,
        "processors": sorted(os.sched_getaffinity(0)),
        "limits": [(kind, resource.getrlimit(kind)) for kind in sorted(kinds)],
    }  # fmt: skip


def _end_as_the_job(connection: socket.socket) -> NoReturn:
    """Pass signals on to the job, and end with its status; the job ends when this process does."""
    deathwatch.watch()

    def pass_on(number: int, frame: FrameType | None) -> None:
        connection.send(bytes([number]))

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    try:
        status = forkserver.receive(connection)[0]["status"]
    except (OSError, EOFError):
        status = -signal.SIGKILL  # with what watched over it
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)
