"""The edge of the simulated world: what of the real one is replaced, and what is refused.

Installed once in a process that will run one execution and end; nothing is ever put back.
"""
