"""The command scripts/map_models.py: from the names of models to a map of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from atlas.commands import DRY
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.own_models.plans import OwnPools, current_plan, own_pools
from atlas.own_models.runs import has_map, seconds, snakemake
from atlas.printable import printable
from atlas.progress import lasting
from atlas.spaces.names import space_title

SHOWN = 20  # models that are named on the terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :returns: the exit status: 0, that of Snakemake, or 2 where the models cannot be mapped.
    """
    options, more = _parser().parse_known_args(arguments)
    try:
        found = own_pools(
            options.models, options.name, current_plan(options.configfile), base=options.base,
            domains=options.domains.split(",") if options.domains else (),
            ask=_ask if sys.stdin.isatty() else None,
        )  # fmt: skip
        file = found.write()
    except (AtlasError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except (EOFError, KeyboardInterrupt):
        print("stopped; nothing was written.", file=sys.stderr)
        return 130
    _show(found, file)
    return run(found, [*options.configfile, file], options.cores, more)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="map_models.py",
        description="Map adapters or full models: from folders, or from repositories of a hub.",
        epilog="What is not known here goes to Snakemake (-n for a dry run, for instance).",
    )
    help_ = "folders of models, folders that hold such folders, or org/name of a hub (@revision)"
    parser.add_argument("models", nargs="+", metavar="FOLDER_OR_REPO", help=help_)
    parser.add_argument("--name", default="mine", help="of the pool and of its files (mine)")
    help_ = "base of all models, where they do not record it: a name, a folder or org/name"
    parser.add_argument("--base", help=help_)
    help_ = "domain of each model, in the order in which they are named: math,math,legal"
    parser.add_argument("--domains", help=help_)
    parser.add_argument("--cores", type=int, default=1, help="for Snakemake (1)")
    help_ = "configurations that are laid under what is written"
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], help=help_)
    return parser


def _ask(models: Sequence[str], guessed: Sequence[str]) -> list[str]:
    """Ask for the domain of each of a few models: the guess is what an empty answer stands for."""
    if len(models) > SHOWN:
        return list(guessed)
    print("The domain of each model (Enter takes what is in brackets):")
    pairs = zip(models, guessed, strict=True)
    return [input(f"  {printable(m)} [{printable(g)}]: ").strip() or g for m, g in pairs]


def _show(found: OwnPools, file: Path) -> None:
    """Say what was found, what was written and how long it may take."""
    for pool, members in found.pools.items():
        print(f"{pool}: {len(members)} models of {members[0].base}; domains from {found.how}")
        width = max(len(member.name) for member in members)
        for member in members[:SHOWN]:
            print(f"  {member.name:<{width}}  {member.domain}")
        if len(members) > SHOWN:
            print(f"  and {len(members) - SHOWN} more")
    for model, base in found.alone:
        print(
            printable(
                f"{model.where}: the only model of {base}, so nothing to compare it with; left out"
            )
        )
    sheets = ", ".join(f"{pool}.tsv" for pool in found.pools)
    print(f"Written: {file}, {sheets} (change a domain there, and give the same command again)")
    spaces = dict.fromkeys(space for some in found.spaces.values() for space in some)
    order = ", then ".join(space_title(space).lower() for space in spaces)
    took = seconds(found.sizes)
    time = f"about {lasting(took)} on one core" if took else "for as long as its bases are large"
    print(f"To run: {order}; {time}, and what is not here yet is fetched. It may be stopped: the same "
          "command goes on.", flush=True)  # fmt: skip


def run(found: OwnPools, files: Sequence[Path], cores: int, more: Sequence[str] = ()) -> int:
    """Run Snakemake: first the space that costs least, then all, and say which page to open.

    :param files: configurations, the written one last.
    :returns: the exit status of Snakemake.
    """
    pages = ", ".join(f"results/pools/{pool}/navigator.html" for pool in found.pools)
    dry = bool(DRY & set(more))
    early = [
        pool
        for pool, spaces in found.spaces.items()
        if len(spaces) > 1 and not has_map(pool, spaces[0])
    ]
    if early and not dry:
        first = found.spaces[early[0]][0]
        if status := snakemake(early, files, cores, more, only=first):
            return status
        print(f"A first map is there: {pages}; the other spaces follow.", flush=True)
    if status := snakemake(list(found.pools), files, cores, more):
        return status
    if not dry:
        for pool in found.pools:
            _show_nearest(pool)
        print(f"Open in a browser: {pages}")
    return 0


def _show_nearest(pool: str) -> None:
    """Print the nearest model of each, in the last space that has any."""
    rows = [
        row for row in read_csv(Path(f"results/pools/{pool}/neighbours.csv")) if row["rank"] == "1"
    ]
    space = rows[-1]["space"] if rows else ""
    rows = [row for row in rows if row["space"] == space][:SHOWN]
    if rows:
        print(f"{pool}, nearest by {space_title(space).lower()} (cosine):")
    width = max((len(row["model"]) for row in rows), default=0)
    for row in rows:
        print(f"  {row['model']:<{width}}  {row['neighbour']} ({float(row['similarity']):.2f})")
