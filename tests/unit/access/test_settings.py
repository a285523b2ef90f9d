"""What an operator writes is read, or refused with its name."""

import pytest

from testops.access.settings import AccessSettings, settings_from
from testops.domain.errors import BadInput


def test_nothing_said_is_a_person_at_their_own_machine() -> None:
    assert settings_from({}) == AccessSettings()


def test_everything_said_is_read() -> None:
    found = settings_from(
        {
            "TESTOPS_ALLOWED_HOSTS": "a.example, *.b.example,",
            "TESTOPS_PUBLIC_URL": "https://ci.example.org:8443/",
            "TESTOPS_OPEN_METRICS": "1",
            "TESTOPS_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "TESTOPS_RATE_LIMIT": "10/second",
            "TESTOPS_AUDIT_KEY": "k" * 32,
        }
    )
    assert found.hosts == ("a.example", "*.b.example", "ci.example.org")
    assert found.public_url == "https://ci.example.org:8443"
    assert (found.open_metrics, found.principal_rate) == (True, "10/second")
    assert found.proxies == ("10.0.0.0/8", "::1")
    assert found.signing_key == b"k" * 32


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TESTOPS_PUBLIC_URL", "ci.example.org"),
        ("TESTOPS_OPEN_METRICS", "perhaps"),
        ("TESTOPS_AUDIT_KEY", "short"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=name):
        settings_from({name: text})
