"""Finds kernels in files and names them: ``FILE.py::NAME``, seeds, and replay tokens."""

from __future__ import annotations

import base64
import hashlib
import importlib.machinery
import importlib.util
import inspect
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from toron import ENGINE_VERSION
from toron.core.choices import SEED_MAX
from toron.errors import BadKernel

MARK = "__toron_kernel__"
_TOKEN_PREFIX = "t2-"  # noqa: S105  (a version mark)
_FIRST_PREFIX = "t1-"
_TOKEN_BYTES_MAX = 1 << 24
_WORDS = (
    b'["random","pct","coincidence","delay","cancellation",null,[["disk.","data ","stall arrival",'
    b'["chaos.fault partitions crashes kills pauses clock_drift disk corruption loss slow resets ",'
    b'["chaos.disk.",["schedule.thread ",["schedule.io fd",["schedule.timer ",["net.loss:",'
    b'["net.split ",["net.latency:",["cancel ",["stall ",["schedule main#1/.<locals>.",1],'
    b'["schedule .py","0","2.5.2","portfolio",[["schedule '
)
"""What tokens are made of, the most frequent last. Never to be changed: tokens live longer."""


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """What a kernel asks for: how many seeds by default, its limit in virtual seconds, and whether

    what it leaves behind is a failure.
    """

    seeds: int = 100
    time_limit: float = 3600.0
    leaks: bool = False


@dataclass(frozen=True, slots=True)
class KernelRef:
    """A kernel by file and name."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{display_path(self.path)}::{self.name}"


def display_path(path: Path) -> str:
    """A path as a person would type it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def split_reference(text: str) -> tuple[Path, str | None]:
    """``FILE.py[::NAME]`` as file and name; BadKernel when there is no such file."""
    file, _, name = text.partition("::")
    path = Path(file)
    if not path.is_file():
        raise BadKernel(f"{file}: no such file; name a Python file, as in FILE.py::NAME")
    return path.resolve(), name or None


