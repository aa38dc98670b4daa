"""A job that is forked sees, does and ends as one that the shell starts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas.job import forked, forkserver
from atlas.owners import RUN, start_time

SCRIPTS = Path(forked.__file__).parents[2]
JOB = f"""
import sys, types
sys.path.insert(0, {str(SCRIPTS)!r})
from atlas.job import forked
snakemake = types.SimpleNamespace(
    rule="some_rule", threads=THREADS, config={{"fork_jobs": FORK}}, params=dict(network=NETWORK))
snakemake.params = type("Params", (dict,), dict(code=dict(distributions=LIBRARIES)))(snakemake.params)
if not forked.takes(snakemake):
    import os
    os.environ.update(forked.environment_of(snakemake))
    exec(compile(CODE, "job", "exec"))
"""
WORLD = """
import json, os, resource, signal, sys, tempfile
print(json.dumps({
    "environment": {k: v for k, v in os.environ.items() if not k.startswith("DELTA_ATLAS_")},
    "folder": os.getcwd(), "umask": os.umask(0), "arguments": sys.argv, "path": list(dict.fromkeys(sys.path)),
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE), "processors": sorted(os.sched_getaffinity(0)),
    "signals": [str(signal.getsignal(s)) for s in (2, 15, 17, 13)], "name": __name__,
    "files": sorted(os.listdir("/proc/self/fd"))[:-1], "threads": os.listdir("/proc/self/task").__len__(),
    "input": sys.stdin.read(), "temporary": tempfile.gettempdir(), "flags": str(sys.flags.no_user_site),
}))
print("to the other stream", file=sys.stderr)
"""
FORKED = "import sys; print('numpy' in sys.modules and 'h5py' in sys.modules, flush=True); "
PID = "import os, time; print(os.getpid(), os.getppid(), flush=True); "
UNTIL_TOLD = PID + "import sys; sys.stdin.read(); print('done')"


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    monkeypatch.delenv(RUN, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.fixture
def root(monkeypatch):
    """A tree of its own, to do it harm."""
    with monkeypatch.context() as patched:
        patched.delenv(forked.VARIABLE, raising=False)
        forked.start()
        yield forked._root
        forked.stop()


def job(
    tmp_path, code, libraries=("numpy",), threads=1, network=False, fork=True, shell=(), **more
):
    """What Snakemake starts for a job, from a shell that does a few things before."""
    script = tmp_path / f"{abs(hash(code))}.job.py"
    rule = f"LIBRARIES, THREADS, NETWORK, FORK = {list(libraries)}, {threads}, {network}, {fork}\n"
    script.write_text(f"{rule}CODE = {code!r}\n{JOB}")
    line = "; ".join(["set -e", *shell, f"exec {sys.executable} {script}"])
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | more
    return subprocess.Popen(
        ["bash", "-c", line], cwd=tmp_path, env=env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process, told=""):
    out, err = process.communicate(told, timeout=120)
    return process.returncode, out, err


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while start_time(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return start_time(pid) is None


def test_it_sees_what_the_shell_gave(root, tmp_path):
    (tmp_path / "other").mkdir()
    shell = ("umask 027", "ulimit -n 345", "export SAID=1 HF_TOKEN=hf_x TMPDIR=$PWD/other", "cd other",
             "taskset -p 1 $$ > /dev/null")  # fmt: skip
    status, out, err = ended(job(tmp_path, WORLD, shell=shell), "some input")
    by_itself = ended(job(tmp_path, WORLD, shell=shell, SLURM_JOB_ID="1"), "some input")
    assert (status, err) == (0, "to the other stream\n") == (by_itself[0], by_itself[2])
    seen, expected = json.loads(out), json.loads(by_itself[1])
    assert expected["environment"].pop("SLURM_JOB_ID") == "1"
    assert seen == expected
    assert (seen["umask"], seen["limits"], seen["processors"]) == (0o27, [345, 345], [0])
    assert seen["environment"]["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('some words')", 1, "some words\n"),
        ("sys.exit(None)", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os._exit(7)", 7, ""),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
        ("import atexit; atexit.register(print, 'last', file=sys.stderr)", 0, "last\n"),
    ],
)
def test_it_ends_as_it_would(root, tmp_path, code, status, said):
    found, out, err = ended(job(tmp_path, FORKED + code))
    assert (found, out) == (status, "True\n")
    assert said in err if said else err == ""


def test_a_signal_reaches_it(root, tmp_path):
    code = (
        PID
        + "import signal; signal.signal(15, lambda *_: os._exit(5)); print(flush=True); time.sleep(60)"
    )
    process = job(tmp_path, code)
    process.stdout.readline(), process.stdout.readline()
    process.terminate()
    assert process.wait(20) == 5


def test_ctrl_c_is_an_exception_in_it(root, tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # where tests run in the background
    code = "try:\n  " + PID + "time.sleep(60)\nexcept KeyboardInterrupt: os._exit(6)"
    process = job(tmp_path, code)
    signal.signal(signal.SIGINT, before)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_while_its_libraries_are_imported(tmp_path, number):
    """The tree has taken the request, and does not answer yet."""
    name = secrets.token_hex(8)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        listener.settimeout(60)
        before = signal.signal(number, signal.SIG_DFL)  # where tests run in the background
        process = job(tmp_path, "pass", **{forked.VARIABLE: name})
        signal.signal(number, before)
        client, _ = listener.accept()
        with client:
            client.settimeout(60)
            forkserver.receive(client)
            process.send_signal(number)
            assert process.wait(20) == -number


def test_it_does_not_outlive_what_waits_for_it(root, tmp_path):
    process = job(tmp_path, PID + "time.sleep(60)")
    pid, keeper = map(int, process.stdout.readline().split())
    process.kill()
    assert gone(pid)
    assert gone(keeper)


def test_it_does_not_outlive_its_run(root, tmp_path):
    start = "$(cut -d' ' -f22 /proc/$$/stat)"
    identity = f"export {RUN}=$$.{start}.{os.uname().nodename}."
    run = job(
        tmp_path,
        PID + "time.sleep(60)",
        shell=[identity, 'exec() { bash -c \'"$@"; true\' - "$@"; }'],
    )
    pid, keeper = map(int, run.stdout.readline().split())
    run.kill()
    run.wait()
    assert gone(pid)
    assert gone(keeper)


def test_killed_alone_it_harms_no_other(root, tmp_path):
    first = job(tmp_path, PID + "time.sleep(60)")
    second = job(tmp_path, UNTIL_TOLD)
    pid, keeper = map(int, first.stdout.readline().split())
    second.stdout.readline()
    os.kill(pid, signal.SIGKILL)
    assert first.wait(20) == -9
    third = job(tmp_path, PID + "time.sleep(60)")
    pid, keeper = map(int, third.stdout.readline().split())
    os.kill(keeper, signal.SIGKILL)
    assert third.wait(20) == -9
    assert gone(pid)
    assert ended(second)[:2] == (0, "done\n")


def test_without_the_root_jobs_go_on_and_others_run_by_themselves(root, tmp_path):
    process = job(tmp_path, UNTIL_TOLD)
    process.stdout.readline()
    os.kill(root.pid, signal.SIGKILL)
    assert ended(job(tmp_path, FORKED))[:2] == (0, "False\n")
    assert ended(process)[:2] == (0, "done\n")


def test_killed_in_the_tree(root, tmp_path):
    """Any process of the tree: the next job runs by itself or from another, and none is lost."""
    assert ended(job(tmp_path, FORKED))[:2] == (0, "True\n")
    children = Path(f"/proc/{root.pid}/task/{root.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    for _ in range(3):
        status, said, _ = ended(job(tmp_path, FORKED))
        assert status == 0
    assert said == "True\n"


def test_what_a_process_cannot_take_over(root, tmp_path):
    for early in ({"PYTHONMALLOC": "malloc"}, {"LD_BIND_NOW": "1"}, {"LC_ALL": "C"}):
        assert ended(job(tmp_path, FORKED, **early))[1] == "False\n"
    assert ended(job(tmp_path, FORKED, SLURM_JOB_ID="7"))[1] == "False\n"
    assert ended(job(tmp_path, FORKED, fork=False))[1] == "False\n"
    assert ended(job(tmp_path, FORKED, **{forked.VARIABLE: "nobody"}))[1] == "False\n"
    assert ended(job(tmp_path, FORKED))[1] == "True\n"


def test_libraries_see_the_environment_while_they_are_imported(root, tmp_path):
    """Constants that they read then: of each environment there is a process of its own."""
    code = (
        "from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE, constants.ENDPOINT)"
    )
    libraries = ("datasets",)
    for address in ("http://one", "http://two", "http://one"):
        out = ended(job(tmp_path, FORKED + code, libraries, network=True, HF_ENDPOINT=address,
                        HF_HUB_OFFLINE="0"))[1]  # fmt: skip
        assert out == f"True\nFalse {address}\n"
    assert ended(job(tmp_path, FORKED + code, libraries, HF_ENDPOINT="http://one"))[1] == (
        "True\nTrue http://one\n"
    )


def test_jobs_share_no_module_of_the_workflow_and_no_random_state(root, tmp_path):
    code = ("import numpy, random; print(numpy.random.random(), random.random()); "
            "import atlas.errors; atlas.errors.mark = getattr(atlas.errors, 'mark', 0) + 1; "
            "print(atlas.errors.mark)")  # fmt: skip
    first, second = (ended(job(tmp_path, code))[1].splitlines() for _ in range(2))
    assert first[1] == second[1] == "1"
    assert first[0] != second[0]


def test_threads_are_those_of_the_rule(root, tmp_path):
    code = ("import numpy, os; from threadpoolctl import threadpool_info as pools; "
            "print(os.environ['OMP_NUM_THREADS'], {pool['num_threads'] for pool in pools()})")  # fmt: skip
    for threads in (1, 2):
        assert ended(job(tmp_path, code, threads=threads))[1] == f"{threads} {{{threads}}}\n"


@pytest.mark.parametrize("library", list(forkserver.LIBRARIES))
def test_each_library_is_imported_before_the_fork(library, tmp_path):
    """And leaves a process that may be forked: one thread, no CUDA."""
    forked.start()
    modules = [m for name in forkserver.path_to([library]) for m in forkserver.LIBRARIES[name][1]]
    code = f"import sys; print([m for m in {modules!r} if m not in sys.modules])"
    assert ended(job(tmp_path, code, [library]))[1] == "[]\n"


def test_path_to():
    assert forkserver.path_to([]) == []
    assert forkserver.path_to(["gguf", "torch"]) == ["numpy", "torch"]
    assert forkserver.path_to(["trl"]) == [
        "numpy", "torch", "huggingface-hub", "transformers", "datasets", "peft", "trl",
    ]  # fmt: skip
    for others, _ in forkserver.LIBRARIES.values():
        assert set(others) <= set(forkserver.LIBRARIES)


def processes_of(root):
    """What the processes of a tree are called."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == root.pid:
                found.add((folder / "comm").read_text().strip())
    return found


def test_what_later_jobs_need_is_imported_while_the_first_ones_work(tmp_path, monkeypatch, root):
    def code(*libraries):
        return {"distributions": dict.fromkeys(libraries, "1")}

    forked.look_ahead([{"code": code("scipy")}, {"code": code("matplotlib"), "network": True}])
    monkeypatch.setenv(forked.AHEAD, os.environ[forked.AHEAD])
    for _ in range(2):  # with each job one library more
        assert ended(
            job(tmp_path, f"import os; print({forked.AHEAD!r} in os.environ)", libraries=())
        ) == (0, "False\n", "")
    end = time.monotonic() + 60
    while "with scipy" not in (found := processes_of(root)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    grown = {name for name in found if name.startswith("with ")}
    assert grown == {"with nothing", "with numpy", "with scipy"}
