"""Finds suites and profiles, and explains in one line what is wrong with one: field and fix."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from testops.domain.errors import BadInput, Fault
from testops.domain.policy import Policy
from testops.domain.suite import Kernel, Profile, SimStage, Suite
from testops.domain.waiver import WaiverFile
from testops.runner.documents import Document, Pointer, pointer_text, read_document
from testops.runner.projects import Project, project_around, project_of

SUFFIXES = (".yaml", ".yml", ".json")
DEFAULT_SUITE = "default"
# Paths have no place in a request: its sender does not choose what file the server reads.
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FAULTS_MAX = 100

Model = TypeVar("Model", Suite, Profile, Policy, WaiverFile)


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """A suite, its project, and the document that its messages point into.

    One that came with a request has no file: its `path` is None.
    """

    project: Project
    path: Path | None
    suite: Suite
    document: Document

    @property
    def shown(self) -> str:
        """How a person in the project names it: by name, or by file where it is not in suites/."""
        if self.path is None or self.path.parent == self.project.suites:
            return self.suite.name
        return self.project.shown(self.path)


@dataclass(frozen=True, slots=True)
class ResolvedKernel:
    """A kernel of a suite whose file and function are known to exist."""

    name: str
    path: Path
    shown: str
    function: str
    verify: str


@dataclass(frozen=True, slots=True)
class SimPlan:
    """The sim stage after references are followed: whose baseline it is, and what it runs."""

    suite: str
    stage: SimStage
    kernels: tuple[ResolvedKernel, ...]
    masks: Path | None


def load_suite(asked: str | None, *, working_folder: Path) -> SuiteFile:
    """The suite called `asked`, or in the file `asked`; without one the default or only suite."""
    if asked is None:
        project = project_around(working_folder)
        return _read_suite(project, project.suites / _only_suite(project))
    if asked.endswith(SUFFIXES) or "/" in asked:
        path = working_folder / asked
        if not path.is_file():
            raise _unknown("suite", asked, project_around(working_folder).suites)
        return _read_suite(project_of(path, working_folder=working_folder), path.resolve())
    project = project_around(working_folder)
    return _read_suite(project, file_called(asked, "suite", project.suites))


def suite_named(name: str, project: Project) -> SuiteFile:
    """The suite called `name` in the project's `suites/`, and never a file somewhere else."""
    require_plain_name(name, "suite")
    return _read_suite(project, file_called(name, "suite", project.suites))


def profile_named(name: str, project: Project) -> Profile:
    """The profile called `name` in the project's `profiles/`, and never a file somewhere else."""
    require_plain_name(name, "profile")
    return load_profile(name, project)


def suite_given(definition: Mapping[str, Any], project: Project) -> SuiteFile:
    """A suite that came with a request; it is the project's own where that says the same."""
    document = Document("suite", definition, {})
    suite = validate(Suite, document)
    for path in _files_named(suite.name, project.suites):
        own = _read_suite(project, path)
        if own.suite == suite:
            return own
    return SuiteFile(project, None, suite, document)


def profile_given(definition: Mapping[str, Any]) -> Profile:
    """A profile that came with a request."""
    return validate(Profile, Document("profile", definition, {}))


def load_profile(asked: str, project: Project) -> Profile:
    """The profile called `asked`, or in the file `asked`; `offline` needs no file."""
    if asked.endswith(SUFFIXES) or "/" in asked:
        path = project.root / asked
        if not path.is_file():
            raise _unknown("profile", asked, project.profiles)
    elif asked == "offline" and not any(_files_named(asked, project.profiles)):
        return Profile(name="offline", description="Built in: refuses every outside connection.")
    else:
        path = file_called(asked, "profile", project.profiles)
    profile = validate(Profile, read_document(path, shown=project.shown(path)))
    require_own_name(profile.name, path, project)
    return profile