def project_root(path: Path) -> Path:
    """The folder from which the file's imports work: above its outermost package."""
    folder = path.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def load_module(path: Path) -> ModuleType:
    """Import ``path`` as its project would; BadKernel with the line where it failed."""
    root = project_root(path)
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if path.suffix not in importlib.machinery.SOURCE_SUFFIXES:
        raise BadKernel(f"{display_path(path)} is not a Python file")
    # Without the cache: an edit in the same second that leaves the size alone would not be seen.
    loader = _SourceLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        file = error.filename or display_path(path)
        raise BadKernel(f"{file}:{error.lineno or 1}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        line = _line_in(path, error)
        raise BadKernel(
            f"{display_path(path)}{line} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file as it is now."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source, whatever is cached."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _line_in(path: Path, error: BaseException) -> str:
    traceback, line = error.__traceback__, ""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = f":{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def kernel_names(module: ModuleType) -> list[str]:
    """The names of a module's kernels, else of its plain ``async def`` without arguments."""
    functions = {
        name: value
        for name, value in vars(module).items()
        if _is_coroutine_function(value) and value.__module__ == module.__name__
    }
    marked = [name for name, value in functions.items() if hasattr(value, MARK)]
    if marked:
        return marked
    plain = [name for name in functions if not name.startswith("_")]
    return [name for name in plain if not inspect.signature(functions[name]).parameters]


def _is_coroutine_function(value: object) -> bool:
    """By its type first: a proxy in a module (werkzeug's) raises when it is asked anything."""
    return issubclass(type(value), FunctionType) and inspect.iscoroutinefunction(value)


def find_kernel(module: ModuleType, path: Path, name: str | None) -> Callable[..., Any]:
    """The kernel called ``name``, or the only one; BadKernel lists the names otherwise."""
    names = kernel_names(module)
    listing = ", ".join(names) if names else "none"
    if name is None:
        if len(names) != 1:
            raise BadKernel(
                f"{display_path(path)} has {len(names)} kernels ({listing}); "
                f"name one, as in {display_path(path)}::NAME"
            )
        name = names[0]
    function = getattr(module, name, None)
    if function is None:
        raise BadKernel(f"{display_path(path)} has no kernel {name!r}; it has: {listing}")
    check_kernel(function, f"{display_path(path)}::{name}")
    return function  # type: ignore[no-any-return]


def check_kernel(function: Any, label: str) -> None:
    """BadKernel unless ``function`` is an async function with no argument or one."""
    if not inspect.iscoroutinefunction(function):
        raise BadKernel(f"{label} is not an async function; a kernel is `async def`")
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(required) > 1:
        raise BadKernel(
            f"{label} takes {len(required)} arguments; a kernel takes the world or none"
        )


def options_of(function: Any) -> KernelOptions:
    """The options of a kernel; a plain function has the defaults."""
    options = getattr(function, MARK, None)
    return options if isinstance(options, KernelOptions) else KernelOptions()


def parse_seed(text: str | int, name: str) -> int:
    """A seed, 0 to 2**64 - 1; BadKernel names ``name``."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= SEED_MAX:
        raise BadKernel(f"{name} {text!r} must be a whole number from 0 to 2^64-1")
    return seed


def parse_seed_range(text: str, name: str = "--seeds") -> range:
    """``A:B`` half-open, or one seed."""
    first, colon, last = text.partition(":")
    begin = parse_seed((first or "0") if colon else first, name)
    if not colon:
        return range(begin, begin + 1)
    end = parse_seed(last, name)
    if end <= begin:
        raise BadKernel(f"{name} {text!r} is empty; write A:B with A below B")
    return range(begin, end)


# Tokens


@dataclass(frozen=True, slots=True)
class Token:
    """What a replay needs: which kernel, what chooses, and which behaviour to expect.

    Version 2 is ``t2-`` and base64 of a CRC-32 and a JSON list, deflated with `_WORDS` known
    beforehand. Version 1, which knew seeds only, stays readable: what it stands for is a random
    walk.
    """

    file: str
    name: str
    sim_seed: int
    chaos_seed: int
    digest: str
    source: str
    engine: str = ENGINE_VERSION
    strategy: str = "random"
    tape: tuple[tuple[str, int], ...] | None = None
    """The deviations of a run that no strategy chose, a shrunk one; None: the strategy chooses."""
    reseeds: tuple[tuple[int, int], ...] = ()
    """When (virtual ns) a branch went on under which salt."""
    cause: str = ""
    """By what to know the failure again when the code has changed; see `clusters.mark_of`."""

    def encode(self) -> str:
        """The token as text without spaces."""
        fields = [
            self.file,
            self.name,
            self.sim_seed,
            self.chaos_seed,
            self.digest,
            self.source,
            self.engine,
            self.strategy,
            self.tape,
            self.reseeds,
            self.cause,
        ]
        raw = json.dumps(fields, separators=(",", ":")).encode()
        deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, zdict=_WORDS)
        packed = zlib.crc32(raw).to_bytes(4, "big") + deflater.compress(raw) + deflater.flush()
        return _TOKEN_PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def kernel(self) -> KernelRef:
        """The kernel that it was made from; BadKernel when its file is not here."""
        path = Path(self.file).resolve()
        if not path.is_file():
            raise BadKernel(
                f"{self.file}: no such file from {Path.cwd()}; replay where the token was made"
            )
        return KernelRef(path, self.name)

    @staticmethod
    def decode(text: str) -> Token:
        """The token in ``text``; BadKernel when it was cut or altered."""
        if not text.startswith((_TOKEN_PREFIX, _FIRST_PREFIX)):
            raise BadKernel(
                f"{text[:20]!r} is not a replay token; tokens begin with {_TOKEN_PREFIX}"
            )
        body = text[len(_TOKEN_PREFIX) :]
        try:
            packed = base64.b64decode(body + "=" * (-len(body) % 4), altchars="-_", validate=True)
            raw = packed[4:] if text.startswith(_FIRST_PREFIX) else _inflated(packed[4:])
            if zlib.crc32(raw).to_bytes(4, "big") != packed[:4]:
                raise ValueError("checksum")
            fields = json.loads(raw)
            tape, reseeds = (fields[8], fields[9]) if len(fields) > 7 else (None, ())
            return replace(
                Token(*fields[:8]),
                cause=str(fields[10]) if len(fields) > 10 else "",
                tape=None if tape is None else tuple((str(key), int(n)) for key, n in tape),
                reseeds=tuple((int(at_ns), int(salt)) for at_ns, salt in reseeds),
            )
        except (ValueError, TypeError, LookupError, RecursionError, zlib.error) as error:
            raise BadKernel("the replay token is damaged; copy it whole") from error


def _inflated(packed: bytes) -> bytes:
    """The JSON of a token; ValueError for one that would fill the memory."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_WORDS)
    raw = inflater.decompress(packed, _TOKEN_BYTES_MAX)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("cut, longer than it was, or larger than a token can be")
    return raw


DIGEST_PREFIX = 16


def source_digest(paths: Iterable[Path]) -> str:
    """A short digest of a program's files, to tell changed code from nondeterminism.

    Another Python counts as changed code.
    """
    contents = sorted(hashlib.blake2b(path.read_bytes()).digest() for path in paths)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}".encode()
    return hashlib.blake2b(b"".join([version, *contents]), digest_size=6).hexdigest()


def make_token(
    path: Path,
    name: str,
    sim_seed: int,
    chaos_seed: int,
    digest: str,
    *,
    source: str,
    strategy: str,
    tape: Sequence[tuple[str, int]] | None = None,
    reseeds: Sequence[tuple[int, int]] = (),
    cause: str = "",
) -> str:
    """The token of one execution; the path is relative to the working directory."""
    return Token(
        file=os.path.relpath(path),
        name=name,
        sim_seed=sim_seed,
        chaos_seed=chaos_seed,
        digest=digest[:DIGEST_PREFIX],
        source=source,
        strategy=strategy,
        tape=None if tape is None else tuple(tape),
        reseeds=tuple(reseeds),
        cause=cause,
    ).encode()
