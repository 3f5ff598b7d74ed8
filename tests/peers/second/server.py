"""The server: python3 -m second.server --store DIR [options].

It takes mail for example.net but refused@ (550) and later@ (450). It prints where it listens and
what happens, and reads what it is to do: see second/wire.py. It may be killed at any time.
"""

import argparse
import asyncio
import re

from .session import Session
from .store import Store
from .wire import Wire, say


class Service:
    """What all sessions have in common."""

    def __init__(self, options):
        self.options = options
        self.wire = Wire()
        self.store = Store(options.store, lambda record: say("dsn", name=record.name, recipients=record.reported))
        self.loop = asyncio.get_running_loop()

    def start(self):
        for key in self.store.undecided:
            self.decide(self.store.resume(key))

    def decide(self, decision):
        say("deciding", size=decision.record.stored)
        self.wire.reached("deciding")
        decision.task = self.loop.create_task(self._scan(decision))

    async def _scan(self, decision):
        record = decision.record
        if self.options.scan == "told":
            verdict = await self.wire.verdicts.get()
        else:
            await asyncio.sleep(float(self.options.scan))
            verdict = dict(one.split("=", 1) for one in self.options.reject)
        every = verdict.get("*", "250 2.0.0 Ok")
        fault = self._fault(record)
        results = {rcpt["path"]: fault or verdict.get(rcpt["path"], every) for rcpt in record.accepted()}
        self.store.commit(decision, results, self.wire.reached)
        say("committed", reply=record.reply)

    def _fault(self, record):
        """Bare CR and LF: looked for in the whole, so that those before a cut count as well."""
        if (record.mail["parameters"].get("BODY") or "").upper() == "BINARYMIME":
            return None
        if re.search(rb"(?<!\r)\n|\r(?!\n)", self.store.content(record).read_bytes()):
            return "550 5.6.0 Bare CR or LF"
        return None

    @staticmethod
    def recipient(address):
        """The reply to RCPT."""
        local, _, domain = address.rpartition("@")
        if domain.lower() != "example.net":
            return "550 5.7.1 Not here"
        return {"refused": "550 5.1.1 No such user", "later": "450 4.2.1 Come again"}.get(local, "250 2.1.5 Recipient ok")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--hostname", default="second.example.net")
    parser.add_argument("--checkpoint-every", type=int, default=65536, metavar="OCTETS")
    parser.add_argument("--size", type=int, default=20_000_000)
    parser.add_argument("--scan", default="0", metavar="SECONDS", help="how long a decision takes, or `told`: until a verdict comes")
    parser.add_argument("--reject", action="append", default=[], metavar="ADDRESS=REPLY", help="a verdict of every scan")
    parser.add_argument("--rdlv", type=int, metavar="MINTIMER")
    parser.add_argument("--no-120-for", action="append", default=[], metavar="VERB", help="answered 520 under RDLV")
    parser.add_argument("--deta", action="store_true")
    parser.add_argument("--wordy", action="store_true", help="a 355 of several lines, and a tab behind its offset")
    parser.add_argument("--detached-limit", type=int, default=8, metavar="N")
    options = parser.parse_args()
    if options.deta and options.rdlv is None:
        parser.error("DETA needs RDLV")
    return options


async def main():
    service = Service(arguments())
    listening = await service.loop.create_server(lambda: Session(service), "127.0.0.1", service.options.port)
    say("listening", port=listening.sockets[0].getsockname()[1])
    service.start()
    # Its standard input ends with whoever started it.
    await service.wire.listen()


if __name__ == "__main__":
    asyncio.run(main())
