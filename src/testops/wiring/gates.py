"""What gates are held against on a server, by the store; and for a project, by its disk."""

from collections.abc import Sequence

from testops.domain.history import History
from testops.domain.waiver import Waiver
from testops.runner.policies import PolicyCalled
from testops.storage.database import Database
from testops.storage.history import WorkspaceHistory
from testops.storage.policies import PolicyStore
from testops.storage.waivers import WaiverStore


def server_policies(database: Database) -> PolicyCalled:
    """The policies that suites and requests take from the server, by name."""
    return PolicyStore(database).called


class StoredGrounds:
    """`runner.worker_ports.Grounds` by the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, workspace: str) -> History:
        return WorkspaceHistory(self._database, workspace)

    def waivers(self, workspace: str) -> Sequence[Waiver]:
        return WaiverStore(self._database).of(workspace)
