"""What ran, as entities of a crate: the workflow, its rules, each job, the engine, the people."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from atlas.job.statements import RESULTS, STATEMENTS, Statement
from atlas.publishing.crate_contents import MERGED, README
from atlas.publishing.crate_graph import Graph, moment, ref

# A rule is a tool without an address: the profile asks for an absolute URI, and a name below
# .invalid (RFC 2606) is one that promises no page.
TOOLS = "https://delta-atlas.invalid/tool"
DONE = "http://schema.org/CompletedActionStatus"
PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
WORKFLOW, RUN, ENGINE_RUN = "Snakefile", "#run", "#run-of-snakemake"
MANUAL = "https://snakemake.readthedocs.io"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
SCRIPT = "scripts/job.py"
NOTEBOOK = re.compile(r'rule (\w+):.*?\n    notebook:\s+"\.\./(.+?)"', re.DOTALL)


def short(value: Any) -> str:
    """Twelve digits that tell a value from others."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class RunGraph:
    """Adds what ran to a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.contents = graph.contents
        self.jobs: dict[str, list[Statement]] = {}  # rule -> its jobs, rules in order
        for job in self.contents.jobs:
            self.jobs.setdefault(job.rule, []).append(job)
        self.notebooks = self._notebooks()
        self.connections: dict[str, list[str]] = {}  # rule, or the workflow -> its connections

    def add_all(self) -> list[str]:
        """Add everything.

        :returns: ids of the actions, which the root mentions.
        """
        self._connect()
        for rule, jobs in self.jobs.items():
            self._add_tool(rule, jobs)
        for position, rule in enumerate(self.jobs, start=1):
            self.graph.add(
                f"#step/{rule}", "HowToStep", name=rule, position=str(position),
                workExample=ref(f"{TOOLS}/{rule}"),
                connection=ref(*self.connections.get(rule, [])),
            )  # fmt: skip
        actions = [self._add_job(job) for job in self.contents.jobs]
        self._add_workflow()
        return [RUN, ENGINE_RUN, *actions]

    def agent(self, run: str) -> str:
        """The person who gave the command of a run."""
        name = self.contents.user(run)
        return self.graph.add(f"#person/{quote(name)}", "Person", name=name)

    def _notebooks(self) -> dict[str, str]:
        """Rule -> the notebook that it runs in place of the script of all others."""
        found = {}
        for path in self.contents.workflow:
            if path.endswith(".smk"):
                text = (self.graph.folder / path).read_text(encoding="utf-8")
                for rule in re.split(r"^(?=rule )", text, flags=re.MULTILINE):
                    if notebook := NOTEBOOK.match(rule):
                        found[notebook[1]] = notebook[2]
        return found

    def _parameter(
        self, owner: str, way: str, name: str, kind: str = "File", description: str | None = None
    ) -> str:
        return self.graph.add(
            f"#parameter/{owner}/{way}/{quote(name)}", "FormalParameter", name=name,
            additionalType=kind, description=description, conformsTo=ref(PARAMETER_PROFILE),
        )  # fmt: skip

    def _named(self, owner: str, way: str, names: dict[str, str]) -> list[str]:
        """Parameters behind the names of inputs or outputs; their files are examples of them."""
        found = []
        for path, name in names.items():
            identifier = self._parameter(owner, way, name)
            examples = self.graph.examples.setdefault(path, [])
            if identifier not in examples:
                examples.append(identifier)
            found.append(identifier)
        return list(dict.fromkeys(found))

    def _add_tool(self, rule: str, jobs: list[Statement]) -> None:
        inputs, outputs = [], []
        for job in jobs:
            inputs += self._named(rule, "input", job.input_names)
            outputs += self._named(rule, "output", job.output_names)
        values: dict[str, list[Any]] = {}
        for job in jobs:
            for name, value in job.params.items():
                if value is not None:
                    values.setdefault(name, []).append(value)
        inputs += [self._parameter(rule, "param", n, _type(values[n])) for n in sorted(values)]
        functions = sorted({job.code["function"] for job in jobs})
        modules = [f"scripts/{f.partition(':')[0].replace('.', '/')}.py" for f in functions]
        script = self.notebooks.get(rule, SCRIPT)
        parts = [self.graph.ids[p] for p in [script, *modules] if p in self.graph.ids]
        self.graph.add(
            f"{TOOLS}/{rule}", "SoftwareApplication", name=rule,
            description=f"The rule {rule}: calls {' and '.join(functions)}.",
            softwareVersion=sorted({short(job.code["modules"]) for job in jobs}),
            url=ref(*parts[:1]) or functions[0], hasPart=ref(*parts),
            input=ref(*inputs), output=ref(*outputs),
            softwareRequirements=self._requirements(jobs),
        )  # fmt: skip

    def _requirements(self, jobs: list[Statement]) -> list[Any]:
        """Packages that the code behind a rule imports, and the interpreters that ran it."""
        packages = {f"{n}=={v}" for job in jobs for n, v in job.code["distributions"].items()}
        interpreters = dict.fromkeys(self._interpreter(job) for job in jobs)
        return [*sorted(packages), *map(ref, interpreters)]

    def _interpreter(self, job: Statement) -> str:
        """Python with all installed packages: one entity for each environment that was used."""
        python = str(job.execution.get("python", "unknown"))
        packages = [f"{name}=={version}" for name, version in sorted(job.packages.items())]
        return self.graph.add(
            f"https://www.python.org/downloads/release/python-{python.replace('.', '')}/"
            f"#{short(packages)}",
            "SoftwareApplication", name=str(job.execution.get("implementation", "Python")),
            softwareVersion=python, url="https://www.python.org/", softwareRequirements=packages,
            description="The interpreter, and all packages that were installed.",
        )  # fmt: skip

    def _values(self, job: Statement) -> list[str]:
        """Values of a job's params: one entity for each value of a param of a rule."""
        found = []
        for name, value in sorted(job.params.items()):
            if value is None:
                continue
            plain = value if isinstance(value, str | int | float) else json.dumps(
                value, sort_keys=True, ensure_ascii=False)  # fmt: skip
            found.append(
                self.graph.add(
                    f"#value/{job.rule}/{quote(name)}/{short(value)}", "PropertyValue", name=name,
                    value="(empty)" if plain == "" else plain,
                    exampleOfWork=ref(f"#parameter/{job.rule}/param/{quote(name)}"),
                )
            )  # fmt: skip
        return found

    def _add_job(self, job: Statement) -> str:
        identifier = f"#job/{job.digest[:16]}"
        ran = job.execution
        where = ", ".join(
            f"{key} {ran[key]}" for key in ("host", "device", "threads") if key in ran
        )
        ids = self.graph.ids
        statement = ids[f"{STATEMENTS}/{job.digest[:2]}/{job.digest}.json"]
        self.graph.add(
            identifier, "CreateAction", name=job.job,
            description=f"A job of the rule {job.rule} ({where}).",
            startTime=moment(job.started), endTime=moment(job.finished), actionStatus=DONE,
            instrument=ref(f"{TOOLS}/{job.rule}"), agent=ref(self.agent(job.run)),
            object=ref(*(ids[path] for path in sorted(job.inputs)), *self._values(job)),
            result=ref(*(ids[path] for path in sorted(job.outputs))), subjectOf=ref(statement),
        )  # fmt: skip
        self.graph.add(
            f"#control/{job.digest[:16]}", "ControlAction", name=f"orchestrate {job.job}",
            instrument=ref(f"#step/{job.rule}"), object=ref(identifier), actionStatus=DONE,
        )  # fmt: skip
        return identifier

    def _connect(self) -> None:
        """Which output of a rule goes to which input of another, or is what was asked for."""
        pairs: dict[tuple[str, str, str], None] = {}
        made_by = self.graph.made_by
        for job in self.contents.jobs:
            for path, name in job.input_names.items():
                target = f"#parameter/{job.rule}/input/{quote(name)}"
                if path in made_by:
                    pairs[self._output(path), target, job.rule] = None
                elif path in self.contents.artefacts:
                    pairs["#parameter/workflow/input/sources", target, job.rule] = None
        pairs[self._output(self.contents.target), "#parameter/workflow/output/target", ""] = None
        for source, target, rule in pairs:
            identifier = f"#connection/{short([source, target])}"
            self.graph.add(identifier, "ParameterConnection", sourceParameter=ref(source),
                           targetParameter=ref(target))  # fmt: skip
            self.connections.setdefault(rule, []).append(identifier)

    def _output(self, path: str) -> str:
        job = self.graph.made_by[path]
        return f"#parameter/{job.rule}/output/{quote(job.output_names[path])}"

    def _add_workflow(self) -> None:
        """The workflow, its engine, and their run."""
        contents, graph = self.contents, self.graph
        target = contents.made_by[contents.target]
        sources = [p for p in contents.artefacts if not p.startswith(f"{RESULTS}/")]
        configuration = [p for p in (MERGED,) if p in contents.workflow]
        inputs = self._named("workflow", "input", {
            **dict.fromkeys(sources, "sources"), **dict.fromkeys(configuration, "configuration"),
        })  # fmt: skip
        outputs = self._named("workflow", "output", {contents.target: "target"})
        version = str(target.packages.get("snakemake", "unknown"))
        graph.add(
            LANGUAGE, "ComputerLanguage", name="Snakemake", version=version,
            identifier=ref("https://doi.org/10.1093/bioinformatics/bts480"),
            url=ref(MANUAL),
        )  # fmt: skip
        engine = graph.add(f"{MANUAL}/en/v{version}/", "SoftwareApplication", name="Snakemake",
                           softwareVersion=version, url=MANUAL)  # fmt: skip
        code = {p: e.sha256 for p, e in contents.workflow.items() if _is_code(p)}
        about = {
            **graph.file_properties(WORKFLOW), "name": "Delta Atlas",
            "description": "Fine-tunes, embeds, measures and maps pools of language models.",
            "version": short(code), "url": ref(README),
            "license": ref("LICENSE") if "LICENSE" in contents.workflow else None,
        }  # fmt: skip
        graph.add(
            WORKFLOW, ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"], **about,
            conformsTo=ref(WORKFLOW_PROFILE), programmingLanguage=ref(LANGUAGE),
            input=ref(*inputs), output=ref(*outputs), step=ref(*(f"#step/{r}" for r in self.jobs)),
            hasPart=ref(*(f"{TOOLS}/{r}" for r in self.jobs)),
            connection=ref(*self.connections.get("", [])),
        )  # fmt: skip
        command = contents.runs.get(target.run, {}).get("command", [])
        times = {"startTime": min(moment(j.started) for j in contents.jobs),
                 "endTime": max(moment(j.finished) for j in contents.jobs)}  # fmt: skip
        graph.add(
            RUN, "CreateAction", name=f"make {contents.target}", actionStatus=DONE, **times,
            description=shlex.join(command) or "The command was not recorded.",
            instrument=ref(WORKFLOW), agent=ref(self.agent(target.run)),
            object=ref(*(graph.ids[p] for p in [*configuration, *sources])),
            result=ref(graph.ids[contents.target]),
        )  # fmt: skip
        graph.add(
            ENGINE_RUN, "OrganizeAction", name="run of Snakemake", actionStatus=DONE, **times,
            instrument=ref(engine), agent=ref(self.agent(target.run)), result=ref(RUN),
            object=ref(*(f"#control/{j.digest[:16]}" for j in contents.jobs)),
        )  # fmt: skip


def _is_code(path: str) -> bool:
    return path == WORKFLOW or path.startswith(("rules/", "scripts/"))


def _type(values: Iterable[Any]) -> str:
    """The schema.org type of a param's values; structures are given as JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "Boolean"
    if kinds == {int}:
        return "Integer"
    if kinds and kinds <= {int, float}:
        return "Float"
    return "Text"
