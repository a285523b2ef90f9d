"""Why one run failed, in words: what deviated, what led to it, whether asyncio could do it."""