def known_names(folder: Path) -> list[str]:
    """The suites or profiles of a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted({p.stem for p in folder.iterdir() if p.suffix in SUFFIXES and _is_ours(p)})


def resolve_sim(suite_file: SuiteFile, kernels_in: Callable[[Path], Sequence[str]]) -> SimPlan:
    """What the sim stage of a suite runs, every file and function checked to exist."""
    project, stage = suite_file.project, suite_file.suite.stages.sim
    assert stage is not None
    owner = suite_file
    if stage.suite is not None:
        owner = _read_suite(project, file_called(stage.suite, "suite", project.suites))
        referred = owner.suite.stages.sim
        if referred is None or referred.suite is not None:
            raise BadInput(
                f"/stages/sim/suite: suite {stage.suite} has no kernels of its own",
                where=suite_file.document.place(("stages", "sim", "suite")),
                fix="name a suite whose sim stage lists kernels",
                pointer="/stages/sim/suite",
            )
        stage = referred
    resolved = tuple(
        _resolve_kernel(owner, name, kernel, kernels_in) for name, kernel in stage.kernels.items()
    )
    _refuse_twins(owner, stage)
    return SimPlan(owner.suite.name, stage, resolved, _masks_of(owner))


def _refuse_twins(owner: SuiteFile, stage: SimStage) -> None:
    """One function under two names would be executed twice to say the same."""
    names: dict[str, str] = {}
    for name, kernel in stage.kernels.items():
        if kernel.run in names:
            pointer: Pointer = ("stages", "sim", "kernels", name, "run")
            raise BadInput(
                f"{kernel.run} is already the kernel {names[kernel.run]}",
                where=f"{owner.document.place(pointer)}: {pointer_text(pointer)}",
                fix="list each function once",
                pointer=pointer_text(pointer),
            )
        names[kernel.run] = name


def _masks_of(owner: SuiteFile) -> Path | None:
    compare = owner.suite.stages.snapshot_compare
    if compare is None or compare.masks is None:
        return None
    pointer: Pointer = ("stages", "snapshot-compare", "masks")
    where = f"{owner.document.place(pointer)}: {pointer_text(pointer)}"
    path = owner.project.inside(compare.masks, where=where, pointer=pointer_text(pointer))
    if not path.is_file():
        raise BadInput(
            f"there is no file {compare.masks}",
            where=where,
            fix="correct the path",
            pointer=pointer_text(pointer),
        )
    return path


def _resolve_kernel(
    owner: SuiteFile, name: str, kernel: Kernel, kernels_in: Callable[[Path], Sequence[str]]
) -> ResolvedKernel:
    pointer: Pointer = ("stages", "sim", "kernels", name, "run")
    where = f"{owner.document.place(pointer)}: {pointer_text(pointer)}"
    shown = pointer_text(pointer)
    path = owner.project.inside(kernel.file, where=where, pointer=shown)
    if not path.is_file():
        raise BadInput(
            f"there is no file {kernel.file}",
            where=where,
            fix="correct the path or add the file",
            pointer=shown,
        )
    found = kernels_in(path)
    if kernel.function not in found:
        listed = ", ".join(found) or "none; mark one with @toron.kernel"
        raise BadInput(
            f"{kernel.file} has no kernel {kernel.function}",
            where=where,
            fix=f"{_did_you_mean(kernel.function, found)}its kernels are: {listed}",
            pointer=shown,
        )
    return ResolvedKernel(name, path, kernel.file, kernel.function, kernel.verify)


def _only_suite(project: Project) -> Path:
    names = known_names(project.suites)
    if not names:
        raise BadInput(
            f"there is no suite in {project.suites}", fix="write one with `testops init`"
        )
    chosen = names[0] if len(names) == 1 else DEFAULT_SUITE
    if chosen not in names:
        raise BadInput(
            f"there are several suites ({', '.join(names)})", fix="name one: testops run SUITE"
        )
    return file_called(chosen, "suite", project.suites)


def _files_named(name: str, folder: Path) -> Iterable[Path]:
    return (path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file())


def file_called(name: str, kind: str, folder: Path) -> Path:
    """The file of the suite, profile or policy `name`."""
    for path in _files_named(name, folder):
        return path
    raise _unknown(kind, name, folder)


def _unknown(kind: str, name: str, folder: Path) -> BadInput:
    known = known_names(folder)
    missing = "write one there" if kind == "policy" else "write one with `testops init`"
    listed = f"known: {', '.join(known)}" if known else missing
    return BadInput(
        f"there is no {kind} {name!r} (looked in {folder})",
        fix=f"{_did_you_mean(name, known)}{listed}",
    )


def require_plain_name(name: str, kind: str) -> None:
    """Refuse a path where a name is meant."""
    if not _PLAIN_NAME.fullmatch(name):
        raise BadInput(
            f"{name[:60]!r} is not the name of a {kind}",
            fix="give small letters, digits, _ and -, or the definition itself",
        )


def _is_ours(path: Path) -> bool:
    return path.is_file() and not path.name.endswith(".schema.json")


def _read_suite(project: Project, path: Path) -> SuiteFile:
    document = read_document(path, shown=project.shown(path))
    suite = validate(Suite, document)
    if path.parent == project.suites:
        require_own_name(suite.name, path, project)
    return SuiteFile(project, path, suite, document)


def require_own_name(name: str, path: Path, project: Project) -> None:
    """Refuse a document that calls itself otherwise than its file is called."""
    # Found by file name, filed under `name`: were they two, a baseline would be looked for in vain.
    if name != path.stem:
        raise BadInput(
            f"/name: is {name!r}, but the file is called {path.stem}",
            where=project.shown(path),
            fix=f"write name: {path.stem}",
            pointer="/name",
        )


def validate(model: type[Model], document: Document) -> Model:
    """The document as `model`; its first error becomes one line with field and fix.

    The `faults` of the error are all of them, as many as a person can read.
    """
    if not isinstance(document.value, dict):
        fix = "begin with `schema: 1` and `name: …`"
        raise BadInput("the file holds no fields", where=document.shown, fix=fix, pointer="")
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        explained = [_explain(one, model) for one in errors[:_FAULTS_MAX]]
        problem, fix, pointer = explained[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        where = f"{document.place(pointer)}: {pointer_text(pointer) or '/'}"
        faults = [Fault(pointer_text(at), what, how) for what, how, at in explained]
        raise BadInput(problem, where=where, fix=fix + more, faults=faults) from error


def _explain(error: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str, Pointer]:
    pointer = _without_tags(error["loc"], model)
    given = error["input"]
    match error["type"]:
        case "extra_forbidden":
            fields = _fields_at(model, pointer[:-1])
            guess = _did_you_mean(str(pointer[-1]), fields)
            return "unknown field", f"{guess}known fields: {', '.join(fields)}", pointer
        case "missing":
            return "the field is missing", "add it", pointer
        case "value_error":
            return str(error["ctx"]["error"]), "correct it", pointer
        case "string_pattern_mismatch":
            wanted = f"match {error['ctx']['pattern']}"
            return f"{given!r} is not a valid value", f"it must {wanted}", pointer
        case kind if kind.endswith("_type"):
            wanted = error["msg"].removeprefix("Input should be ")
            return f"wrong type, got {_kind_of(given)}", f"it must be {wanted}", pointer
        case _:
            wanted = error["msg"].removeprefix("Input should be ")
            return f"{_short(given)} is not allowed", f"it must be {wanted}", pointer


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "boolean"}
    kind = names.get(type(value), type(value).__name__)
    return kind if isinstance(value, dict | list | None) else f"{kind} {_short(value)}"


def _without_tags(loc: Sequence[str | int], model: type[BaseModel]) -> Pointer:
    """The location in the file: pydantic adds the chosen union member and `[key]` to it."""
    kinds = {"constant", "uniform", "normal", "zipf"} if model is Profile else set()
    ways = {"name", "server", "inline"} if model is Suite and loc[:1] == ("policy",) else set()
    return tuple(
        part
        for index, part in enumerate(loc)
        if part != "[key]"
        and not (index == 2 and part in kinds)
        and not (index == 1 and part in ways)
    )


def _fields_at(model: type[BaseModel], pointer: Pointer) -> list[str]:
    """The names that the schema knows at `pointer`, as a file spells them."""
    current: Any = model
    for part in pointer:
        current = _child(current, part)
    fields = (item for member in _models(current) for item in member.model_fields.items())
    names = [info.alias or name for name, info in fields]
    return list(dict.fromkeys(names))


def _child(annotation: Any, part: str | int) -> Any:
    for member in _models(annotation):
        for name, info in member.model_fields.items():
            if part in (info.alias, name):
                return info.annotation
    # An entry of a dict or a list: what stands in the brackets last.
    for candidate in (annotation, *get_args(annotation)):
        arguments = get_args(candidate)
        if arguments and getattr(candidate, "__origin__", None) in (dict, list):
            return arguments[-1]
    return None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}? " if close else ""


def suite_schema() -> dict[str, Any]:
    """The JSON Schema of a suite file, for editors and for the API."""
    schema = Suite.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def profile_schema() -> dict[str, Any]:
    """The JSON Schema of a profile file, for editors and for the API."""
    schema = Profile.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
