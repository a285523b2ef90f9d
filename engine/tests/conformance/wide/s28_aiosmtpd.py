"""aiosmtpd and aiosmtplib: a mail over STARTTLS."""

import asyncio
import ssl
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
from aiosmtpd.smtp import SMTP

CERTIFICATE = Path(__file__).parents[1] / "programs" / "localhost.pem"


class Box:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):
        self.mails.append([envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()])
        return "250 kept"


async def main():
    box = Box()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(box, tls_context=context, require_starttls=True, hostname="mail", loop=loop),
        "127.0.0.1",
        0,
    )
    port = server.sockets[0].getsockname()[1]
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "bob@example.org", "tea"
    mail.set_content("at five?")
    trusted = ssl.create_default_context(cafile=CERTIFICATE)
    errors, answer = await aiosmtplib.send(
        mail,
        hostname="127.0.0.1",
        port=port,
        start_tls=True,
        tls_context=trusted,
        local_hostname="client",
    )
    server.close()
    assert not errors
    assert "at five?" in box.mails[0][2]
    return [answer, box.mails[0][:2]]
