"""python scripts/lineage.py: verify, trace, explain, diff, affected, find, withdraw, history, clean, sign."""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from atlas.errors import AtlasError
from atlas.job.attempts import read_attempts
from atlas.job.records import CRATE_FILE, SIGNATURE, Records, open_records
from atlas.job.statements import is_artefact
from atlas.lineage import _terminal as terminal
from atlas.lineage import diff as differences
from atlas.lineage import trace as tracing
from atlas.lineage.faults import Verification
from atlas.lineage.file_digests import FileDigests
from atlas.lineage.forward import withdrawing
from atlas.lineage.forward.affected import affected, graph_of
from atlas.lineage.forward.asked import asked
from atlas.lineage.forward.find import COLUMNS, find
from atlas.lineage.forward.index import open_at_hand
from atlas.lineage.forward.show import show_affected, show_found, show_notices
from atlas.lineage.past import newest_first

WHOLE, BROKEN, WRONG = 0, 1, 2
# What a command found: exit status, what --json prints, and what a terminal shows.
Answer = tuple[int, Callable[[], Any], Callable[[Console], None]]

WHAT = """rows of a dataset (gsm8k:17, gsm8k:3-9,17, gsm8k:/pattern/), a file, a SHA-256, a model, a dataset,
a base, a package at some versions (trl<1.16), a module, an attempt or a host; a kind and a colon before it
where several are meant (model:…, package:…)"""
EXPRESSION = """SQL as after WHERE, such as "rule = 'train_adapter' AND seed > 3 AND packages MATCH
'trl<1.16'"; columns: """ + ", ".join(COLUMNS)
EPILOG = """exit status: 0 whole, identical or up to date; 1 broken, different or to be made again;
2 the command could not do what was asked."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    shared: dict[str, Any] = {
        "epilog": EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter,
    }  # fmt: skip
    top = argparse.ArgumentParser(
        prog="lineage.py", description="Where artefacts came from, and whether they are whole.", **shared
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True)

    def command(run: Callable[..., Answer], text: str) -> argparse.ArgumentParser:
        name = run.__name__.removeprefix("_")
        found = commands.add_parser(name, help=text, description=text, **shared)
        found.set_defaults(run=run)
        found.add_argument("--json", action="store_true", help="print JSON for programs")
        if run is not _diff:
            found.add_argument(
                "--root", type=Path, default=Path(),
                help="folder that holds results/, or an unpacked crate (default: here)",
            )  # fmt: skip
        return found

    found = command(_verify, "Check every artefact, input and statement, back to the sources.")
    found.add_argument(
        "files", nargs="*", help="artefacts, or the folder of a crate (default: all)"
    )
    found.add_argument("--signature", type=Path, metavar="KEY", help="public key of the signature")
    found = command(_trace, "Show what is behind a file, or behind one row of it.")
    found.add_argument("file", metavar="FILE[:ROW]", help="rows count from 1, without the header")
    found.add_argument("--html", type=Path, metavar="PAGE", help="write the graph as one page")
    found.add_argument("--depth", type=int, metavar="N",
                       help="jobs behind one another, as shown (default: what fits 40 lines)")  # fmt: skip
    found = command(_explain, "Show why a file would be, or was, made again.")
    found.add_argument("file")
    found.add_argument("--configfile", action="append", metavar="FILE",
                       help="configuration to plan with (default: that of the last run)")  # fmt: skip
    found = command(_diff, "Show which artefacts of two runs differ, and the nearest causes.")
    found.add_argument("a", type=Path, metavar="RUN_A", help="results folder or unpacked crate")
    found.add_argument("b", type=Path, metavar="RUN_B")
    found = command(
        _affected, "Show what hangs on a thing, and what would be made again without it."
    )
    found.add_argument("what", metavar="WHAT", help=WHAT)
    found.add_argument(
        "--depth", type=int, metavar="N", help="steps of the tree that are shown (default: 3)"
    )
    found.add_argument("--html", type=Path, metavar="PAGE", help="write the graph as one page")
    found = command(_find, "Find artefacts by what is in their statements.")
    found.add_argument("expression", metavar="EXPRESSION", help=EXPRESSION)
    found.add_argument(
        "--earlier", action="store_true", help="versions that were replaced since, too"
    )
    found = command(
        _withdraw, "Write a notice that a thing is withdrawn; without WHAT, list all notices."
    )
    found.add_argument("what", metavar="WHAT", nargs="?", help=WHAT)
    found.add_argument("--reason", help="why, in a sentence")
    found.add_argument("--undo", metavar="NOTICE", help="undo a notice, by another one")
    found.add_argument("--key", type=Path, help="sign what is here afterwards, as `sign` does")
    found = command(_history, "List who ran what, when, and how it ended, the newest first.")
    found.add_argument(
        "--outcome", choices=("finished", "failed", "killed", "running", "unreadable")
    )
    found.add_argument("--rule", metavar="GLOB", help="only attempts of these rules")
    found.add_argument(
        "--since", metavar="DATE", help="only what began then or later, as 2026-01-31"
    )
    found.add_argument("--last", type=int, metavar="N", help="only the newest so many")
    found = command(
        _clean, "List what no configuration wants any more, and what runs left half-made."
    )
    found.add_argument("--configfile", action="append", metavar="FILE",
                       help="a configuration that still wants its files; again for each further one "
                       "(default: those of all runs so far that are still there)")  # fmt: skip
    found.add_argument("--remove", action="store_true", help="remove what is listed")
    found = command(_sign, "Sign the manifest of all artefacts and statements.")
    found.add_argument("--key", type=Path, required=True,
                       help="private EC key (PEM); made, with its .pub, where there is none")  # fmt: skip
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    :returns: the exit status.
    """
    options = parser().parse_args(arguments)
    width = None if sys.stdout.isatty() else 10_000  # in a file or a pipe nothing is cut
    try:
        status, value, show = options.run(options)
        if options.json:
            _json(value())
        else:
            show(terminal.PlainConsole(highlight=False, width=width))
        return int(status)
    except AtlasError as error:
        if options.json:
            _json({"error": str(error)})
        else:
            out = terminal.PlainConsole(stderr=True, highlight=False, soft_wrap=True, markup=False)
            out.print(str(error))
        return WRONG
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return WRONG


