"""backoff: full jitter until it works, and a handler that counts."""

import backoff


async def main():
    seen = []

    @backoff.on_exception(
        backoff.expo,
        OSError,
        factor=0.01,
        max_tries=5,
        on_backoff=lambda d: seen.append(d["tries"]),
    )
    async def flaky():
        if len(seen) < 3:
            raise OSError("not yet")
        return "done"

    @backoff.on_predicate(backoff.constant, interval=0.01, max_tries=3)
    async def falsy():
        seen.append("asked")

    found = [await flaky(), await falsy(), seen]
    assert found == ["done", None, [1, 2, 3, "asked", "asked", "asked"]]
    return found
