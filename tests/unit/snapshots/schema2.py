"""A schema that exists in tests only: a manifest names its layout, and no faults go unsaid."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from testops.snapshots.canonical import Json, canonical, parse
from testops.snapshots.manifest import MANIFEST, BundleHeader, verify_manifest, write_manifest
from testops.snapshots.refusal import Refusal
from testops.snapshots.schemas import Files, Schema, registered


def _read(members: Files) -> BundleHeader:
    document = parse(members[MANIFEST])
    assert isinstance(document, dict)
    if document.pop("layout", None) != "flat":
        raise Refusal("its manifest names no layout")
    return verify_manifest({**members, MANIFEST: canonical(document | {"schema_version": 1})})


def _manifest(header: BundleHeader, files: Files) -> bytes:
    document = parse(write_manifest(header, files))
    assert isinstance(document, dict)
    return canonical(document | {"schema_version": 2, "layout": "flat"})


def _migrate(header: BundleHeader, files: Files) -> tuple[BundleHeader, Mapping[str, bytes]]:
    return header, {path: _without_no_faults(path, files[path]) for path in files}


def _without_no_faults(path: str, content: bytes) -> bytes:
    if not path.startswith("kernels/"):
        return content
    document: Json = parse(content)
    assert isinstance(document, dict)
    if document.get("faults") == []:
        del document["faults"]
    return canonical(document)


SCHEMA_2 = Schema(2, _read, _manifest, _migrate)


@contextmanager
def schema_2() -> Iterator[None]:
    """As a program that knows schema 2 would be."""
    with registered(SCHEMA_2):
        yield
