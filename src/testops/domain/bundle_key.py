"""What a baseline is filed under: the same for a bundle, a review and a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BundleKey:
    """What a baseline is filed under. An engine version ends in its minor: `toron-v2.5H+.1`."""

    suite: str
    profile: str
    engine_version: str
    python: str

    def text(self) -> str:
        return (
            f"suite {self.suite}, profile {self.profile}, engine {self.engine_version}, "
            f"Python {self.python}"
        )

    def to_json(self) -> dict[str, str]:
        return {
            "suite": self.suite,
            "profile": self.profile,
            "engine_version": self.engine_version,
            "python": self.python,
        }
