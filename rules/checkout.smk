# Where the workflow lies. A Snakefile that is read from a repository has a library beside it that
# Snakemake does not fetch: a checkout of its commit is put beside the results, and read from there.
import shutil
import tempfile
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.sourcecache import HostingProviderFile, LocalGitFile, LocalSourceFile


def repository(source):
    """The repository that a Snakefile is read from."""
    import git

    if isinstance(source, HostingProviderFile):
        return source.hosted_repo.repo
    if isinstance(source, LocalGitFile):
        return git.Repo(source.repo_path)
    raise WorkflowError(
        f"{source}: is a Snakefile alone, and the library beside it is needed; name the workflow by "
        'github("owner/repository", path="Snakefile", tag=...), or by the path of a clone.'
    )


def checkout(source):
    """The folder of a Snakefile that is read from a repository."""
    repo = repository(source)
    commit = repo.git.rev_parse(f"{source.ref}^{{commit}}")
    folder = Path(".snakemake/atlas/workflows", commit).absolute()
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            archive = Path(beside, "archive.tar")
            repo.git.archive(commit, format="tar", output=str(archive))
            shutil.unpack_archive(archive, Path(beside, "whole"), filter="data")
            try:
                Path(beside, "whole").rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was there first
                    raise
    return folder / Path(source.path).parent


# The Snakefile is the one that has this file included.
if not isinstance(workflow.included_stack[-2], LocalSourceFile):
    workflow.included_stack[-2] = LocalSourceFile(
        str(checkout(workflow.included_stack[-2]) / "Snakefile")
    )
