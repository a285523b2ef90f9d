"""Finds the policy that judges a run, wherever it is kept, and says which one it was.

A run keeps the definition itself, so a policy that is changed later changes no run that has begun.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testops.domain.errors import BadInput
from testops.domain.policy import Policy, PolicyAsked, ServerPolicy
from testops.domain.scoring import PolicyRef
from testops.runner.documents import Document, read_document
from testops.runner.projects import Project
from testops.runner.suites import file_called, require_own_name, require_plain_name, validate
from testops.snapshots.canonical import canonical, storable

# The policy of that name on the server, with the version that the server counts; None: it has none.
PolicyCalled = Callable[[str], Policy | None]


@dataclass(frozen=True, slots=True)
class Named:
    """A policy with what a run calls it."""

    policy: Policy

    @property
    def ref(self) -> PolicyRef:
        return PolicyRef(self.policy.name, self.policy.version, digest_of(self.policy))

    def to_json(self) -> dict[str, Any]:
        """As the question of a run holds it."""
        return {**self.ref.to_json(), "definition": definition_of(self.policy)}


def definition_of(policy: Policy) -> dict[str, Any]:
    """The policy as it is written, with its defaults."""
    return policy.model_dump(mode="json", by_alias=True)


def digest_of(policy: Policy) -> str:
    """The sha256 of the policy's canonical JSON (RFC 8785)."""
    return hashlib.sha256(canonical(storable(definition_of(policy)))).hexdigest()


def policy_for(
    asked: PolicyAsked | None, project: Project, on_server: PolicyCalled | None
) -> Named | None:
    """The policy that `asked` means; `BadInput` where there is none of that name."""
    match asked:
        case None:
            return None
        case Policy():
            return Named(asked)
        case ServerPolicy(server=name):
            return Named(_of_server(name, on_server))
        case _:
            return Named(load_policy(asked, project))


def load_policy(name: str, project: Project) -> Policy:
    """The policy `policies/NAME.yaml` of the project."""
    require_plain_name(name, "policy")
    path = file_called(name, "policy", policies_of(project))
    document = read_document(path, shown=project.shown(path))
    policy = validate(Policy, document)
    require_own_name(policy.name, path, project)
    return policy


def policies_of(project: Project) -> Path:
    """The folder of its policies."""
    return project.root / "policies"


def policy_given(definition: Mapping[str, Any]) -> Policy:
    """A policy that came with a request."""
    return validate(Policy, Document("policy", definition, {}))


def _of_server(name: str, on_server: PolicyCalled | None) -> Policy:
    if on_server is None:
        raise BadInput(
            f"the policy {name!r} is kept by a server, and this run is none of a server's",
            where="/policy/server",
            fix="run it there (TESTOPS_URL), or name a policy of policies/",
            pointer="/policy/server",
        )
    found = on_server(name)
    if found is None:
        raise BadInput(
            f"the server has no policy {name!r}",
            where="/policy/server",
            fix=f"put it there: PUT /v1/policies/{name}",
            pointer="/policy/server",
        )
    return found
