"""A tree of processes from which jobs start: each has imported what one library more needs.

``forkserver.py SOCKET`` serves a Unix socket that it inherits, until its standard input ends. A request names
a script, where and with which environment to run it, and the libraries that it needs. The process that
has imported these forks a keeper, and the keeper forks the job: the same Python script that a shell
would start, with that folder, environment and standard streams. The keeper tells the client how the
job ended, and ends it when the client is gone. A process of the tree imports no module of the workflow
and runs no numeric operation; jobs are forked only while it has one thread and has not started CUDA.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import struct
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

# Libraries in the order in which the tree grows, by the names of their distributions: which of the
# others each imports, and the modules that its users load sooner or later.
LIBRARIES = {
    "numpy": ((), ("numpy.random", "h5py")),
    "torch": (("numpy",), ("torch", "safetensors.torch")),
    "scipy": (("numpy",), ("scipy.stats", "scipy.linalg")),
    "scikit-learn": (("scipy",), ("sklearn.manifold", "sklearn.metrics")),
    "matplotlib": (("numpy",), ("matplotlib.pyplot", "matplotlib.backends.backend_svg",
                                "matplotlib.backends.backend_pdf", "fontTools.varLib")),
    "huggingface-hub": ((), ("huggingface_hub.hf_api", "huggingface_hub.file_download")),
    "transformers": (("torch", "huggingface-hub"), (
        "transformers.modeling_utils", "transformers.processing_utils",
        "transformers.generation.utils", "transformers.models.auto.modeling_auto")),
    "datasets": (("numpy", "huggingface-hub"), ("datasets",)),
    "sentence-transformers": (("transformers",), ("sentence_transformers",)),
    "peft": (("transformers",), ("peft",)),
    "trl": (("peft", "datasets"), ("trl.trainer.sft_trainer", "trl.trainer.dpo_trainer")),
}  # fmt: skip
# What every script of Snakemake and every job imports.
EVERYWHERE = ("snakemake.iocontainers", "snakemake.io", "snakemake.logging", "sqlite3", "filelock",
              "yaml", "jinja2", "csv", "zipfile", "getpass", "glob", "email.parser",
              "importlib.metadata", "pydantic.root_model")  # fmt: skip
# What may differ between jobs of one process, since nothing reads it while libraries are imported.
LATE = ("TMPDIR", "TMP", "TEMP", "TEMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "HF_TOKEN",
        "CUDA_VISIBLE_DEVICES")  # fmt: skip
LATE_ENDS = ("_THREADS",)
LATE_STARTS = ("DELTA_ATLAS_",)
# What acts before a Python script begins: a process cannot take it over later.
EARLY_STARTS = ("LD_", "PYTHON", "MALLOC_", "GLIBC_")
EARLY = ("LANG", "LC_ALL", "LC_CTYPE")
# No pool of threads, which does not survive a fork: neither of the libraries of linear algebra nor that of
# the allocator in pyarrow; and to ask whether there is a GPU does not start CUDA.
WHILE_IMPORTING = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")},
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
ENVIRONMENTS = 8  # kept at a time; those that were used longest ago end
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_CUDA_NOT_INITIALISED = 3
LENGTH = struct.Struct("!I")


def likeness(environment: dict[str, str]) -> dict[str, Any]:
    """What a process has in common with every script that it can run."""
    early = {name: value for name, value in environment.items()
             if value and (name in EARLY or name.startswith(EARLY_STARTS))}  # fmt: skip
    spaces = [
        str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("mnt", "pid", "net", "user")
    ]
    return {"python": sys.executable, "version": sys.version, "prefix": sys.prefix,
            "namespaces": spaces, "early": early}  # fmt: skip


def lasting(environment: dict[str, str]) -> dict[str, str]:
    """The part of an environment that libraries may read while they are imported."""
    return {name: value for name, value in environment.items()
            if name not in LATE and not name.startswith(LATE_STARTS)
            and not name.endswith(LATE_ENDS)}  # fmt: skip


def path_to(libraries: list[str]) -> list[str]:
    """What is imported on the way to the process that has imported some libraries."""
    wanted = set(libraries)
    for library, (others, _) in reversed(LIBRARIES.items()):
        if library in wanted:
            wanted.update(others)
    return [library for library in LIBRARIES if library in wanted]


def send(channel: socket.socket, message: dict[str, Any], files: tuple[int, ...] = ()) -> None:
    """Send a message and open files through a Unix socket."""
    text = json.dumps(message).encode()
    socket.send_fds(channel, [LENGTH.pack(len(text))], files)
    channel.sendall(text)


def receive(channel: socket.socket, files: int = 0) -> tuple[dict[str, Any], list[int]]:
    """Receive what :func:`send` sent.

    :raises EOFError: where the other end is closed.
    """
    head, received, _, _ = socket.recv_fds(channel, LENGTH.size, files)
    head += _exactly(channel, LENGTH.size - len(head)) if head else b""
    if not head:
        raise EOFError
    return json.loads(_exactly(channel, LENGTH.unpack(head)[0])), received


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


class Process:
    """A process that has imported some libraries, seen from the root of the tree."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.grown: dict[str, Process] = {}  # by the library that is imported next


