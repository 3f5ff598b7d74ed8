"""An aiosmtpd server that keeps each message and its envelope: PORT DIRECTORY."""

import asyncio
import json
import os
import pathlib
import signal
import sys

from aiosmtpd.smtp import SMTP


class Keep:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 5.1.1 No such user"
        if address.startswith("later@"):
            return "450 4.2.1 Come again"
        if not address.endswith("@example.net"):
            return "550 5.7.1 Relay not permitted"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        head = json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "options": envelope.mail_options})
        part = self.directory.parent / f"{self.count}.part"
        part.write_bytes(b"X-Envelope: " + head.encode() + b"\r\n" + envelope.original_content)
        os.rename(part, self.directory / f"{self.count:06}")
        return "250 2.0.0 Kept"


async def main(port, directory):
    loop = asyncio.get_running_loop()
    handler = Keep(directory)
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="aiosmtpd.example.net", enable_SMTPUTF8=True,
                     data_size_limit=20_000_000, loop=loop),
        "127.0.0.1", port)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    server.close()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
