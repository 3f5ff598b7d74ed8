"""The second implementation with itself: that it can be trusted to judge."""

import contextlib

from . import harness as h
from .harness import case, check, equal, once
from .second_dialogues import DIALOGUES
from .second_peers import ANN, BOB, CAROL, SMALL, SecondClient, SecondServer, on_wire, on_wire_in_chunks, reset_at_once

PEERS = ("second",)


@once
def server():
    """One server for all cases that neither kill it nor need another."""
    return SecondServer("--rdlv", 1, "--deta", "--scan", "told", "--detached-limit", 1)


def prepare(_name):
    server()
    return "the second implementation, with itself"


@contextlib.contextmanager
def deciding():
    """The common server, which decides when it is told to."""
    it = server()
    try:
        yield it
    except h.Failed as error:
        raise h.Failed(f"{error}\n{it.dialogue()}") from error


# ---------------------------------------------------------------- CHECKPOINT

def _cut_everywhere(delivered, end, *options):
    with SecondServer() as it:
        for cut in range(end + 1):
            client = SecondClient(SMALL, *options)
            client.run(it, "--cut-after", cut, outcome="interrupted")
            client.run(it, outcome="delivered")
            it.taken(delivered)


@case("second.client-cuts-everywhere")
def _():
    _cut_everywhere(h.canonical(SMALL), on_wire(SMALL))


@case("second.client-cuts-bdat-everywhere")
def _():
    _cut_everywhere(SMALL, on_wire_in_chunks(SMALL, 9), "--bdat", 9)


@case("second.server-cuts-everywhere")
def _():
    with SecondServer() as it:
        for cut in range(on_wire(SMALL) + 1):
            client = SecondClient(SMALL)
            it.at("data", "cut", cut)
            client.run(it, outcome="interrupted")
            client.run(it, outcome="delivered")
            it.taken(h.canonical(SMALL))


@case("second.cut-twice-and-reset")
def _():
    octets = h.dots()
    with SecondServer("--checkpoint-every", 100) as it:
        for first in range(7, len(octets), 997):
            client = SecondClient(octets, recipients=(BOB, CAROL))
            client.run(it, "--cut-after", first, at_cut=reset_at_once, outcome="interrupted")
            second = client.run(it, "--cut-after", 100, outcome="interrupted")["offset"] or 0
            third = client.run(it, "--repeat", outcome="delivered")["offset"] or 0
            check(second <= third, f"the offset went back from {second} to {third}")
            envelope = it.taken(octets)
            equal([rcpt["path"] for rcpt in envelope["rcpts"]], [BOB, CAROL], "recipients")


@case("second.server-dies")
def _():
    """SIGKILL at each point where it hurts, and another start on the same store."""
    octets = h.dots()
    with SecondServer("--checkpoint-every", 100) as it:
        for point, after, least, most in (
            ("data", 0, 0, 0), ("data", 500, 400, 500), ("deciding", 0, len(octets), len(octets)),
            ("committed", 0, len(octets), len(octets)), ("final", 0, len(octets), len(octets)),
        ):
            client = SecondClient(octets, recipients=(BOB, CAROL))
            it.at(point, "die", after)
            client.run(it, outcome="interrupted")
            it.died()
            it.start()
            offset = client.run(it, outcome="delivered")["offset"] or 0
            check(least <= offset <= most, f"offset {offset} after the end at {point}")
            it.taken(octets)


@case("second.client-dies")
def _():
    with SecondServer() as it:
        for cut in (0, 700, on_wire(h.dots()) - 2):
            client = SecondClient(h.dots())
            equal(client.process(it, "--cut-after", cut, "--cut-how", "kill"), -9, "exit code")
            it.heard("ended")
            client.run(it, outcome="delivered")
            it.taken(h.dots())


@case("second.final-reply-lost")
def _():
    with SecondServer() as it:
        client = SecondClient(h.plain())
        it.at("final", "cut")
        client.run(it, outcome="interrupted")
        equal(client.run(it, outcome="delivered")["offset"], len(h.plain()), "offset")
        it.taken(h.plain())


# --------------------------------------------------- decisions that take time

def _sends(octets, *options, **more):
    return SecondClient(octets, "--rdlv", 600, *options, **more)


