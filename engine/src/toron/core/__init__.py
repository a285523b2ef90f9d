"""One run made deterministic: choices, clock, agenda, trace, and the loop that ties them."""