def _json(value: Any) -> None:
    # With an indent, Python writes in Python: what no person reads is written in one line.
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, indent=indent, default=str) + "\n")


def _verify(options: argparse.Namespace) -> Answer:
    from atlas.lineage.signature import check_signature
    from atlas.lineage.verify import verify, verify_crate

    start = time.perf_counter()
    digests = FileDigests()
    places = [Path(f) for f in options.files] or [options.root]
    # A run is no crate, whatever lies beside its results; a folder is one where it is called one.
    crates = [place for place in places if (place / CRATE_FILE).is_file()
              and (options.files or Records(place).is_crate)]  # fmt: skip
    # With each verification, whether files were chosen.
    checked = [(Records(crate), verify_crate(crate, digests), True) for crate in crates]
    others = [f for f in options.files if Path(f) not in crates]
    if others or not crates:
        records = open_records(options.root)
        names = [records.name(f) for f in others] or None
        checked.append((records, verify(records, names, digests), bool(names)))
    found = Verification()
    for records, part, chosen in checked:
        if options.signature:
            names = part.names if chosen else None
            part.add(check_signature(records, options.signature, names))
        elif (records.root / SIGNATURE).is_file():
            part.notes.append("there is a signature, which was not checked: give its public key with "
                              "--signature")  # fmt: skip
        found.add(part)
    found.bytes = digests.bytes
    seconds = time.perf_counter() - start
    value = {"whole": not found.faults, "seconds": seconds, **found.plain()}
    status = BROKEN if found.faults else WHOLE
    return status, lambda: value, lambda out: terminal.show_verification(out, found, seconds)


