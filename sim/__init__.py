"""Programs that are run inside the simulator, and the command that runs them."""
