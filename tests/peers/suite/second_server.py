"""The example client with the second server, which is cut, killed and slow where it is told to be."""

import re
import subprocess

from second import grammar

from . import harness as h
from .examples import Sender, example
from .harness import case, check, equal
from .second_peers import ANN, BOB, CAROL, MEMORY, PATIENCE, SMALL, SecondServer, on_wire

PEERS = ("second-server",)
DELIVERED, REFUSED, AGAIN = 0, 69, 75


def prepare(_name):
    example("send")
    with SecondServer():
        return "examples/send, into the second server"


def letter(octets, *more, recipients=(BOB,)):
    return Sender(octets, recipients, ANN, more, within=MEMORY)


def restarted(result, least, most):
    """Where the last attempt went on, as the client's trace shows it; 0 where it began anew."""
    found = [line.split("355 ")[1].split()[0] for line in result.err.decode().splitlines() if "S: 355 " in line]
    offset = int(found[-1]) if found else 0
    check(least <= offset <= most, f"went on at {offset}, not between {least} and {most}\n{result}")


def line_start(octets, cut):
    """The start of the last line of which `cut` octets on the wire hold the beginning."""
    wire = octets.replace(b"\r\n.", b"\r\n..")[:cut]
    return len(wire[:wire.rfind(b"\r\n") + 2].replace(b"\r\n..", b"\r\n.")) if b"\r\n" in wire else 0


def _cut_everywhere(end, expected, delivered, *more):
    with SecondServer() as it:
        for cut in range(end + 1):
            sender = letter(SMALL, *more)
            it.at("data", "cut", cut)
            sender.expect(it, AGAIN)
            offset = expected(cut)
            restarted(sender.expect(it, DELIVERED), offset, offset)
            it.taken(delivered)
        sender.expect(it, DELIVERED)  # the journal knows that there is nothing left to do
        it.taken()


@case("second-server.cut-everywhere")
def _():
    whole = h.canonical(SMALL)
    _cut_everywhere(on_wire(whole), lambda cut: line_start(whole, cut), whole)


@case("second-server.cut-bdat-everywhere")
def _():
    """The whole message in one chunk, cut anywhere in it and in its command."""
    command = len(f"BDAT {len(SMALL)} LAST\r\n")
    _cut_everywhere(command + len(SMALL), lambda cut: max(0, cut - command), SMALL, "--bdat")


@case("second-server.355-of-several-lines")
def _():
    """The offset is the first thing on the first line; all else is text."""
    with SecondServer("--wordy") as it:
        for cut in (0, 1000, on_wire(h.dots()) - 3, on_wire(h.dots())):
            sender = letter(h.dots())
            it.at("data", "cut", cut)
            sender.expect(it, AGAIN)
            sender.expect(it, DELIVERED)
            it.taken(h.dots())


@case("second-server.transids")
def _():
    """One for all attempts at a transaction, another one for every other; and short enough."""
    seen = set()
    with SecondServer() as it:
        for recipients in ((BOB,), (BOB,), (BOB, CAROL)):
            sender = letter(h.dots(), recipients=recipients)
            used = set()
            for cut in (0, 1000, 1000, None):
                if cut is not None:
                    it.at("data", "cut", cut)
                result = sender.expect(it, AGAIN if cut is not None else DELIVERED)
                used.update(re.findall(r"TRANSID=(\S+)", result.err.decode()))
            transid, = used
            check(grammar.transid(transid) and len(transid) <= 79, f"TRANSID={transid}")
            check(transid not in seen, f"TRANSID={transid} again")
            seen.add(transid)
            it.taken(h.dots())


@case("second-server.cut-again-and-again")
def _():
    octets = h.dots()
    with SecondServer() as it:
        for more in ((), ("--bdat",)):
            sender = letter(octets, *more, recipients=(BOB, "refused@example.net", CAROL))
            for cut in (3000, 1, 0, 2999, 17):
                it.at("data", "cut", cut)
                sender.expect(it, AGAIN)
            restarted(sender.expect(it, REFUSED), 4500, 6100)
            equal([rcpt["path"] for rcpt in it.taken(octets)["rcpts"]], [BOB, CAROL], "recipients")


