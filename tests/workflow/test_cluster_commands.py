"""What the README says about clusters can be typed; without a cluster, as dry runs."""

import re
import shlex

import pytest

from micro import ROOT, checkout, snakemake

pytestmark = pytest.mark.workflow
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## On a cluster\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", SECTION, flags=re.MULTILINE | re.DOTALL)
INLINE = re.findall(r"`(snakemake [^`]+)`", SECTION)
LINES = [line for block in BLOCKS for line in block.splitlines()] + INLINE
COMMANDS = [line for line in dict.fromkeys(LINES) if line.startswith("snakemake ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("cluster") / "checkout")


def test_all_commands_are_found():
    assert len(COMMANDS) == 4
    assert {line for line in LINES if line not in COMMANDS} == {"scancel --name=RUN-ID"}


@pytest.mark.parametrize("line", COMMANDS)
def test_command(folder, line):
    arguments = shlex.split(line)[1:]
    if arguments == ["--unlock"]:
        snakemake(folder, "--unlock", config=None)
        return
    done = snakemake(folder, *arguments, "-n", config=None)
    wanted = "fetch_base_1" if "--until" in line else "main_table"
    assert re.search(rf"^{wanted} +1$", done.stdout, flags=re.MULTILINE)
    if "--until" in line:
        assert "train_adapter" not in done.stdout
