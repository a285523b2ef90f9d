"""Many runs: one execution in a clean process, and the verbs that are made of executions."""
