"""Python programs as forks of the tests' own process, which has imported the libraries already.

A program has its arguments, environment, folder and output for itself, as if it was started anew;
what it does to its libraries ends with it. Importing torch and transformers costs more than most
of these programs do.
"""

import logging
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

_start = subprocess.run


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None,
    forget: Iterable[str] = (), timeout: int = 300, nested: bool = False, together: bool = False,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What `subprocess.run` gives, of [sys.executable, script or "-c" or "-m", ...], output as text.

    :param forget: libraries that read the environment when they are imported: imported anew, as
        this project's own are.
    :param timeout: seconds, after which the program is ended by a signal.
    :param nested: whether what the program itself runs by `subprocess.run` is a fork, too.
    :param together: whether errors come in the output, where they were written.
    """
    assert command[0] == sys.executable
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = os.fork()
        if child == 0:
            signal.alarm(timeout)
            if nested:
                subprocess.run = _nested
            _become(
                command[1:], env, cwd, {"atlas", *forget}, output, output if together else errors
            )
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, status, output.read(), errors.read())


def _nested(command: Sequence[str], **given: Any) -> subprocess.CompletedProcess[str]:
    """In place of `subprocess.run`: a fork for Python, of as much as the programs here use."""
    if command[0] != sys.executable:
        return _start(command, **given)
    assert given.keys() == {"env", "stdout", "check"}
    done = run(command, env=given["env"])
    if given["check"]:
        done.check_returncode()
    return done


def _become(
    arguments: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None, forget: set[str],
    output: IO[str], errors: IO[str],
) -> NoReturn:  # fmt: skip
    """Be the program, to its end."""
    status = 1
    try:
        for number, (name, file) in enumerate((("stdout", output), ("stderr", errors)), start=1):
            os.dup2(file.fileno(), number)
            setattr(sys, name, open(number, "w", buffering=1, closefd=False))  # noqa: SIM115
        for logger in (logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)):
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.stream = sys.stderr
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        for name in [n for n in sys.modules if n.partition(".")[0] in forget]:
            del sys.modules[name]
        # Neither the folders of tests nor this checkout's library, unless they are asked for.
        installed = [p for p in sys.path if p.startswith((sys.prefix, sys.base_prefix))]
        sys.path[:] = [*filter(None, os.environ.get("PYTHONPATH", "").split(":")), *installed]
        status = _main(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _main(arguments: list[str]) -> int:
    """The exit status of a script with its arguments, of code after "-c" or a module after "-m"."""
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))  # of "-c" and "-m", this folder
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
        elif arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0
