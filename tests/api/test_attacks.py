"""What a hostile client can send costs little, and is refused with a problem."""

import json
import resource
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import World, problem

from testops.api.limits import BODY_BYTES_MAX, HEADER_BYTES_MAX

RUNS = "/v1/test-runs"


def post(client: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return client.post(
        RUNS, content=content, headers={"content-type": "application/json", **headers}
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"suite": "core", "suite": "core"}',
        b'{"suite": NaN}',
        b'{"suite": "\\ud800"}',
        b'{"suite": ' + b"9" * 5000 + b"}",
        b'{"suite": "core"} trailing',
    ],
)
def test_what_is_not_json_is_a_problem(client: httpx.Client, body: bytes) -> None:
    problem(post(client, body), 400, "malformed-request")


@pytest.mark.parametrize("depth", [61, 900, 100_000, 400_000])
def test_a_tower_of_brackets_is_refused(client: httpx.Client, depth: int) -> None:
    body = b'{"suite": ' + b"[" * depth + b"]" * depth + b"}"
    response = post(client, body)
    assert response.status_code == 422
    assert "nested deeper" in response.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/yaml", "application/x-yaml", "", "a/b"]
)
def test_only_json_is_read(client: httpx.Client, kind: str) -> None:
    body = b"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    problem(post(client, body, **{"content-type": kind}), 415, "unsupported-media-type")


def test_a_large_body_is_refused_before_it_is_read(client: httpx.Client) -> None:
    response = post(client, b"x" * (BODY_BYTES_MAX + 1))
    problem(response, 413, "body-too-large")
    assert response.headers["connection"] == "close"


def test_a_large_body_in_chunks_is_refused_while_it_is_read(client: httpx.Client) -> None:
    def chunks() -> Any:
        for _ in range(200):
            yield b" " * 10_000

    try:
        response = client.post(RUNS, content=chunks(), headers={"content-type": "application/json"})
    except httpx.WriteError:
        pytest.skip("the server closed the connection before the client had read the answer")
    problem(response, 413, "body-too-large")


def raw(address: str, text: bytes, *, seconds: float = 10) -> bytes:
    """What the server answers to these very bytes."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(text)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
            if b"problem" in received and received.endswith(b"}"):
                break
        return received


def head(world: World, length: int) -> bytes:
    from testops.domain.access import Role

    token = world.token(Role.OPERATOR)
    return (
        f"POST {RUNS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_body_that_crawls_is_cut_off(address: str, world: World) -> None:
    began = time.monotonic()
    received = raw(address, head(world, 1000) + b"{")
    assert b" 408 " in received.split(b"\r\n")[0]
    assert b"urn:testops:problem:request-timeout" in received
    # The application under test gives a body half a second.
    assert time.monotonic() - began < 5


def test_a_crawling_body_without_a_key_is_not_even_waited_for(address: str) -> None:
    text = f"POST {RUNS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{{".encode()
    began = time.monotonic()
    assert b" 401 " in raw(address, text).split(b"\r\n")[0]
    assert time.monotonic() - began < 0.4


def test_many_headers_are_refused(client: httpx.Client) -> None:
    many = {f"x-{number}": "1" for number in range(200)}
    problem(client.get(RUNS, headers=many), 431, "headers-too-large")


def test_large_headers_are_refused_by_the_server(address: str) -> None:
    text = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Flood: " + b"x" * (HEADER_BYTES_MAX * 8)
    try:
        received = raw(address, text)
    except ConnectionError:
        return  # closed while we were sending: refused as well
    assert b" 400 " in received.split(b"\r\n")[0] or b" 431 " in received.split(b"\r\n")[0]


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "/etc/passwd",
        "reports/../../secret",
        "reports%00.txt",
        "..\\..\\windows\\win.ini",
    ],
)
def test_no_path_leads_out_of_the_artifacts(
    client: httpx.Client, address: str, world: World, path: str
) -> None:
    run_id = client.post(RUNS, json={"suite": "core"}).json()["run_id"]
    world.execute(run_id, files={"reports/a.txt": b"kept"})
    token = client.headers["authorization"]
    # By hand: a client library would tidy the path up.
    text = (
        f"GET {RUNS}/{run_id}/artifacts/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {token}\r\nConnection: close\r\n\r\n"
    ).encode()
    received = raw(address, text)
    assert b" 404 " in received.split(b"\r\n")[0], received
    assert b"root:" not in received


@pytest.mark.parametrize("name", ["../../etc/passwd", "core.yaml", "/etc/passwd", "..", "a/b"])
def test_no_name_leads_out_of_the_suites(client: httpx.Client, name: str) -> None:
    for body in ({"suite": name}, {"suite": "core", "profile": name}):
        assert client.post(RUNS, json=body).status_code == 422
    assert client.get(f"/v1/suites/{name}").status_code in (404, 422)


def test_a_kernel_outside_the_project_is_refused(client: httpx.Client, world: World) -> None:
    (world.root / "outside.py").write_text("def echo(): ...\n")
    (world.root / "default" / "sim" / "link.py").symlink_to(world.root / "outside.py")
    for run in ("../outside.py::echo", "sim/link.py::echo"):
        suite = {
            "schema": 1,
            "name": "evil",
            "seeds": {"sim": 1, "chaos": 2},
            "stages": {"sim": {"kernels": {"echo": {"run": run}}}},
        }
        body = problem(client.post(RUNS, json={"suite": suite}), 422, "invalid-suite")
        assert body["errors"][0]["pointer"] == "/stages/sim/kernels/echo/run"
        assert "leaves the project" in body["errors"][0]["detail"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "alias"),
        ("[" * 5000, "levels"),
        ("- a\n" * 200_000, "values"),
        ("x" * 1_000_001, "larger than"),
    ],
)
def test_a_bomb_in_a_workspace_is_a_problem_and_memory_stays_flat(
    client: httpx.Client, world: World, text: str, said: str
) -> None:
    (world.root / "default" / "suites" / "bomb.yaml").write_text(text)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    body = problem(client.post(RUNS, json={"suite": "bomb"}), 422, "invalid-suite")
    assert said in body["detail"]
    listed = client.get("/v1/suites").json()["suites"]
    assert said in next(one["problem"] for one in listed if one["name"] == "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 40_000


def test_large_json_costs_little_memory(client: httpx.Client) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for body in (
        {"suite": "core", "labels": {f"l{number}": "x" for number in range(50_000)}},
        {"suite": {"schema": 1, **{f"f{number}": number for number in range(50_000)}}},
    ):
        raw_body = json.dumps(body, separators=(",", ":")).encode()
        assert len(raw_body) < BODY_BYTES_MAX
        response = post(client, raw_body)
        assert response.status_code == 422
        assert len(response.content) < 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 150_000


def test_answers_tell_browsers_to_guess_nothing(client: httpx.Client) -> None:
    for path in ("/", "/v1/test-runs", "/healthz", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    preflight = client.options(
        RUNS, headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 405
    assert "access-control-allow-origin" not in preflight.headers


def test_a_file_of_the_server_is_in_no_problem(client: httpx.Client, world: World) -> None:
    for body in ({"suite": "nothing"}, {"suite": "core", "profile": "nothing"}):
        assert str(world.root) not in client.post(RUNS, json=body).text
    assert str(Path.home()) not in client.get("/openapi.json").text
