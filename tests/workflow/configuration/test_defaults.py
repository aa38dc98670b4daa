"""What Snakemake is given, over the default configuration: globs, `defaults: false`, double keys."""

import re

import pytest

from micro import micro, micro_config, planned, snakemake, write_config

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return micro(tmp_path_factory.mktemp("defaults") / "checkout")


def chats(**more) -> dict:
    """The micro configuration with models that are called as one of the default is (chat-tuned)."""
    config = micro_config()
    config["grids"]["micro"]["name"] = "chat-{dataset}-{split}"
    config["pools"]["micro"]["models"] = ["chat-*"]
    return config | more


def trained(jobs: set[str]) -> set[str]:
    return {job.rpartition(" ")[2] for job in jobs if job.startswith("train ")}


OWN = {f"chat-{name}-{split}" for name in ("alpha", "beta") for split in ("first", "second")}


def test_a_users_glob_does_not_take_a_model_of_the_default(folder):
    write_config(folder, chats())
    assert trained(planned(folder, MAIN)) == OWN


def test_the_default_is_made_unless_it_is_left_out(folder):
    write_config(folder, chats())
    every = trained(planned(folder, "all"))
    assert every > OWN | {"chat-tuned", "smollm2-gsm8k-first"}
    for given in ({"defaults": False}, {}):
        write_config(folder, chats(**given))
        by_command = [] if given else ["--config", "defaults=False"]
        jobs = planned(folder, "all", *by_command)
        assert trained(jobs) == OWN
        assert not [job for job in jobs if "smollm2" in job]


def test_a_job_sees_what_its_run_was_given(folder):
    """Snakemake starts jobs in processes of their own, which read all files again."""
    write_config(folder, chats(defaults=False))
    target = "results/datasets/alpha/first.jsonl"
    snakemake(folder, target, "--cores", "1", "--config", "summary=[main]")
    assert (folder / target).is_file()


def test_a_table_of_the_default_is_asked_for_over_a_users_file(folder):
    write_config(folder, micro_config())
    (folder / "more.yaml").write_text("summary: [outputs]\n")
    done = snakemake(folder, "-n", "results/tables/additive.csv", "--cores", "1", "--configfile",
                     "micro.yaml", "more.yaml", config=None)  # fmt: skip
    assert len(re.findall(r"^Job \d+: train mixed-", done.stdout, re.MULTILINE)) == 10


@pytest.mark.parametrize("place", ["mine.yaml", "config/experiments/01_additive.yaml"])
def test_a_key_that_stands_twice_is_refused(folder, place):
    file = folder / place
    before = file.read_text() if file.exists() else ""
    file.write_text(f"{before}\nperplexity: {{documents: 3}}\nseeds: [1]\nperplexity: {{}}\n")
    last = len(file.read_text().splitlines())
    done = snakemake(folder, "-n", MAIN, "--cores", "1", check=False,
                     config="micro.yaml" if before else "mine.yaml")  # fmt: skip
    file.write_text(before)
    assert done.returncode != 0
    assert re.search(
        rf"{place}: line {last}: the key 'perplexity' stands in it twice \(line {last - 2} has it too\)",
        done.stdout,
    ), done.stdout
    assert "Traceback" not in done.stdout
