"""tenacity: exponential retry with jitter, a stop, a result that is retried."""

import tenacity


async def main():
    tries = []

    @tenacity.retry(
        wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.05),
        stop=tenacity.stop_after_attempt(5),
        retry=tenacity.retry_if_exception_type(OSError),
    )
    async def third_time():
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return "done"

    @tenacity.retry(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_fixed(0.01))
    async def never():
        raise ValueError("never")

    found = [await third_time(), len(tries)]
    try:
        await never()
    except tenacity.RetryError as error:
        found.append(error.last_attempt.attempt_number)
    assert found == ["done", 3, 2]
    return found
