"""The command scripts/find_models.py: a configuration from a file of examples, and a run of it."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from atlas.commands import DRY, command_line
from atlas.errors import AtlasError
from atlas.files import read_csv, read_jsonl, write_whole

FRAME = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{{ input }}\n\n### Response:"
)
SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :returns: the exit status: 0, that of Snakemake, or 2 where the question cannot be answered.
    """
    options, more = _parser().parse_known_args(arguments)
    try:
        name = options.name or re.sub(r"[^A-Za-z0-9._+-]", "-", options.examples.stem)
        config = configuration(options.examples, name, options.pool, options.recipe, options.as_is)
    except AtlasError as error:
        print(error, file=sys.stderr)
        return 2
    place = Path(f"retrieval-{name}.yaml")
    text = f"# Written by scripts/find_models.py.\n{yaml.safe_dump(config, sort_keys=False)}"
    write_whole(place, text.encode())
    target = f"results/retrieval/{name}/models.csv"
    command = command_line([target], options.cores, [*options.configfile, place], more)
    print(f"{place} written; running: snakemake {' '.join(command[3:])}", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status == 0 and Path(target).is_file() and not DRY & set(more):
        show(Path(target))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Rank the models of a pool by their similarity to a task.",
        epilog="What is not known here goes to Snakemake (-n for a dry run, for instance).",
    )
    parser.add_argument("examples", type=Path, help="JSON lines: prompt, completion; or messages")
    parser.add_argument("--pool", default="smollm2", help="pool that is searched (smollm2)")
    parser.add_argument("--name", help="of the result (default: that of the file)")
    parser.add_argument("--recipe", default="examples-cpu", help="how to train on the examples")
    parser.add_argument("--cores", type=int, default=1, help="for Snakemake (1)")
    help_ = "prompts are framed already: add no instruction to them"
    parser.add_argument("--as-is", action="store_true", help=help_)
    help_ = "configurations that define pool or recipe"
    parser.add_argument("--configfile", nargs="+", default=[], help=help_)
    return parser


def configuration(examples: Path, name: str, pool: str, recipe: str, as_is: bool) -> dict[str, Any]:
    """A configuration of one retrieval, from a file of examples.

    :param as_is: leave prompts as they are, in place of the frame that models are trained with.
    :raises AtlasError: for a file that is not there, has no rows, or rows of another kind.
    """
    if not examples.is_file():
        raise AtlasError(f"{examples}: there is no such file.")
    dataset: dict[str, Any] = {
        "domain": "examples", "source": {"local": str(examples)}, **_template(examples, as_is),
        "splits": {"region": [1.0], "parts": ["examples"]},
    }  # fmt: skip
    entry = {"pool": pool, "dataset": f"examples-{name}", "recipe": recipe}
    return {"datasets": {f"examples-{name}": dataset}, "retrievals": {name: entry}}


def _template(examples: Path, as_is: bool) -> dict[str, Any]:
    rows = read_jsonl(examples)
    if all("messages" in row for row in rows):
        return {"columns": {"messages": "messages"}, "template": {"messages": "messages"}}
    for number, row in enumerate(rows, start=1):
        if not all(isinstance(row.get(key), str) for key in ("prompt", "completion")):
            raise AtlasError(
                f"{examples}, row {number}: an example has a prompt and a completion, both text; or "
                "every example has messages."
            )
    frame = "{{ input }}" if as_is else FRAME
    return {
        "columns": {"prompt": "prompt", "completion": "completion"}, "cut": "prompt",
        "template": {"input": "{{ prompt }}", "variants": {"own": frame},
                     "completion": "{{ completion }}" if as_is else " {{ completion | trim }}"},
    }  # fmt: skip


def show(table: Path) -> None:
    """Print the first models of each base."""
    rows = read_csv(table)
    width = max(len(row["model"]) for row in rows)
    for row in rows:
        if int(row["rank"]) <= SHOWN:
            print(f"{row['rank']:>4}  {row['model']:<{width}}  {row['domain']:<16}  "
                  f"{float(row['similarity']):.3f}")  # fmt: skip
    print(f"all of them: {table}; as a page and a figure beside it")