def _trace(options: argparse.Namespace) -> Answer:
    text, row = options.file, None
    head, _, tail = text.rpartition(":")
    if head and tail.isdigit() and not Path(text).exists():
        text, row = head, int(tail)
    try:
        records = open_records(options.root)
    except AtlasError:
        if Path(text).is_file():
            tracing.trace_stranger(None, Path(text))
        raise
    name = records.name(text)
    if is_artefact(name):
        found = tracing.trace(records, name, row)
    else:
        found = tracing.trace_stranger(records, Path(text), row)
    value = partial(tracing.plain, found, records)
    if not options.html:
        return WHOLE, value, lambda out: terminal.show_trace(out, found, records, options.depth)
    from atlas.lineage.page import write_page

    write_page(found.graph, options.html, f"Behind {options.file}")
    done = f"{options.html}: {len(found.graph.nodes)} jobs and sources behind {found.file}"
    return WHOLE, value, lambda out: out.print(done, markup=False)


def _explain(options: argparse.Namespace) -> Answer:
    from atlas.lineage.explain import explain

    records = open_records(options.root)
    files = [os.path.abspath(f) for f in options.configfile or ()]  # noqa: PTH100
    found = explain(records, records.name(options.file), files)
    status = BROKEN if found.again or found.otherwise else WHOLE
    return status, lambda: asdict(found), lambda out: terminal.show_explanation(out, found)


def _diff(options: argparse.Namespace) -> Answer:
    found = differences.diff(open_records(options.a), open_records(options.b))
    status, value = WHOLE if found.identical else BROKEN, {"identical": found.identical}
    return status, lambda: value | asdict(found), lambda out: terminal.show_difference(out, found)


def _affected(options: argparse.Namespace) -> Answer:
    records = open_at_hand(options.root)
    found = affected(records, asked(options.what, records))
    if options.html:
        from atlas.lineage.page import write_page

        write_page(graph_of(records, found), options.html, f"What hangs on {found.what}")
        done = f"{options.html}: {len(found.holding)} artefacts hang on {found.what}"
        return WHOLE, found.plain, lambda out: out.print(done, markup=False)
    return WHOLE, found.plain, lambda out: show_affected(out, found, options.depth)


def _find(options: argparse.Namespace) -> Answer:
    found = find(open_records(options.root), options.expression, earlier=options.earlier)
    return WHOLE, lambda: [vars(one) for one in found], lambda out: show_found(out, found)


def _withdraw(options: argparse.Namespace) -> Answer:
    records = open_at_hand(options.root)
    if not (options.what or options.undo):
        listed = withdrawing.listed(records)
        return WHOLE, lambda: [one.plain() for one in listed], lambda out: show_notices(out, listed)
    if options.undo:
        notice = withdrawing.undo(records, options.undo, options.reason)
        done = f"{notice} undoes the notice {options.undo}."
        value: dict[str, Any] = {"notice": notice, "undoes": options.undo}
    else:
        thing = asked(options.what, records)
        notice = withdrawing.withdraw(records, thing, options.reason)
        found = affected(records, thing)
        count = len(found.holding)
        done = (f"{notice} withdraws {thing.what}; {count} artefacts hang on it and are refused from now on "
                f"(lineage.py affected {shlex.quote(thing.what)}).")  # fmt: skip
        value = {"notice": notice, **found.plain()}
    if options.key:
        from atlas.lineage.signature import sign

        sign(records, options.key)
    return WHOLE, lambda: value, lambda out: out.print(done, markup=False)


def _history(options: argparse.Namespace) -> Answer:
    entries = newest_first(read_attempts(open_records(options.root).root), options.outcome, options.rule,
                     options.since, options.last)  # fmt: skip
    return WHOLE, lambda: entries, lambda out: terminal.show_history(out, entries)


def _clean(options: argparse.Namespace) -> Answer:
    from atlas.lineage.clean import remove, stale

    records = open_records(options.root)
    files = [os.path.abspath(f) for f in options.configfile or []]  # noqa: PTH100
    found = stale(records, files)
    if options.remove:
        remove(records, found)
    nothing = options.remove or not (found.files or found.left)
    status = WHOLE if nothing else BROKEN
    return status, lambda: asdict(found), lambda out: terminal.show_stale(out, found)


def _sign(options: argparse.Namespace) -> Answer:
    from atlas.lineage.signature import sign

    manifest, public = sign(open_records(options.root), options.key)
    done = f"{manifest} is signed; check it with: lineage.py verify --signature {public}"
    value = {"manifest": str(manifest), "public_key": str(public)}
    return WHOLE, lambda: value, lambda out: out.print(done, markup=False)