@case("second.refusals-are-retained")
def _():
    with deciding() as it:
        for reply, outcome in (("550 5.7.1 No", "refused"), ("451 4.3.2 Later", "deferred")):
            client = SecondClient(h.plain())
            it.at("final", "cut")
            it.verdict(reply)
            client.run(it, outcome="interrupted")
            equal(client.run(it, outcome=outcome)["reply"], reply, "the reply that was lost")
            it.taken()


@case("second.decision-outlives-connection")
def _():
    with deciding() as it:
        client = SecondClient(h.plain())
        client.run(it, "--cut-after", on_wire(h.plain()), outcome="interrupted")
        it.heard("deciding")
        client.run(it, "--cut-after", 3, outcome="interrupted")  # the empty DATA, and gone again
        it.verdict()
        it.heard("committed")
        equal(client.run(it, outcome="delivered")["offset"], len(h.plain()), "offset")
        it.taken(h.plain())


@case("second.carries-on")
def _():
    """Two 120s; the result that comes behind the second is held until CONT."""
    with deciding() as it:
        for octets, options in ((h.plain(), ()), (h.dots(), ("--bdat", 1000))):
            client = _sends(octets, *options)

            def at_120(number):
                if number == 1:
                    it.tell(tick=True)
                else:
                    it.verdict()
                    it.heard("committed")

            it.tell(tick=True)
            equal(client.run(it, at_120=at_120, outcome="delivered")["waits"], 2, "number of 120s")
            it.taken(octets)


@case("second.carries-on-by-the-clock")
def _():
    """maxtimer=1: the 120 comes within the second, by itself."""
    with deciding() as it:
        client = SecondClient(h.plain(), "--rdlv", 1)
        client.run(it, at_120=lambda number: it.verdict(), outcome="delivered")
        it.taken(h.plain())


@case("second.aborts")
def _():
    with deciding() as it:
        client = _sends(h.plain(), "--on-120", "rset", "--aborts")
        it.tell(tick=True)
        client.run(it, outcome="aborted")
        it.heard("aborted")
        it.taken()


@case("second.aborts-too-late")
def _():
    with deciding() as it:
        client = _sends(h.plain(), "--on-120", "rset", "--aborts")

        def decided(_number):
            it.verdict()
            it.heard("committed")

        it.tell(tick=True)
        check("554" in client.run(it, at_120=decided, outcome="interrupted")["reply"], "an abort that came too late")
        client.run(it, outcome="delivered")
        it.taken(h.plain())


@case("second.gone-behind-120")
def _():
    """With a TRANSID the decision goes on; without one the message is abandoned."""
    with deciding() as it:
        client = _sends(h.plain(), "--on-120", "drop")
        it.tell(tick=True)
        client.run(it, outcome="interrupted")
        it.verdict()
        it.heard("committed")
        client.run(it, outcome="delivered")
        it.taken(h.plain())

        client = _sends(h.plain(), "--on-120", "drop", "--plain")
        it.tell(tick=True)
        client.run(it, outcome="unknown")
        it.taken()


@case("second.silent-behind-120")
def _():
    """No CONT within maxtimer and a margin: the server closes."""
    with deciding() as it:
        client = SecondClient(h.plain(), "--rdlv", 1)
        client.run(it, at_120=lambda number: it.heard("ended"), outcome="interrupted")
        it.verdict()
        it.heard("committed")
        client.run(it, outcome="delivered")
        it.taken(h.plain())


def _detached(it, *options, **more):
    client = _sends(h.plain(), "--on-120", "deta", *options, **more)
    it.tell(tick=True)
    client.run(it, outcome="detached")
    it.heard("detached")
    return client


@case("second.detaches")
def _():
    with deciding() as it:
        _detached(it, "--ret", "HDRS", "--envid", "e+2B1", "--orcpt", recipients=(BOB, CAROL))
        it.taken()
        it.verdict(bob="550 5.2.2 Full")
        it.heard("dsn")
        it.heard("committed")
        envelope = it.taken(h.plain())
        equal([rcpt["path"] for rcpt in envelope["rcpts"]], [CAROL], "who has it")
        report, = it.reports()
        equal(report, {
            "to": ANN, "ret": "HDRS", "original-envelope-id": "e+2B1", "recipients": [{
                "original-recipient": f"rfc822;{BOB}", "final-recipient": f"rfc822;{BOB}", "action": "failed",
                "status": "5.2.2", "diagnostic-code": "smtp;550 5.2.2 Full",
            }],
        }, "the DSN")


