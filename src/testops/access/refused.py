"""What a request gets that is not admitted. `api` and `sse_gateway` turn it into a response."""

from collections.abc import Mapping

from testops.domain.errors import TestOpsError


class Refused(TestOpsError):
    """What a request gets instead of an answer: `status` is 401, 403, 404, 429 or 503.

    `title` names the kind of refusal and never changes; `detail` is for the person; `headers` go
    into the response.
    """

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(f"{title}: {detail}")


CHALLENGE = {"WWW-Authenticate": 'Bearer realm="testops"'}


def unknown(detail: str) -> Refused:
    """401: nobody knows who asks."""
    return Refused(401, "Not authenticated", detail, CHALLENGE)


def forbidden(detail: str) -> Refused:
    """403: it is known who asks, and the answer is no."""
    return Refused(403, "Not allowed", detail)


def too_many(detail: str, *, retry_after_s: int, headers: Mapping[str, str]) -> Refused:
    """429: the same request may be right later."""
    return Refused(
        429, "Too many requests", detail, {**headers, "Retry-After": str(max(1, retry_after_s))}
    )
