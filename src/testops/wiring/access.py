"""Access over an open database: keys, sessions and the guard, with real time and real chance."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from testops.access.audit import SIGNING_KEY_BYTES, Signer
from testops.access.guard import Guard
from testops.access.keys import Keys
from testops.access.oidc import OidcSettings, oidc_settings_from
from testops.access.sessions import Sessions
from testops.access.settings import AccessSettings, settings_from
from testops.domain.access import Principal, Role
from testops.domain.errors import BadInput
from testops.runner.files import make_folder, write_new
from testops.storage.access import AccessTables
from testops.storage.database import Database
from testops.telemetry.clock import Clock, SystemClock

SIGNING_KEY_FILE = "audit.key"
# Where the server of a data directory was reached last, for those who print links to it.
SERVER_URL_FILE = "server.url"
_SAYS_WHERE = ("TESTOPS_PUBLIC_URL", "TESTOPS_HOST", "TESTOPS_PORT")
_LOCAL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - read, not bound


@dataclass(frozen=True, slots=True)
class Access:
    """Everything about access in one process."""

    settings: AccessSettings
    signer: Signer
    store: AccessTables
    keys: Keys
    sessions: Sessions
    guard: Guard
    oidc: OidcSettings | None


def access_over(
    database: Database,
    data: Path,
    environment: Mapping[str, str],
    *,
    clock: Clock | None = None,
) -> Access:
    """Access in `database`, as the environment wants it."""
    clock = clock or SystemClock()
    settings = settings_from(environment)
    if settings.signing_key is None and database.is_sqlite:
        # One machine has one key. Several that share a PostgreSQL must be given the same.
        settings = replace(settings, signing_key=_kept_key(data / SIGNING_KEY_FILE))
    signer = Signer(settings.signing_key)
    store = AccessTables(database, signer)
    _require_key(store, signer)
    return Access(
        settings,
        signer,
        store,
        Keys(store, clock, os.urandom),
        Sessions(store, clock, os.urandom, settings),
        Guard(store, clock, settings),
        oidc_settings_from(environment, base_url=server_url(environment)),
    )


def local_operator() -> Principal:
    """Whoever can open the database themselves: there is nothing that we could withhold."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"user {os.getuid()}"
    return Principal(name, "local", "terminal", Role.SECURITY)


def known_url(environment: Mapping[str, str], data: Path) -> str:
    """As `server_url`; without a word in the environment, where the last server of `data` was."""
    kept = data / SERVER_URL_FILE
    if any(environment.get(name) for name in _SAYS_WHERE) or not kept.is_file():
        return server_url(environment)
    return kept.read_text().strip()


def server_url(environment: Mapping[str, str]) -> str:
    """Where a browser of this machine finds the server that this environment starts."""
    public = environment.get("TESTOPS_PUBLIC_URL", "").rstrip("/")
    if public:
        return public
    host = environment.get("TESTOPS_HOST", "")
    port = environment.get("TESTOPS_PORT") or "8080"
    reached = _LOCAL_HOSTS.get(host, host)
    bare_v6 = ":" in reached and not reached.startswith("[")
    return f"http://{f'[{reached}]' if bare_v6 else reached}:{port}"


def _require_key(store: AccessTables, signer: Signer) -> None:
    """A signed log is not continued by somebody who cannot sign."""
    head = store.head() if signer.key is None else None
    if head is not None and head.signature:
        raise BadInput(
            f"the audit log is signed with the key {head.signer}, which is not here",
            where="TESTOPS_AUDIT_KEY",
            fix="set it as on the other machines",
        )


def _kept_key(path: Path) -> bytes:
    """The key in `path`, drawn when there is none; whoever comes second takes the first one's."""
    if not path.exists():
        # Nobody else looks into this folder, so the key is never anybody else's to read.
        make_folder(path.parent).chmod(0o700)
        if write_new(path, os.urandom(SIGNING_KEY_BYTES).hex().encode()):
            path.chmod(0o600)
    key = path.read_bytes().strip()
    if len(key) != 2 * SIGNING_KEY_BYTES:
        raise BadInput(
            "is not the key that signs the audit log",
            where=str(path),
            fix="put the right one back; without it, move the file away and verify from then on",
        )
    return key
