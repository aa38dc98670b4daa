"""Two runs side by side in one folder, for different targets: neither harms the other."""

import os
import signal
import time

import pytest

from micro import lineage, litter, micro_config, snakemake, write_config
from workflow.job.test_half_made import training
from workflow.job.test_kill import settle, start

pytestmark = pytest.mark.workflow


def target(model):
    return f"results/models/{model}/adapter_model.safetensors"


def test_neither_takes_what_is_the_others(copy):
    config = micro_config()
    config["recipes"]["long"] = config["recipes"]["quick"] | {"epochs": 100, "checkpoint_steps": 20}
    config["models"] = {
        f"long-{name}": {"base": "micro", "recipe": "long", "seed": 1,
                         "data": [{"dataset": name, "split": "first"}]} for name in ("alpha", "beta")
    }  # fmt: skip
    write_config(copy, config)
    first = start(copy, target("long-alpha"), "--cores", "1")
    deadline = time.monotonic() + 240
    while not list((copy / ".snakemake/atlas/scratch").glob("*/checkpoint-*/complete")):
        assert time.monotonic() < deadline
        assert first.poll() is None, "the first run ended before the second began"
        time.sleep(0.05)
    trains = int(training(copy)["process"].partition(".")[0])
    # However slow the machine is, it is at work when the second begins.
    os.kill(trains, signal.SIGSTOP)
    second = start(copy, target("long-beta"), "--cores", "1")
    while not (copy / ".snakemake/locks/1.output.lock").exists():
        assert second.poll() is None, "the second run did not begin"
        time.sleep(0.05)
    os.kill(trains, signal.SIGCONT)
    assert (first.wait(240), second.wait(240)) == (0, 0)
    settle(copy)
    assert all((copy / target(f"long-{name}")).is_file() for name in ("alpha", "beta"))
    assert litter(copy) == []
    done = lineage(copy, "verify")
    assert done.returncode == 0, done.stdout
    assert (
        "Nothing to be done"
        in snakemake(copy, *map(target, config["models"]), "--cores", "1").stdout
    )
