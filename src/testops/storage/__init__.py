"""The adapters that keep things: SQL, files and the durable queue, behind the ports of others."""
