"""Whatever bytes a request is made of, it is admitted or refused, and nothing else."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.access import Access

from testops.access.asked import asked
from testops.access.guard import Guard
from testops.access.refused import Refused
from testops.access.settings import AccessSettings
from testops.storage.database import open_database

NAMES = st.sampled_from(
    [b"Host", b"Authorization", b"Cookie", b"Origin", b"Sec-Fetch-Site", b"X-Forwarded-For", b"X"]
)
VALUES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"localhost",
            b"127.0.0.1:8080",
            b"[::1",
            b"Bearer tops_0123456789abcdef_" + b"A" * 43,
            b"testops_session=" + b"A" * 43,
            b"http://[::1",
            b"null",
            b"cross-site",
        ]
    ),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    folder: Path = tmp_path_factory.mktemp("store")
    access = Access(open_database(f"sqlite:///{folder / 'testops.db'}"))
    wide = AccessSettings(address_rate="1000000/minute", failure_rate="1000000/minute")
    return Guard(access.store, access.clock, wide)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "get", "\x00"]),
    path=st.text(max_size=60),
    headers=HEADERS,
    client=st.one_of(st.just("192.0.2.7"), st.text(max_size=40)),
    query=st.text(max_size=80),
)
@example("GET", "/", [(b"Host", b"localhost"), (b"Origin", b"http://[")], "", "%ff=&&==")
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request_is_admitted_or_refused(
    guard: Guard,
    method: str,
    path: str,
    headers: list[tuple[bytes, bytes]],
    client: str,
    query: str,
) -> None:
    async def come_in() -> None:
        await guard.admit(asked(method, path, headers, client, query=query))

    with pytest.raises(Refused) as caught:
        asyncio.run(come_in())
    assert caught.value.status in {401, 403}
