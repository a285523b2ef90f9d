"""What the `cryptography` library draws by itself, and libraries on top of it."""

import asyncio
import datetime
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.x509.oid import NameOID

try:
    from aioquic.asyncio import connect, serve
    from aioquic.quic.configuration import QuicConfiguration
except ImportError:
    pass

RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw


async def keys_and_signatures():
    found = [
        kind.generate().public_key().public_bytes(*RAW)
        for kind in (x25519.X25519PrivateKey, ed25519.Ed25519PrivateKey)
    ]
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()):
        key = ec.generate_private_key(curve)
        found.append(key.sign(b"x", ec.ECDSA(hashes.SHA256())))
        key.public_key().verify(found[-1], b"x", ec.ECDSA(hashes.SHA256()))
    return found


async def paddings_of_rsa():
    key, found = rsa.generate_private_key(65537, 2048), []
    public = key.public_key()
    mgf, sha = padding.MGF1(hashes.SHA256()), hashes.SHA256()
    for salt in (padding.PSS.MAX_LENGTH, padding.PSS.DIGEST_LENGTH, 20):
        found.append(key.sign(b"message", padding.PSS(mgf, salt), sha))
        public.verify(found[-1], b"message", padding.PSS(mgf, salt), sha)
    for pad in (padding.OAEP(mgf, hashes.SHA1(), b"label"), padding.PKCS1v15()):
        found.append(public.encrypt(b"secret", pad))
        assert key.decrypt(found[-1], pad) == b"secret"
    assert key.sign(b"message", padding.PKCS1v15(), sha)
    try:
        public.encrypt(bytes(500), padding.PKCS1v15())
    except ValueError:
        found.append("too long")
    return found


def certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
    return builder.sign(key, hashes.SHA256())


async def certificates():
    made = certificate(ec.generate_private_key(ec.SECP256R1()))
    return made.public_bytes(serialization.Encoding.DER)


async def quic_echo():
    tasks = []

    def on_stream(reader, writer):
        async def answer():
            writer.write((await reader.read()).upper())
            writer.write_eof()

        tasks.append(asyncio.ensure_future(answer()))

    key = ec.generate_private_key(ec.SECP256R1())
    serving = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    serving.certificate, serving.private_key = certificate(key), key
    server = await serve("::", 4433, configuration=serving, stream_handler=on_stream)
    asking = QuicConfiguration(alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE)
    async with connect("localhost", 4433, configuration=asking) as client:
        reader, writer = await client.create_stream()
        writer.write(b"hello quic")
        writer.write_eof()
        answer = await reader.read()
    server.close()
    return answer.decode()
