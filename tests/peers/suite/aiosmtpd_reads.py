"""What aiosmtpd understands of octets: of each line `case TAB before TAB octets` the case, the octets
and what it understood.

The words are those of compare/src/differential/server.rs. No sockets: the protocol gets its octets
from a transport in memory, and is left to run until it has nothing more to do.
"""

import asyncio
import logging
import re
import sys

from aiosmtpd.smtp import SMTP

# Rounds of the event loop without anything new after which the protocol is idle.
IDLE = 50


def unescape(text):
    simple = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}

    def octets(match):
        hexadecimal, number, repeated, other = match.groups()
        if hexadecimal:
            return bytes([int(hexadecimal, 16)])
        return repeated * int(number) if number else simple[other.decode()]

    escapes = rb"\\(?:x([0-9a-f]{2})|\{(\d+)(.)\}|(.))"
    return re.sub(escapes, octets, text.encode(), flags=re.S)


def escape(octets):
    text = ""
    for run in re.finditer(rb"([A-Za-z])\1{19,}|.", octets, re.S):
        run, octet = run.group(), run.group()[0]
        if len(run) > 1:
            text += f"\\{{{len(run)}{chr(octet)}}}"
        elif octet in b"\r\n\t\0\\":
            text += {13: "\\r", 10: "\\n", 9: "\\t", 0: "\\0", 92: "\\\\"}[octet]
        else:
            text += chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}"
    return text


def octets_of(text):
    return (text or "").encode("utf-8", "surrogateescape")


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__({"peername": ("192.0.2.7", 25)})
        self.closed = False

    def write(self, data):
        pass

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True


class Reader(SMTP):
    """The server, its replies told apart from what the handler has told already."""

    understood: list
    told = False

    async def push(self, status):
        reply = octets_of(status) if isinstance(status, str) else status
        for line in reply.split(b"\r\n"):
            if line[3:4] == b"-":
                continue
            told, self.told = self.told, False
            if line.startswith(b"221"):
                self.understood.append("QUIT")
            elif line.startswith(b"354"):
                self.understood.append("DATA")
            elif not told:
                self.understood.append("ok" if line[:1] < b"4" else "refused")


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.tell(server, "MAIL", address, options)

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.tell(server, "RCPT", address, options)

    def tell(self, server, verb, address, options):
        address = escape(octets_of(address)) or "<>"
        options = sorted(escape(octets_of(option)) for option in options)
        server.understood.append(" ".join([verb, address, *options]))
        server.told = True
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        server.understood.append("message " + escape(envelope.original_content))
        server.told = True
        return "250 OK"


async def reads(before, octets):
    server = Reader(Handler(), hostname="mx.example.net", enable_SMTPUTF8=True, loop=asyncio.get_running_loop())
    server.understood = []
    transport = Transport()
    server.connection_made(transport)

    async def idle():
        for _ in range(IDLE):
            known = len(server.understood)
            await asyncio.sleep(0)
            while known != len(server.understood):
                known = len(server.understood)
                for _ in range(IDLE):
                    await asyncio.sleep(0)

    await idle()
    for line in before.splitlines(keepends=True):
        server.data_received(line)
        await idle()
    server.understood.clear()
    if octets:
        server.data_received(octets)
    await idle()
    if transport.closed and "QUIT" not in server.understood:
        server.understood.append("closed")
    server.connection_lost(None)
    return " | ".join(server.understood)


async def main():
    for line in sys.stdin:
        case, before, octets = line.rstrip("\n").split("\t")
        octets = unescape(octets)
        print(f"{case}\t{escape(octets)}\t{await reads(unescape(before), octets)}")


logging.disable()
asyncio.run(main())