@case("second-server.dies")
def _():
    """SIGKILL of the server at each point where it hurts, and another start on the same store."""
    octets = h.dots()
    with SecondServer("--checkpoint-every", 100) as it:
        for point, after, least, most in (
            ("data", 0, 0, 0), ("data", 500, 400, 500), ("deciding", 0, len(octets), len(octets)),
            ("committed", 0, len(octets), len(octets)), ("final", 0, len(octets), len(octets)),
        ):
            for more in ((), ("--bdat",)):
                sender = letter(octets, *more)
                it.at(point, "die", after)
                sender.expect(it, AGAIN)
                it.died()
                it.start()
                # One chunk is read in one piece, with nothing to be synced before it.
                restarted(sender.expect(it, DELIVERED), least if not more or point != "data" else 0, most)
                it.taken(octets)


@case("second-server.client-killed")
def _():
    """SIGKILL of the client in its data, behind them, and after each of two more tries."""
    octets = h.large(300_000)
    with SecondServer() as it:
        for cuts in ((100,), (150_000, 1000, 0), (on_wire(octets) - 1,), (on_wire(octets), 3)):
            sender = letter(octets)
            for cut in cuts:
                it.forget()
                it.at("data", "stall", cut)
                running = subprocess.Popen(
                    [str(part) for part in sender.command(it)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                try:
                    it.heard("stalled")
                finally:
                    running.kill()
                    running.wait(PATIENCE)
                it.tell(go=True)
                it.heard("ended")
            sender.expect(it, DELIVERED)
            it.taken(octets)


@case("second-server.store-lost")
def _():
    """A server that has forgotten everything gets the whole message again."""
    octets = h.dots()
    sender = letter(octets, recipients=(BOB, CAROL))
    with SecondServer() as it:
        it.at("data", "cut", 5000)
        sender.expect(it, AGAIN)
    with SecondServer() as it:
        restarted(sender.expect(it, DELIVERED), 0, 0)
        it.taken(octets)


@case("second-server.final-reply-lost")
def _():
    """Whatever the reply is, the next attempt gets it, and no second copy is made."""
    with SecondServer("--scan", "told") as it:
        for more in ((), ("--bdat",)):
            for reply, code in (("250 2.0.0 Ok", DELIVERED), ("550 5.7.1 No", REFUSED)):
                sender = letter(h.dots(), *more)
                it.verdict(reply)
                it.at("final", "cut")
                sender.expect(it, AGAIN)
                sender.expect(it, code)
                it.taken(*([h.dots()] if code == DELIVERED else []))
        # A 4yz is given once more; the attempt after it is a new transaction.
        sender = letter(h.dots())
        it.verdict("451 4.3.2 Later")
        it.at("final", "cut")
        sender.expect(it, AGAIN)
        restarted(sender.expect(it, AGAIN), len(h.dots()), len(h.dots()))
        it.verdict()
        restarted(sender.expect(it, DELIVERED), 0, 0)
        it.taken(h.dots())


@case("second-server.decision-outlives-connection")
def _():
    with SecondServer("--scan", "told") as it:
        sender = letter(h.dots())
        it.at("data", "cut", on_wire(h.dots()))
        sender.expect(it, AGAIN)
        it.forget()
        running = subprocess.Popen(
            [str(part) for part in sender.command(it)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            it.heard("deciding")
        finally:
            running.kill()
            running.wait(PATIENCE)
        it.heard("ended")
        it.verdict()
        it.heard("committed")
        restarted(sender.expect(it, DELIVERED), len(h.dots()), len(h.dots()))
        it.taken(h.dots())


@case("second-server.refused-recipients")
def _():
    with SecondServer() as it:
        sender = letter(h.plain(), recipients=(BOB, "refused@example.net", "later@example.net"))
        sender.expect(it, AGAIN)
        equal([rcpt["path"] for rcpt in it.taken(h.plain())["rcpts"]], [BOB], "recipients")
        sender.expect(it, AGAIN)  # only for whom it is to be tried again
        it.taken()
