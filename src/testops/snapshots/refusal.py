"""What the layers inside a bundle say when they refuse it; they do not know which file it is.

`bundle` knows, and turns each refusal into the `BadInput` that a caller sees.
"""

DAMAGED_FIX = "copy it again from where it was made, or run the suite again"
FOREIGN_FIX = "only use bundles that `testops run` or `sim/run_suite.py` wrote"


class Refusal(Exception):
    """One reason why these bytes are not believed, and what its owner can do about it."""

    def __init__(self, problem: str, *, fix: str = DAMAGED_FIX) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem)