class Root:
    """Takes requests, and hands each to the process that has imported what it needs."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.like = likeness(dict(os.environ))
        self.environments: dict[str, Process] = {}  # the one that was used last is last

    def serve(self) -> None:
        """Serve until standard input ends, which the process that started this one holds."""
        poll = select.poll()
        poll.register(0, select.POLLIN | select.POLLHUP)
        poll.register(self.listener, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == 0:
                    if not os.read(0, 1):
                        return
                    continue
                client, _ = self.listener.accept()
                with client:
                    self._take(client)

    def _take(self, client: socket.socket) -> None:
        """Hand a request on; a client that gets no answer runs its script by itself."""
        client.settimeout(10)
        files: list[int] = []
        try:
            if user_of(client) == os.getuid():
                request, files = receive(client, 3)
                if request["like"] == self.like:
                    self._hand_on(request, (client.fileno(), *files))
        except (OSError, EOFError, ValueError):
            return
        finally:
            for number in files:
                os.close(number)

    def _hand_on(self, request: dict[str, Any], files: tuple[int, ...]) -> None:
        """Let a process with the environment and the libraries of a request take it."""
        environment = lasting(request["environment"])
        key = json.dumps(environment, sort_keys=True)
        process = self.environments.pop(key, None) or self._grow(None, {"environment": environment})
        for old in list(self.environments)[: 1 - ENVIRONMENTS]:
            del self.environments[old]
        # Kept only if all goes well: where one of its processes is gone, it is begun anew.
        send(self._reach(process, request["libraries"]).channel, {"job": request}, files)
        self._look_ahead(process, request["ahead"])
        self.environments[key] = process

    def _look_ahead(self, process: Process, paths: list[list[str]]) -> None:
        """Import one library more of those that later jobs need; all at once would hold up the first."""
        for libraries in paths:
            reached = process
            for library in path_to(libraries):
                if library not in reached.grown:
                    reached.grown[library] = self._grow(reached, {"library": library})
                    return
                reached = reached.grown[library]

    def _reach(self, process: Process, libraries: list[str]) -> Process:
        """The process that has imported some libraries, of one that has imported none."""
        for library in path_to(libraries):
            if library not in process.grown:
                process.grown[library] = self._grow(process, {"library": library})
            process = process.grown[library]
        return process

    def _grow(self, process: Process | None, first: dict[str, Any]) -> Process:
        """Fork a process of the tree, from one of its processes or from the root."""
        ours, theirs = socket.socketpair()
        with theirs:
            if process is not None:
                send(process.channel, {"grow": first}, (theirs.fileno(),))
            elif os.fork() == 0:
                _close_all_but(theirs.fileno())
                live(theirs, first)
        return Process(ours)


def _close_all_but(kept: int) -> None:
    """In a new process of the tree: let go of what the root has open, its standard input, too."""
    os.dup2(1, 0)
    os.closerange(3, kept)
    os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def user_of(channel: socket.socket) -> int:
    """The user at the other end of a Unix socket."""
    size = struct.calcsize("3i")
    packed = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return struct.unpack("3i", packed)[1]


def live(channel: socket.socket, first: dict[str, Any]) -> NoReturn:
    """The life of a process of the tree: import, then fork what is asked for, until the root is gone."""
    _end_with_parent()
    _be_called(f"with {first.get('library', 'nothing')}")
    fit = _begin(first)
    while True:
        try:
            message, files = receive(channel, 4)
        except (EOFError, OSError):
            os._exit(0)
        if "grow" in message:
            if os.fork() == 0:
                channel.close()
                live(socket.socket(fileno=files[0]), message["grow"])
        elif fit and os.fork() == 0:
            channel.close()
            keep(socket.socket(fileno=files[0]), files[1:], message["job"])
        for number in files:
            os.close(number)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_called(name: str) -> None:
    """As `ps -o comm` and `top` show it."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15])


