"""Which bundle schemas are read, and how one becomes the next: 1 is the only one today.

A schema that comes later is added here with its reader, its writer and one pure function that
makes its content of the content of the schema before. Old bundles are then read as if they were
new, in memory, and `testops snapshot migrate` writes them so. There is no way back: a program that
knows less than a bundle says refuses it, because it cannot know what it would lose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from testops.snapshots.canonical import Json, parse
from testops.snapshots.manifest import MANIFEST, BundleHeader, verify_manifest, write_manifest
from testops.snapshots.refusal import DAMAGED_FIX, Refusal

Files = Mapping[str, bytes]
Content = tuple[BundleHeader, Files]


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema. `read` verifies every digest; `migrate` takes the content of the one before."""

    version: int
    read: Callable[[Files], BundleHeader]
    manifest: Callable[[BundleHeader, Files], bytes]
    migrate: Callable[[BundleHeader, Files], Content] | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """The members of a bundle as the newest schema has them, and what is really stored."""

    version: int
    header: BundleHeader
    files: Files
    stored: Files


class Schemas:
    """Every schema that is known, 1 first, without a gap."""

    def __init__(self, schemas: Sequence[Schema]) -> None:
        versions = [schema.version for schema in schemas]
        assert versions == list(range(1, len(schemas) + 1)), versions
        assert all(schema.migrate is not None for schema in schemas[1:]), versions
        self._schemas = tuple(schemas)

    @property
    def newest(self) -> Schema:
        return self._schemas[-1]

    def understood(self, members: Files) -> Understood:
        """What `members` say, once all of it was verified; Refusal names the schema or the file."""
        # Where only one schema is known its reader refuses the others, and the manifest of a large
        # bundle is not parsed twice.
        version = 1 if len(self._schemas) == 1 else _version_of(members)
        if not 1 <= version <= len(self._schemas):
            newer = version > len(self._schemas)
            raise Refusal(
                f"its schema_version is {version}, and this program reads {self._range()}",
                fix="update ryuzen-testops" if newer else DAMAGED_FIX,
            )
        schema = self._schemas[version - 1]
        header = schema.read(members)
        files: Files = {name: members[name] for name in sorted(members) if name != MANIFEST}
        stored = {**files, MANIFEST: schema.manifest(header, files)}
        for later in self._schemas[version:]:
            assert later.migrate is not None, later.version
            header, files = later.migrate(header, files)
        return Understood(version, header, files, stored)

    def with_next(self, schema: Schema) -> "Schemas":
        return Schemas((*self._schemas, schema))

    def _range(self) -> str:
        return " and ".join(str(schema.version) for schema in self._schemas[-2:])


def _version_of(members: Files) -> int:
    if MANIFEST not in members:
        raise Refusal(f"it has no {MANIFEST}, so it is not a bundle")
    document = parse(members[MANIFEST])
    version: Json = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise Refusal(f"its schema_version is {str(version)[:40]}, which is no number")
    return version


_known = [Schemas([Schema(1, verify_manifest, write_manifest)])]


def known() -> Schemas:
    """The schemas that this program knows."""
    return _known[-1]


@contextmanager
def registered(schema: Schema) -> Iterator[None]:
    """One schema more, while it lasts: how a schema is tried before any program writes it."""
    _known.append(known().with_next(schema))
    try:
        yield
    finally:
        _known.pop()
