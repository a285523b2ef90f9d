"""TLS over simulated sockets; the fixture certificates are valid from 2000 to 2100."""

import asyncio
import ssl
from pathlib import Path

TLS = Path(__file__).parent / "tls"


def server_context(kind="rsa", clients=False, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{kind}.pem")
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS / "ca.pem")
    if version is not None:
        context.maximum_version = version
    return context


def client_context(certificate=False):
    context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    if certificate:
        context.load_cert_chain(TLS / "client.pem")
    return context


async def talk(kind="rsa", version=None, host="localhost", clients=False, certificate=False):
    async def shout(reader, writer):
        writer.write((await reader.readline()).upper())
        subjects.append(subject(writer))
        await writer.drain()
        writer.close()

    subjects = []
    context = server_context(kind, clients, version)
    async with await asyncio.start_server(shout, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(certificate), server_hostname=host
        )
        seen = [writer.get_extra_info("cipher")[1], subject(writer)]
        writer.write(b"secret\n")
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    return [answer, *seen, subjects]


def subject(writer):
    certificate = writer.get_extra_info("peercert")
    return certificate["subject"][0][0][1] if certificate else None


async def over_rsa():
    return await talk()


async def over_ecdsa():
    return await talk("ecdsa")


async def over_ed25519():
    return await talk("ed25519")


async def over_tls_1_2():
    return await talk("rsa", ssl.TLSVersion.TLSv1_2)


async def with_a_client_certificate():
    return await talk(clients=True, certificate=True)


async def without_the_client_certificate_that_is_asked_for():
    try:
        return await talk(clients=True, version=ssl.TLSVersion.TLSv1_2)
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__ in ("SSLError", "ConnectionResetError")


async def for_another_host():
    try:
        await talk(host="elsewhere")
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


async def with_a_certificate_of_2030():
    try:
        await talk("late")
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


async def upgraded_on_both_sides():
    async def serve(reader, writer):
        if await reader.readline() == b"STARTTLS\n":
            writer.write(b"go ahead\n")
            await writer.drain()
            await writer.start_tls(server_context())
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        answers = [await reader.readline()]
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        answers.append(await reader.readline())
        writer.close()
    return [answer.decode() for answer in answers]


async def random_bytes_of_openssl():
    return [ssl.RAND_bytes(8).hex(), ssl.RAND_status()]
