"""Who may do what: roles, the permissions each of them grants, and the principal that holds one.

How somebody proves to be a principal belongs to `testops.access`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What somebody is here to do; viewer < operator < maintainer, and security beside them."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    MAINTAINER = "maintainer"
    # Hands out keys and reads the audit log, and neither starts nor approves anything: whoever
    # decides about access is not the one whose work the access log records.
    SECURITY = "security"

    def covers(self, other: "Role") -> bool:
        """Whether this role may do everything that `other` may."""
        return GRANTS[other] <= GRANTS[self]


class Permission(StrEnum):
    """One thing that a request can ask for."""

    RUNS_READ = "runs.read"
    RUNS_CREATE = "runs.create"
    RUNS_CANCEL = "runs.cancel"
    RUNS_PIN = "runs.pin"
    SUITES_READ = "suites.read"
    SNAPSHOTS_READ = "snapshots.read"
    SNAPSHOTS_COMPARE = "snapshots.compare"
    # Keep the bundle of a run, check what is kept, and execute it again.
    SNAPSHOTS_CAPTURE = "snapshots.capture"
    SNAPSHOTS_APPROVE = "snapshots.approve"
    # Pin, let go, and remove what nobody holds.
    SNAPSHOTS_MANAGE = "snapshots.manage"
    SCHEDULES_READ = "schedules.read"
    SCHEDULES_MANAGE = "schedules.manage"
    INCIDENTS_READ = "incidents.read"
    INCIDENTS_MANAGE = "incidents.manage"
    POLICIES_READ = "policies.read"
    POLICIES_MANAGE = "policies.manage"
    WAIVERS_READ = "waivers.read"
    WAIVERS_MANAGE = "waivers.manage"
    WORKSPACES_READ = "workspaces.read"
    WORKSPACES_MANAGE = "workspaces.manage"
    RELEASES_MANAGE = "releases.manage"
    METRICS_READ = "metrics.read"
    # Look at and end one's own session, renew one's own key, log one's own browser in.
    SELF_MANAGE = "self.manage"
    KEYS_MANAGE = "keys.manage"
    AUDIT_READ = "audit.read"


_VIEWS = frozenset(
    {
        Permission.RUNS_READ,
        Permission.SUITES_READ,
        Permission.SNAPSHOTS_READ,
        Permission.SCHEDULES_READ,
        Permission.INCIDENTS_READ,
        Permission.POLICIES_READ,
        Permission.WAIVERS_READ,
        Permission.WORKSPACES_READ,
        Permission.METRICS_READ,
        Permission.SELF_MANAGE,
    }
)
_OPERATES = _VIEWS | {
    Permission.RUNS_CREATE,
    Permission.RUNS_CANCEL,
    Permission.SNAPSHOTS_COMPARE,
    Permission.SNAPSHOTS_CAPTURE,
    Permission.INCIDENTS_MANAGE,
}
_MAINTAINS = _OPERATES | {
    Permission.RUNS_PIN,
    Permission.SNAPSHOTS_APPROVE,
    Permission.SNAPSHOTS_MANAGE,
    Permission.SCHEDULES_MANAGE,
    Permission.POLICIES_MANAGE,
    Permission.WAIVERS_MANAGE,
    Permission.WORKSPACES_MANAGE,
    Permission.RELEASES_MANAGE,
}
GRANTS: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWS,
    Role.OPERATOR: _OPERATES,
    Role.MAINTAINER: _MAINTAINS,
    Role.SECURITY: _VIEWS | {Permission.KEYS_MANAGE, Permission.AUDIT_READ},
}


def reaches(own: frozenset[str] | None, wanted: frozenset[str] | None) -> bool:
    """Whether a scope of workspaces contains another; None is every workspace."""
    return own is None or (wanted is not None and wanted <= own)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved who they are; `workspaces` None means every workspace."""

    name: str
    kind: str
    id: str
    role: Role
    workspaces: frozenset[str] | None = None
    expires_at: datetime | None = None

    def may(self, permission: Permission, workspace: str | None = None) -> bool:
        """Whether this principal may do that, in `workspace` when one is named."""
        if permission not in GRANTS[self.role]:
            return False
        return workspace is None or self.sees(workspace)

    def sees(self, workspace: str) -> bool:
        return self.workspaces is None or workspace in self.workspaces

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "id": self.id,
            "role": self.role.value,
            "workspaces": None if self.workspaces is None else sorted(self.workspaces),
            "permissions": sorted(GRANTS[self.role]),
            "expires_at": None if self.expires_at is None else timestamp(self.expires_at),
        }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every time of the platform is written."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
