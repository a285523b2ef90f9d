"""A shelf in an object store that speaks S3, through `obstore` (the extra `s3`).

An address is `s3://BUCKET/PREFIX`. Keys, region and endpoint are the variables that every S3
program reads: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
AWS_ENDPOINT_URL. Without keys the machine's own role is asked, as everywhere.

The client signs, retries what may be retried, and sends large contents in parts. Every writing
replaces a name whole, and every reading sees the last writing: S3 promises both.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testops.domain.errors import BadInput, StoreUnavailable
from testops.snapshots.objects.ports import Entry

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", re.ASCII)
_PREFIX_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*", re.ASCII)
_REGION = "us-east-1"
_KEYS_FIX = "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or the key's rights"
_PASSED_ON = {
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket, and the folder in it that is ours."""

    bucket: str
    prefix: str

    def text(self) -> str:
        return SCHEME + "/".join(part for part in (self.bucket, self.prefix) if part)


def address_of(text: str, *, where: str) -> Address:
    """The address that `text` spells; BadInput names the variable `where` it stands."""
    found = _ADDRESS.fullmatch(text)
    prefix = (found[2] or "").removesuffix("/") if found else ""
    if found is None or not all(_PREFIX_PART.fullmatch(p) for p in prefix.split("/") if prefix):
        raise BadInput(
            f"{text[:200]!r} is not s3://BUCKET/PREFIX",
            where=where,
            fix="a bucket has 3 to 63 small letters, digits, dots and dashes",
        )
    return Address(found[1], prefix)


class S3Shelf:
    """Names are keys below the prefix of an `Address`."""

    parallel = 16

    def __init__(self, address: Address, environment: Mapping[str, str], *, where: str) -> None:
        self._address = address
        self._store = _opened(address, environment, where=where)

    def write(self, name: str, content: bytes) -> None:
        with self._reported():
            self._store.put(name, content)

    def write_file(self, name: str, path: Path) -> None:
        """Like `write`, for a content that need not fit into memory."""
        with path.open("rb") as file, self._reported():
            self._store.put(name, file)

    def read(self, name: str) -> bytes | None:
        with self._reported():
            try:
                return bytes(self._store.get(name).bytes())
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def read_part(self, name: str, *, offset: int, length: int) -> bytes | None:
        """At most `length` bytes from `offset` on; None when there is no such name."""
        entry = self.entry(name)
        if entry is None:
            return None
        length = min(length, entry.size - offset)
        if length <= 0:
            return b""
        with self._reported():
            try:
                return bytes(self._store.get_range(name, start=offset, length=length))
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def parts(self, name: str) -> Iterable[bytes] | None:
        """The whole content, in parts that fit into memory; None when there is no such name."""
        with self._reported():
            try:
                stream = self._store.get(name).stream()
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None
        return self._reported_parts(stream)

    def _reported_parts(self, stream: Iterable[Any]) -> Iterator[bytes]:
        with self._reported():
            for part in stream:
                yield bytes(part)

    def entry(self, name: str) -> Entry | None:
        with self._reported():
            try:
                return _entry(self._store.head(name))
            except FileNotFoundError as error:
                self._require_bucket(error)
                return None

    def entries(self, prefix: str) -> Iterator[Entry]:
        found = []
        with self._reported():
            for page in self._store.list(prefix.rstrip("/") or None):
                found += [_entry(meta) for meta in page]
        yield from sorted(found, key=lambda entry: entry.name)

    def remove(self, name: str) -> None:
        # What is not there is no error to S3; some that speak it answer 404.
        with self._reported(), contextlib.suppress(FileNotFoundError):
            self._store.delete(name)

    def remove_all(self, names: Sequence[str]) -> None:
        if names:  # one question for every thousand
            with self._reported(), contextlib.suppress(FileNotFoundError):
                self._store.delete(list(names))

    def tidy(self) -> int:
        return 0  # an upload that was broken off is no name; a lifecycle rule of the bucket ends it

    def shown(self) -> str:
        return self._address.text()

    def _require_bucket(self, error: FileNotFoundError) -> None:
        if "NoSuchBucket" in str(error):
            raise self._no_bucket() from error

    def _no_bucket(self) -> BadInput:
        return BadInput(
            "there is no such bucket", where=self.shown(), fix="create it, or name another"
        )

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> BadInput | StoreUnavailable:
        # By what the server answered where the client has no class for it: it has none for what
        # goes wrong in a listing.
        said = str(error)
        if "NoSuchBucket" in said:
            return self._no_bucket()
        if isinstance(error, _refusals()) or "403 Forbidden" in said or "401 Unauthorized" in said:
            return BadInput(
                f"the object store refuses us ({_code_in(said)})",
                where=self.shown(),
                fix=_KEYS_FIX,
            )
        return StoreUnavailable(
            f"the object store {self.shown()} does not answer as it should "
            f"({_first_line(said)}); mend or start it (AWS_ENDPOINT_URL), then run again"
        )


def _refusals() -> tuple[type[Exception], ...]:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    return PermissionDeniedError, UnauthenticatedError


def _opened(address: Address, environment: Mapping[str, str], *, where: str) -> "S3Store":
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise BadInput(
            f"{address.text()} needs the object store client, which is not installed",
            where=where,
            fix="pip install 'ryuzen-testops[s3]'",
        ) from error
    given = {
        name: value
        for name, variables in _PASSED_ON.items()
        if (value := next((environment[v] for v in variables if environment.get(v)), ""))
    }
    endpoint = given.get("endpoint", "")
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise BadInput(
            f"{endpoint[:200]!r} is no http(s) address", where="AWS_ENDPOINT_URL", fix="correct it"
        )
    options: dict[str, Any] = {"region": _REGION, **given}
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=120),
        },
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
        **options,
    )


def _entry(meta: Any) -> Entry:
    return Entry(str(meta["path"]), int(meta["size"]), meta["last_modified"].astimezone(UTC))


def _code_in(said: str) -> str:
    found = re.search(r"<Code>([A-Za-z]{1,80})</Code>|(40[13] [A-Z][a-z]+)", said)
    return (found[1] or found[2]) if found else _first_line(said)


def _first_line(said: str) -> str:
    return (said.splitlines() or ["no reason given"])[0][:300]