@case("second.detaches-without-report")
def _():
    """NOTIFY=NEVER, and the null reverse-path: a failure is nobody's."""
    with deciding() as it:
        for options, more in ((("--notify", "NEVER"), {}), ((), {"sender": ""})):
            _detached(it, *options, **more)
            it.verdict("550 5.7.1 No")
            it.heard("committed")
            it.taken()
            equal(it.reports(), [], "DSNs")


@case("second.detaches-and-comes-back")
def _():
    with deciding() as it:
        # After the decision: taken, or reported.
        for verdict, reports in (("250 2.0.0 Ok", 0), ("550 5.7.1 No", 1)):
            client = _detached(it, "--come-back")
            it.verdict(verdict)
            it.heard("committed")
            client.run(it, outcome="delivered")
            equal(len(it.reports()), reports, "DSNs")
            it.taken(*([h.plain()] if not reports else []))
        # Before it: the failure is the client's again, and nothing is reported.
        client = _detached(it, "--come-back")
        it.tell(tick=True)
        client.run(it, "--on-120", "cont", at_120=lambda number: it.verdict("550 5.7.1 No"), outcome="refused")
        equal(it.reports(), [], "DSNs")
        # Taken back and lost again before the reply: reported after all.
        client = _detached(it, "--come-back")
        it.at("final", "cut")
        it.tell(tick=True)
        client.run(it, "--on-120", "cont", at_120=lambda number: it.verdict("550 5.7.1 No"), outcome="interrupted")
        it.heard("dsn")
        equal(len(it.reports()), 1, "DSNs")
        equal(client.run(it, outcome="delivered")["reply"][:9], "250 2.0.0", "reply")
        it.taken()


@case("second.cut-at-deta")
def _():
    """Lost between DETA and 221, from either side: the restart tells."""
    with deciding() as it:
        for cuts in ("client", "server"):
            client = _sends(h.plain(), "--on-120", "deta")
            if cuts == "server":
                it.at("detached", "cut")
            it.tell(tick=True)
            client.run(it, *(["--cut-at-deta"] if cuts == "client" else []), outcome="interrupted")
            it.heard("detached")
            it.verdict()
            client.run(it, outcome="delivered")
            it.taken(h.plain())


@case("second.server-dies-detached")
def _():
    """Ownership is durable before 221: after a crash the server decides on its own, with and without TRANSID."""
    with SecondServer("--rdlv", 1, "--deta", "--scan", "told") as it:
        for options in ((), ("--plain",)):
            client = _sends(h.plain(), "--on-120", "deta", *options)
            it.at("detached", "die")
            it.tell(tick=True)
            client.run(it, outcome="unknown" if options else "interrupted")
            it.died()
            it.start()
            it.heard("deciding")
            it.verdict()
            it.heard("committed")
            it.taken(h.plain())


@case("second.too-many-detached")
def _():
    """Over the limit it is 450, and CONT still works."""
    with deciding() as it:
        _detached(it)
        client = _sends(h.dots(), "--on-120", "deta")

        def at_line(line):
            if line.startswith("S: 450 4.7.1"):
                it.verdict()
                it.verdict()

        it.tell(tick=True)
        equal(client.run(it, at_line=at_line, outcome="delivered")["waits"], 1, "number of 120s")
        it.taken(h.plain(), h.dots())


@case("second.no-120-for-a-verb")
def _():
    with SecondServer("--rdlv", 1, "--no-120-for", "DATA", "--no-120-for", "BDAT") as it:
        client = SecondClient(h.plain(), "--rdlv", 600)
        client.run(it, outcome="delivered")
        it.taken(h.plain())
        client = SecondClient(h.dots(), "--rdlv", 600, "--bdat", 1000)
        client.run(it, outcome="interrupted")
        client.options.remove("--rdlv")
        client.options.remove("600")
        client.run(it, outcome="delivered")
        it.taken(h.dots())


# ------------------------------------------------------------- command by command

@once
def prompt():
    """A server that decides at once."""
    return SecondServer()


def _alike(name, function):
    @case(f"second.{name}")
    def _():
        function(prompt())


for _name, _function in DIALOGUES:
    _alike(_name, _function)
