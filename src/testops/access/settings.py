"""What an operator decides about admission, read from the environment once, at the start."""

from collections.abc import Mapping
from dataclasses import dataclass

from testops.domain.errors import BadInput

SESSION_S = 8 * 3600
LINK_S = 10 * 60
ROTATION_OVERLAP_S = 24 * 3600
SIGNING_KEY_LENGTH_MIN = 32


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The defaults are those of a person at their own machine."""

    # Names besides localhost and literal addresses that `Host` may say.
    hosts: tuple[str, ...] = ()
    # Where browsers find this server; https here makes the cookie Secure behind a proxy.
    public_url: str = ""
    # Proxies whose `X-Forwarded-For` is believed.
    proxies: tuple[str, ...] = ()
    # /metrics without a key, for a scraper that cannot send one.
    open_metrics: bool = False
    principal_rate: str = "6000/minute"
    address_rate: str = "12000/minute"
    # Wrong secrets of an address; then the store is not asked any more.
    failure_rate: str = "20/minute"
    # Signs the head of the audit log; None leaves it unsigned.
    signing_key: bytes | None = None
    session_s: int = SESSION_S
    link_s: int = LINK_S


def settings_from(environment: Mapping[str, str]) -> AccessSettings:
    """What `TESTOPS_ALLOWED_HOSTS`, `_PUBLIC_URL` and so on say; see `AccessSettings`."""
    defaults = AccessSettings()
    public_url = environment.get("TESTOPS_PUBLIC_URL", "").rstrip("/")
    if public_url and not public_url.startswith(("http://", "https://")):
        raise BadInput(
            f"{public_url!r} is no URL", where="TESTOPS_PUBLIC_URL", fix="begin it with https://"
        )
    return AccessSettings(
        hosts=_hosts(environment.get("TESTOPS_ALLOWED_HOSTS", ""), public_url),
        public_url=public_url,
        proxies=_listed(environment.get("TESTOPS_TRUSTED_PROXIES", "")),
        open_metrics=_flag(environment, "TESTOPS_OPEN_METRICS"),
        principal_rate=environment.get("TESTOPS_RATE_LIMIT") or defaults.principal_rate,
        signing_key=signing_key_from(environment.get("TESTOPS_AUDIT_KEY", "")),
    )


def signing_key_from(text: str) -> bytes | None:
    """The key that signs the audit log's head; None when there is none."""
    if not text:
        return None
    if len(text) < SIGNING_KEY_LENGTH_MIN:
        raise BadInput(
            f"the key has only {len(text)} characters",
            where="TESTOPS_AUDIT_KEY",
            fix=f"give at least {SIGNING_KEY_LENGTH_MIN}, as from `openssl rand -hex 32`",
        )
    return text.encode()


def _hosts(text: str, public_url: str) -> tuple[str, ...]:
    named = _listed(text)
    if not public_url:
        return named
    own = public_url.partition("://")[2].partition("/")[0]
    return (*named, own.rpartition(":")[0] if _has_port(own) else own)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _has_port(authority: str) -> bool:
    return authority.rpartition(":")[2].isdigit() and ":" in authority


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").strip().lower()
    if text in {"", "0", "false", "no"}:
        return False
    if text in {"1", "true", "yes"}:
        return True
    raise BadInput(f"{text!r} is neither yes nor no", where=name, fix="write 1 or 0")
