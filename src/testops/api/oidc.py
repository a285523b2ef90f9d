"""Logging in by an organisation's OpenID Connect issuer: code flow with PKCE, by Authlib.

What Authlib leaves to its caller is done here: the issuer is the configured one, only asymmetric
signatures count, the audience is us, and keys that the issuer withdrew are forgotten. The state of
a login that is under way is a signed cookie of ten minutes, for these two paths alone.
"""

import hashlib
import hmac
import logging
import warnings
from typing import Any

from starlette.requests import Request

from testops.access.audit import clean
from testops.access.oidc import OidcSettings, Vouched, vouched
from testops.access.refused import Refused, unknown
from testops.domain.errors import BadInput
from testops.telemetry.clock import Clock

STATE_COOKIE = "testops_oidc"
STATE_S = 600
METADATA_S = 3600
LEEWAY_S = 60
TIMEOUT_S = 10
# Not HS*: its key would be the client's secret. Not `none`.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
PATH = "/login/oidc"

_log = logging.getLogger(__name__)


class OidcLogin:
    """One issuer, spoken to; it stands in `app.state.oidc`, or None does."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._loaded_s: float | None = None
        self._client, self._wrong, self._failed = _client(settings)
        from itsdangerous import URLSafeTimedSerializer

        # Derived, so that several API processes understand each other's cookies.
        key = hmac.new(settings.client_secret.encode(), b"testops oidc state", hashlib.sha256)
        self._states = URLSafeTimedSerializer(key.digest(), salt=STATE_COOKIE)

    async def begin(self, request: Request) -> tuple[str, str]:
        """Where to send the browser, and the state to keep in its cookie meanwhile."""
        await self._load()
        session: dict[str, Any] = {}
        request.scope["session"] = session
        response = await self._client.authorize_redirect(request, self._settings.redirect_uri)
        return response.headers["location"], self._states.dumps(session)

    async def finish(self, request: Request) -> Vouched:
        """Who came back from the issuer; `Refused` when that cannot be believed."""
        request.scope["session"] = self._state_in(request)
        await self._load()
        try:
            token = await self._client.authorize_access_token(
                request, claims_options=self._claims_options(), leeway=LEEWAY_S
            )
        except self._failed as error:
            raise _away(error) from error
        except self._wrong as error:
            # What exactly is wrong is for the operator; an attacker need not learn it.
            _log.warning("a login by %s was refused: %s", self._settings.issuer, clean(repr(error)))
            raise unknown("the issuer's answer cannot be believed; log in again") from error
        if not token.get("userinfo"):
            raise unknown("the issuer sent no id token; log in again")
        return vouched(token["userinfo"], self._settings)

    def _state_in(self, request: Request) -> dict[str, Any]:
        from itsdangerous import BadSignature

        try:
            state = self._states.loads(request.cookies.get(STATE_COOKIE, ""), max_age=STATE_S)
        except BadSignature as error:
            raise unknown("this login was not begun in this browser; log in again") from error
        return dict(state)

    def _claims_options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.client_id},
            "nonce": {"essential": True},
        }

    async def _load(self) -> None:
        """The issuer's metadata; after an hour it and the keys are asked for anew."""
        metadata = self._client.server_metadata
        now_s = self._clock.elapsed_s()
        if self._loaded_s is not None and now_s - self._loaded_s < METADATA_S:
            return
        metadata.clear()
        try:
            await self._client.load_server_metadata()
        except (self._failed, ValueError) as error:
            metadata.clear()
            raise _away(error) from error
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        usable = [name for name in ALGORITHMS if name in offered]
        if metadata.get("issuer") != self._settings.issuer or not usable:
            metadata.clear()
            _log.error("%s is not the issuer that it says, or signs weakly", self._settings.issuer)
            raise _away(None)
        metadata["id_token_signing_alg_values_supported"] = usable
        self._loaded_s = now_s


def _client(
    settings: OidcSettings,
) -> tuple[Any, tuple[type[Exception], ...], type[Exception]]:
    """Authlib's client, what it raises about answers that are wrong, and where none came."""
    try:
        # Authlib says, past every filter, that it would rather have httpx2; httpx is what is here.
        with warnings.catch_warnings(record=True):
            import httpx
            from authlib.common.errors import AuthlibBaseError
            from authlib.integrations.starlette_client import OAuth
            from joserfc.errors import JoseError
    except ImportError as error:
        raise BadInput(
            f"logging in by an issuer needs {error.name}",
            where="TESTOPS_OIDC_ISSUER",
            fix="pip install 'ryuzen-testops[oidc]'",
        ) from error
    well_known = settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
    client = OAuth().register(
        "testops",
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        server_metadata_url=well_known,
        client_kwargs={
            "scope": settings.scope,
            "code_challenge_method": "S256",
            "timeout": TIMEOUT_S,
        },
    )
    wrong = (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError)
    return client, wrong, httpx.HTTPError


def _away(error: Exception | None) -> Refused:
    if error is not None:
        _log.warning("the issuer does not answer: %s", clean(repr(error)))
    return Refused(
        503, "Not available", "the issuer cannot be asked now; log in by a link, or try again",
        {"Retry-After": "10"},
    )  # fmt: skip


def state_cookie(value: str, *, secure: bool, age_s: int = STATE_S) -> str:
    """The `Set-Cookie` header of a login that is under way."""
    # Lax: the browser must bring it along when the issuer sends it back.
    tail = "; Secure" if secure else ""
    return f"{STATE_COOKIE}={value}; Path={PATH}; Max-Age={age_s}; HttpOnly; SameSite=Lax{tail}"
