"""What ran, as entities of a crate: the workflow, its rules, each job, the engine, the people."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from atlas.job.statements import Statement, is_artefact, place_of
from atlas.publishing.crates.contents import MERGED, README
from atlas.publishing.crates.entities import Entities, moment, ref

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
WHERE = ("host", "device", "threads")
NOTEBOOK = re.compile(r'rule (\w+):.*?\n    notebook:\s+"\.\./(.+?)"', re.DOTALL)


class Run:
    """Adds what ran to the entities of a crate."""

    def __init__(self, entities: Entities) -> None:
        self.entities = entities
        self.contents = entities.contents
        self.jobs: dict[str, list[Statement]] = {}  # rule -> its jobs, rules in order
        for job in self.contents.jobs:
            self.jobs.setdefault(job.rule, []).append(job)
        self.connections: dict[str, list[str]] = {}  # rule, or the workflow -> its connections

    def add_all(self) -> list[str]:
        """Add everything.

        :returns: ids of the actions, which the root mentions.
        """
        self._connect()
        notebooks = dict(self._notebooks())
        for rule, jobs in self.jobs.items():
            self._add_tool(rule, jobs, notebooks.get(rule, SCRIPT))
        for position, rule in enumerate(self.jobs, start=1):
            self.entities.add(
                f"#step/{rule}", "HowToStep", name=rule, position=str(position),
                workExample=ref(f"{TOOLS}/{rule}"),
                connection=ref(*self.connections.get(rule, [])),
            )  # fmt: skip
        actions = [self._add_job(job) for job in self.contents.jobs]
        self._add_workflow()
        return [RUN, ENGINE_RUN, *actions]

    def agent(self, run: str) -> str:
        """The person who gave the command of a run."""
        name = str(self.contents.runs.get(run, {}).get("user") or "unknown")
        return self.entities.add(f"#person/{quote(name)}", "Person", name=name)

    def _notebooks(self) -> Iterator[tuple[str, str]]:
        """Rules with the notebook that each runs in place of the script of all others."""
        for path in self.contents.workflow:
            if path.endswith(".smk"):
                text = (self.entities.folder / path).read_text(encoding="utf-8")
                for rule in re.split(r"^(?=rule )", text, flags=re.MULTILINE):
                    if notebook := NOTEBOOK.match(rule):
                        yield notebook[1], notebook[2]

    def _parameter(
        self, owner: str, way: str, name: str, kind: str = "File", description: str | None = None
    ) -> str:
        return self.entities.add(
            f"#parameter/{owner}/{way}/{quote(name)}", "FormalParameter", name=name,
            additionalType=kind, description=description, conformsTo=ref(PARAMETER_PROFILE),
        )  # fmt: skip

    def _named(self, owner: str, way: str, names: dict[str, str]) -> list[str]:
        """Parameters behind the names of inputs or outputs; their files are examples of them."""
        found = []
        for path, name in names.items():
            found.append(self._parameter(owner, way, name))
            self.entities.examples.setdefault(path, []).append(found[-1])
        return found

    def _add_tool(self, rule: str, jobs: list[Statement], script: str) -> None:
        inputs, outputs = [], []
        values: dict[str, set[type]] = {}
        for job in jobs:
            inputs += self._named(rule, "input", job.input_names)
            outputs += self._named(rule, "output", job.output_names)
            for name, value in job.params.items():
                if value is not None:
                    values.setdefault(name, set()).add(type(value))
        inputs += [self._parameter(rule, "param", n, _type(values[n])) for n in sorted(values)]
        functions = sorted({job.code["function"] for job in jobs})
        modules = [f"scripts/{f.partition(':')[0].replace('.', '/')}.py" for f in functions]
        parts = [self.entities.ids[p] for p in [script, *modules] if p in self.entities.ids]
        self.entities.add(
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
        return self.entities.add(
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
            if value is not None:
                plain = value if isinstance(value, str | int | float) else _text(value)
                found.append(self.entities.add(
                    f"#value/{job.rule}/{quote(name)}/{short(value)}", "PropertyValue", name=name,
                    value="(empty)" if plain == "" else plain,
                    exampleOfWork=ref(f"#parameter/{job.rule}/param/{quote(name)}"),
                ))  # fmt: skip
        return found

    def _add_job(self, job: Statement) -> str:
        identifier, ids = f"#job/{job.digest[:16]}", self.entities.ids
        ran = {key: job.execution[key] for key in WHERE if key in job.execution}
        self.entities.add(
            identifier, "CreateAction", name=job.job,
            description=f"A job of the rule {job.rule} "
            f"({', '.join(f'{key} {value}' for key, value in ran.items())}).",
            startTime=moment(job.started), endTime=moment(job.finished), actionStatus=DONE,
            instrument=ref(f"{TOOLS}/{job.rule}"), agent=ref(self.agent(job.run)),
            object=ref(*(ids[path] for path in sorted(job.inputs)), *self._values(job)),
            result=ref(*(ids[path] for path in sorted(job.outputs))),
            subjectOf=ref(ids[place_of(job.digest)]),
        )  # fmt: skip
        self.entities.add(
            f"#control/{job.digest[:16]}", "ControlAction", name=f"orchestrate {job.job}",
            instrument=ref(f"#step/{job.rule}"), object=ref(identifier), actionStatus=DONE,
        )  # fmt: skip
        return identifier

    def _connect(self) -> None:
        """Which output of a rule goes to which input of another, or is what was asked for."""
        pairs: dict[tuple[str, str, str], None] = {}
        made_by = self.contents.made_by
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
            self.entities.add(identifier, "ParameterConnection", sourceParameter=ref(source),
                           targetParameter=ref(target))  # fmt: skip
            self.connections.setdefault(rule, []).append(identifier)

    def _output(self, path: str) -> str:
        job = self.contents.made_by[path]
        return f"#parameter/{job.rule}/output/{quote(job.output_names[path])}"

    def _add_workflow(self) -> None:
        """The workflow, its engine, and their run."""
        contents, entities = self.contents, self.entities
        target = contents.made_by[contents.target]
        sources = [path for path in contents.artefacts if not is_artefact(path)]
        configuration = [path for path in (MERGED,) if path in contents.workflow]
        inputs = self._named("workflow", "input", {
            **dict.fromkeys(sources, "sources"), **dict.fromkeys(configuration, "configuration"),
        })  # fmt: skip
        outputs = self._named("workflow", "output", {contents.target: "target"})
        version = str(target.packages.get("snakemake", "unknown"))
        entities.add(
            LANGUAGE, "ComputerLanguage", name="Snakemake", version=version, url=ref(MANUAL),
            identifier=ref("https://doi.org/10.1093/bioinformatics/bts480"),
        )  # fmt: skip
        engine = entities.add(f"{MANUAL}/en/v{version}/", "SoftwareApplication", name="Snakemake",
                              softwareVersion=version, url=MANUAL)  # fmt: skip
        code = {p: e.sha256 for p, e in contents.workflow.items()
                if p == WORKFLOW or p.startswith(("rules/", "scripts/"))}  # fmt: skip
        about = {
            **entities.file_properties(WORKFLOW), "name": "Delta Atlas",
            "description": "Fine-tunes, embeds, measures and maps pools of language models.",
            "version": short(code), "url": ref(README),
            "license": ref("LICENSE") if "LICENSE" in contents.workflow else None,
        }  # fmt: skip
        entities.add(
            WORKFLOW, ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"], **about,
            conformsTo=ref(WORKFLOW_PROFILE), programmingLanguage=ref(LANGUAGE),
            input=ref(*inputs), output=ref(*outputs), step=ref(*(f"#step/{r}" for r in self.jobs)),
            hasPart=ref(*(f"{TOOLS}/{r}" for r in self.jobs)),
            connection=ref(*self.connections.get("", [])),
        )  # fmt: skip
        done = {"agent": ref(self.agent(target.run)), "actionStatus": DONE,
                "startTime": min(moment(j.started) for j in contents.jobs),
                "endTime": max(moment(j.finished) for j in contents.jobs)}  # fmt: skip
        command = shlex.join(contents.run.get("command", []))
        entities.add(
            RUN, "CreateAction", name=f"make {contents.target}", **done, instrument=ref(WORKFLOW),
            description=command or "The command was not recorded.",
            object=ref(*(entities.ids[p] for p in [*configuration, *sources])),
            result=ref(entities.ids[contents.target]),
        )  # fmt: skip
        entities.add(
            ENGINE_RUN, "OrganizeAction", name="run of Snakemake", **done, instrument=ref(engine),
            object=ref(*(f"#control/{j.digest[:16]}" for j in contents.jobs)), result=ref(RUN),
        )  # fmt: skip


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def short(value: Any) -> str:
    """Twelve digits that tell a value from others."""
    return hashlib.sha256(_text(value).encode()).hexdigest()[:12]


def _type(kinds: set[type]) -> str:
    """The schema.org type of a param's values; structures are given as JSON."""
    if kinds == {bool}:
        return "Boolean"
    if kinds == {int}:
        return "Integer"
    return "Float" if kinds <= {int, float} else "Text"
