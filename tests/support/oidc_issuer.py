"""A small OpenID Connect issuer on loopback: discovery, authorize, token and keys, really signed.

`fault` makes it lie in one way at a time.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "testops"
CLIENT_SECRET = "the secret of the client"


def _part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """Who it vouches for, and how it lies."""

    port: int = 0
    fault: str = ""
    claims: dict[str, Any] = field(
        default_factory=lambda: {
            "sub": "auth|42",
            "preferred_username": "ada",
            "groups": ["staff", "qa"],
        }
    )
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    keys: dict[str, RSAKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rotate("first")
        self.other = RSAKey.generate_key(2048, {"kid": "first"})

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on, and publish no other."""
        self.keys = {kid: RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metadata(self) -> dict[str, Any]:
        algorithms = ["none", "HS256"] if self.fault == "weak algorithms" else ["RS256", "none"]
        return {
            "issuer": "http://127.0.0.1:1" if self.fault == "another issuer" else self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
            "code_challenge_methods_supported": ["S256"],
        }

    def jwks(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    def authorize(self, query: dict[str, str]) -> str:
        """The redirect back, for somebody who agreed at once."""
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"]})

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = _part(hashlib.sha256(verifier.encode()).digest())
        if asked is None or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        if form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        answer = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 60}
        if self.fault != "no id token":
            answer["id_token"] = self._id_token(asked["nonce"])
        return 200, answer

    def _id_token(self, nonce: str) -> str:
        claims = self._claims(nonce)
        [(kid, key)] = self.keys.items()
        match self.fault:
            case "unknown kid":
                return jwt.encode({"alg": "RS256", "kid": "never published"}, claims, key)
            case "forged signature":
                return jwt.encode({"alg": "RS256", "kid": kid}, claims, self.other)
            case "alg none":
                return f"{_part({'alg': 'none', 'kid': kid})}.{_part(claims)}."
            case "alg HS256":
                # The classic: the public key, taken for a shared secret.
                signed = f"{_part({'alg': 'HS256', 'kid': kid})}.{_part(claims)}"
                mac = hmac.new(key.as_pem(private=False), signed.encode(), hashlib.sha256)
                return f"{signed}.{_part(mac.digest())}"
            case "tampered":
                token = jwt.encode({"alg": "RS256", "kid": kid}, claims, key)
                head, _, signature = token.split(".")
                return f"{head}.{_part({**claims, 'groups': ['admins']})}.{signature}"
            case "garbage":
                return "not a token"
            case _:
                return jwt.encode({"alg": "RS256", "kid": kid}, claims, key)

    def _claims(self, nonce: str) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 60,
            "nonce": nonce,
            **self.claims,
            **_LIES.get(self.fault, {}),
        }
        if self.fault == "expired":
            claims |= {"iat": now - 7200, "exp": now - 3600}
        return {name: value for name, value in claims.items() if value is not None}


_LIES: dict[str, dict[str, Any]] = {
    "wrong nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "wrong audience": {"aud": "another client"},
    "wrong issuer": {"iss": "https://evil.example"},
    "no expiry": {"exp": None},
}


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.issuer.asked.append(parts.path)
        if parts.path == "/authorize":
            self._redirect(self.issuer.authorize(_flat(parts.query)))
        elif parts.path == "/jwks":
            self._answer(200, self.issuer.jwks())
        elif parts.path == "/.well-known/openid-configuration":
            self._answer(500 if self.issuer.fault == "broken" else 200, self.issuer.metadata())
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        self.issuer.asked.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self._answer(*self.issuer.token(_flat(body), self.headers.get("authorization", "")))

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("location", target)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing on standard error."""


def _flat(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that answers for as long as the block lasts."""
    issuer = Issuer()
    handler = type("Handler", (_Handler,), {"issuer": issuer})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        issuer.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
