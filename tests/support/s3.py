"""A real S3 server on this machine: moto, in a process of its own, checking every signature.

It knows one user, with keys that are made for each server; anybody else, and whoever signs with the
wrong secret, is refused.
"""

import contextlib
import datetime
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_START_S = 60.0
# What making the user takes; from then on every request must be signed by it.
_UNSIGNED_REQUESTS = 3
# Ends the server when pytest ends, even by kill -9: then nobody holds the other end of its input.
_WATCHED = '"$@" & read -r _; kill -9 $!'
_ALLOW_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the keys that it believes."""

    endpoint: str
    key: str
    secret: str

    def environment(self, **changes: str) -> dict[str, str]:
        """What a program needs to know of it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            **changes,
        }

    def new_bucket(self) -> str:
        """The name of an empty bucket, made with a request signed here: obstore makes none."""
        name = f"testops-{secrets.token_hex(8)}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        for header, value in _signed(self, f"/{name}").items():
            request.add_header(header, value)
        urllib.request.urlopen(request, timeout=10).close()
        return name


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server, for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        ["sh", "-c", _WATCHED, "sh", sys.executable, "-m", "moto.server", "-p", str(port)],
        stdin=subprocess.PIPE,
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_UNSIGNED_REQUESTS)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(endpoint, process)
        yield S3Server(endpoint, *_make_user(endpoint))
    finally:
        process.communicate()


def _wait_for(endpoint: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(int(_START_S / 0.1)):
        assert process.poll() is None, "moto's server ended: is the `dev` extra installed?"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return
        threading.Event().wait(0.1)
    raise AssertionError("moto's server did not start")


def _make_user(endpoint: str) -> tuple[str, str]:
    _ask_iam(endpoint, Action="CreateUser", UserName="testops")
    _ask_iam(
        endpoint,
        Action="PutUserPolicy",
        UserName="testops",
        PolicyName="all",
        PolicyDocument=json.dumps(_ALLOW_ALL),
    )
    answer = _ask_iam(endpoint, Action="CreateAccessKey", UserName="testops")
    key = re.search("<AccessKeyId>(.+?)</", answer)
    secret = re.search("<SecretAccessKey>(.+?)</", answer)
    assert key, answer
    assert secret, answer
    return key[1], secret[1]


def _ask_iam(endpoint: str, **question: str) -> str:
    body = urllib.parse.urlencode({**question, "Version": "2010-05-08"}).encode()
    scope = "nobody/20260101/us-east-1/iam/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    request = urllib.request.Request(endpoint, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def _signed(server: S3Server, path: str) -> Mapping[str, str]:
    """The headers of an empty PUT by Signature Version 4."""
    now = datetime.datetime.now(datetime.UTC)
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(b"").hexdigest()
    headers = {
        "host": server.endpoint.removeprefix("http://"),
        "x-amz-content-sha256": content,
        "x-amz-date": moment,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = hashlib.sha256(f"PUT\n{path}\n\n{lines}\n{names}\n{content}".encode()).hexdigest()
    scope = f"{day}/us-east-1/s3/aws4_request"
    key = f"AWS4{server.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{asked}".encode()
    signature = hmac.new(key, to_sign, hashlib.sha256).hexdigest()
    return {
        **headers,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={server.key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}",
    }
