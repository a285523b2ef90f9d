"""Planning as a server does it: the names of kernels are read, nothing of a project is imported."""

from testops import engine
from testops.runner.builds import SharedBuilds
from testops.runner.kernel_names import functions_in
from testops.runner.planning import Means
from testops.runner.policies import PolicyCalled
from testops.wiring import draw_seed


def means(policy_called: PolicyCalled | None = None) -> Means:
    """What planning needs from outside; `policy_called` names the policies of the server."""
    return Means(
        kernels_in=functions_in,
        engine_version=engine.ENGINE_VERSION,
        draw_seed=draw_seed,
        build_of=SharedBuilds().build_of,
        run_command=lambda _: "testops run",
        policy_called=policy_called,
    )
