"""asyncssh: a server with keys made in the program, a command, its input, its exit status."""

import asyncssh


async def handle(process):
    text = await process.stdin.read()
    process.stdout.write(f"{process.command}: {text.upper()}")
    process.exit(3)


class Server(asyncssh.SSHServer):
    def begin_auth(self, _name):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, name, password):
        return (name, password) == ("ann", "secret")


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], process_factory=handle
    )
    port = server.sockets[0].getsockname()[1]
    known = asyncssh.import_known_hosts(
        f"[127.0.0.1]:{port} {key.export_public_key().decode().strip()}\n"
    )
    options = {"known_hosts": known, "username": "ann", "client_keys": None, "config": None}
    async with asyncssh.connect("127.0.0.1", port, password="secret", **options) as connection:
        done = await connection.run("shout", input="hello")
    try:
        await asyncssh.connect("127.0.0.1", port, password="wrong", **options)
    except asyncssh.PermissionDenied:
        denied = True
    server.close()
    await server.wait_closed()
    assert (done.stdout, done.exit_status, denied) == ("shout: HELLO", 3, True)
    return [done.stdout, done.exit_status, denied]
