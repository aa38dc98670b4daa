"""In the main process: how a working folder has the workflow, and what it sees to as a module."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from atlas import files
from atlas.deployment import FILES, Deployment
from atlas.errors import AtlasError, sentence_of
from atlas.job.statements import RESULTS

PLACE = "DEPLOYMENT"  # what the rules call the deployment that they belong to


def of_workflow(workflow: Any, folder: Path) -> Deployment:
    """The deployment that Snakemake is reading.

    :param workflow: Snakemake's.
    :param folder: that of the Snakefile.
    :raises AtlasError: where results/ would not be a folder, or another version of the workflow is there.
    """
    provider = workflow.storage_settings.default_storage_provider
    if workflow.storage_settings.all_temp:
        raise AtlasError(
            "--all-temp deletes what was read, and results are kept with what they were made from; leave "
            "the option out (keep_weights: false is for full models that may go)."
        )
    if provider:
        raise AtlasError(
            f"--default-storage-provider {provider}: results stay in a folder, for what they attest is "
            "of files; leave the option out, and copy what results/ holds when it is made."
        )
    if not files.WORKFLOW_FOLDER.samefile(folder):
        raise AtlasError(
            f"{folder}: {files.WORKFLOW_FOLDER} is read by the same Snakefile; the modules of one "
            "Snakefile have one version of the workflow."
        )
    modifier = workflow.modifier
    places = [str(modifier.modify_path(f"{name}/x")) for name in (RESULTS, "logs", "benchmarks")]
    roots = {place.removesuffix(f"{name}/x") for place, name in
             zip(places, (RESULTS, "logs", "benchmarks"), strict=True)}  # fmt: skip
    if len(roots) > 1:
        raise AtlasError(
            f"module {modifier.namespace}: replace_prefix puts what is made to {places[0][:-2]}, and "
            f"logs to {places[1][:-2]}; give prefix: in its place, which is a folder for all of it."
        )
    (root,) = roots
    root = os.path.normpath(root) if root else ""
    whole, only = modifier.modify_rulename("*"), modifier.rule_whitelist
    rule = next(iter(only)) if only and "*" not in whole else ""
    elsewhere = bool(root) or not Path().samefile(folder)
    return Deployment(root, whole, rule, elsewhere)


def is_module(workflow: Any) -> bool:
    """Whether another workflow reads this one."""
    return not workflow.modifier.is_main_snakefile()


def of_rule(rule: Any) -> Deployment | None:
    """The deployment that a rule of Snakemake belongs to; None where it is one of another workflow."""
    found = rule.module_globals.get(PLACE)
    return found if isinstance(found, Deployment) else None


def workflow_file(deployment: Deployment, folder: Path, path: str) -> Any:
    """A file of the workflow as an input of a rule, which Snakemake knows by one name wherever it is.

    Where the workflow lies elsewhere, its bytes are in the working folder: what was made of them is not
    made again where another version, with the same file, is read from another place.
    """
    from snakemake.io import local, sourcecache_entry

    if not deployment.elsewhere:
        return path
    there, own = Path(FILES, path), (folder / path).read_bytes()
    if not there.is_file() or there.read_bytes() != own:
        there.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(there, own)
    return sourcecache_entry(local(str(there)), path)


def join_hooks(workflow: Any, key: str, **own: Callable[[], None]) -> None:
    """Let what a module has to do at the start and at the end of a run be done: Snakemake leaves it out.

    :param key: of the module; who joins again takes the place of who did.
    :param own: onstart, onsuccess, onerror.
    """
    joined: dict[str, dict[str, Callable[[], None]]] = workflow.__dict__.setdefault("_joined", {})
    for event, function in own.items():
        known = joined.setdefault(event, {})
        if not known:
            _join(workflow, event, known)
        known[key] = function


def _join(workflow: Any, event: str, known: dict[str, Callable[[], None]]) -> None:
    """Put functions before what the workflow of the user does, which may be read before or after."""
    from snakemake.exceptions import WorkflowError

    register, place = getattr(workflow, event), f"_{event}"

    def together(plain: Callable[[Any], None]) -> Callable[[Any], None]:
        def run(log: Any) -> None:
            for function in list(known.values()):
                try:
                    function()
                except OSError as error:
                    raise WorkflowError(sentence_of(error)) from None
            plain(log)

        return run

    def register_both(plain: Callable[[Any], None]) -> None:
        before = getattr(workflow, place)
        register(plain)
        if getattr(workflow, place) is not before:
            setattr(workflow, place, together(plain))

    setattr(workflow, place, together(getattr(workflow, place)))
    setattr(workflow, event, register_both)


def made_by(deployment: Deployment, jobs: Iterable[Any]) -> dict[str, str]:
    """Files of the jobs of a deployment, each with its name."""
    own = (job for job in jobs if (found := of_rule(job.rule)) and found.root == deployment.root)
    return {str(file): deployment.file_name(str(file)) for job in own for file in job.output}


def reading(workflow: Any) -> dict[str, str]:
    """What is being read, for who plans the same again: the Snakefile, and where the workflow is."""
    return {"snakefile": str(workflow.main_snakefile), "workflow": str(files.WORKFLOW_FOLDER)}