def _begin(first: dict[str, Any]) -> bool:
    """Take an environment over, or import a library.

    :returns: whether jobs may be forked: only from one thread, and before CUDA was started.
    """
    if "environment" in first:
        os.environ.clear()
        os.environ.update(first["environment"] | WHILE_IMPORTING)
    else:
        for module in LIBRARIES[first["library"]][1]:
            # A job that needs it says what is wrong with it.
            with contextlib.suppress(Exception):
                importlib.import_module(module)
    gc.collect()
    gc.freeze()
    return len(list(Path("/proc/self/task").iterdir())) == 1 and not _cuda_started()


def _cuda_started() -> bool:
    if "libcuda.so" not in Path("/proc/self/maps").read_text():
        return False
    context = ctypes.c_void_p()
    found = ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context))
    return found != _CUDA_NOT_INITIALISED


def keep(client: socket.socket, streams: list[int], request: dict[str, Any]) -> NoReturn:
    """Fork a job, pass signals of its client on to it, and tell the client how it ended."""
    keeper = os.getpid()
    _be_called("keeper")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    job = os.fork()
    if job == 0:
        client.close()
        _become(streams, request, keeper)
    for number in streams:
        os.close(number)
    ended = os.pidfd_open(job)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(client, select.POLLIN)
    client.settimeout(None)
    with contextlib.suppress(OSError):
        send(client, {"pid": job})
    while True:
        ready = {number for number, _ in poll.poll()}
        if ended in ready:
            _, status, _ = os.wait4(job, 0)
            with contextlib.suppress(OSError):
                send(client, {"status": os.waitstatus_to_exitcode(status)})
            os._exit(0)
        try:
            told = client.recv(1)
        except OSError:
            told = b""
        signal.pidfd_send_signal(ended, told[0] if told else signal.SIGKILL)
        if not told:
            poll.unregister(client)


def _become(streams: list[int], request: dict[str, Any], keeper: int) -> NoReturn:
    """Run the script of a request as if a shell had started it, and end as it ends."""
    _end_with_parent()
    if os.getppid() != keeper:
        os._exit(1)
    _be_called(request["name"])
    for number, place in zip(streams, range(3), strict=True):
        os.dup2(number, place)
        os.close(number)
    heard = signal.default_int_handler if request["interrupted"] else signal.SIG_IGN
    signal.signal(signal.SIGINT, heard)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    status = 1
    try:
        _take_over(request)
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _take_over(request: dict[str, Any]) -> None:
    """Folder, environment, limits and search path of the client; nothing of this process's own past."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.sched_setaffinity(0, request["processors"])
    for kind, limits in request["limits"]:
        resource.setrlimit(kind, limits)
    sys.argv = request["arguments"]
    sys.path[:] = request["path"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "atlas"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    if threads > 1 and "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)


def main() -> None:
    """Serve the socket whose descriptor is the first argument, with modules that follow it imported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for processes of the tree
    for module in (*EVERYWHERE, *sys.argv[2:]):
        importlib.import_module(module)
    Root(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
