"""The second client, and dialogues by hand, with the example server."""

import contextlib
import signal

from . import harness as h
from .examples import Server, check_envelope
from .harness import case, check, equal, once
from .second_dialogues import DIALOGUES
from .second_peers import BOB, CAROL, MEMORY, SMALL, SecondClient, on_wire, on_wire_in_chunks, reset_at_once

PEERS = ("second-client",)
class OurServer(Server):
    """The example server, asked what it delivered as the second one is."""

    def __init__(self, *options):
        super().__init__("--trace", *options, within=MEMORY)

    def forget(self):
        """It tells nothing that could be old."""

    def taken(self, *messages):
        found = super().taken(len(messages))
        equal(sorted(octets for octets, _ in found), sorted(messages), "delivered octets")
        return found[-1][1] if found else None

    def new_messages(self):
        """All messages delivered since the last call, in the order of their octets."""
        return sorted(octets for octets, _ in super().taken(len(self._new())))

    def kill(self):
        self.process.stop(signal.SIGKILL)


@once
def server():
    return OurServer()


def prepare(_name):
    server()
    return "the second client, into examples/server"


@contextlib.contextmanager
def shown(it):
    """A failure comes with what the server says it heard and said."""
    try:
        yield it
    except (h.Failed, OSError) as error:
        raise h.Failed(f"{error}\n" + "\n".join(it.process.output().splitlines()[-40:])) from error


@contextlib.contextmanager
def fresh(*options):
    it = OurServer(*options)
    try:
        with shown(it):
            yield it
    finally:
        it.kill()


def _alike(name, function):
    @case(f"second-client.{name}")
    def _():
        with shown(server()) as it:
            function(it)


for _name, _function in DIALOGUES:
    _alike(_name, _function)


# ------------------------------------------------------------- the second client

def _cut_everywhere(delivered, end, *options):
    with fresh() as it:
        for cut in range(end + 1):
            client = SecondClient(SMALL, *options)
            client.run(it, "--cut-after", cut, outcome="interrupted")
            offset = client.run(it, outcome="delivered")["offset"] or 0
            check(offset <= cut, f"offset {offset} after {cut} octets")
            it.taken(delivered)


@case("second-client.cuts-everywhere")
def _():
    _cut_everywhere(h.canonical(SMALL), on_wire(SMALL))


@case("second-client.cuts-bdat-everywhere")
def _():
    _cut_everywhere(SMALL, on_wire_in_chunks(SMALL, 9), "--bdat", 9)


@case("second-client.cuts-twice")
def _():
    """Cut where the server may see it late, or not before the next connection; the offset never goes back."""
    octets = h.dots()
    with fresh("--checkpoint-every", "100") as it:
        for options in ((), ("--bdat", 100)):
            for first in range(7, len(octets), 499):
                client = SecondClient(octets, *options, recipients=(BOB, "dave@example.com", CAROL))
                client.run(it, "--cut-after", first, at_cut=reset_at_once, outcome="interrupted")
                second = client.run(it, "--cut-after", 300, outcome="interrupted")["offset"] or 0
                third = client.run(it, *(["--repeat"] if first % 2 else []), outcome="delivered")
                check(second <= (third["offset"] or 0), f"the offset went back from {second} to {third}")
                check(third["recipients"]["dave@example.com"].startswith("550"), f"{third}")
                check_envelope(it.taken(octets), "ann@example.org", [BOB, CAROL], {"TRANSID": None})


@case("second-client.final-reply-lost")
def _():
    with fresh() as it:
        for octets, how in ((h.plain(), None), (h.dots(), reset_at_once), (h.large(2_000_000), None)):
            client = SecondClient(octets)
            client.run(it, "--cut-after", on_wire(octets), at_cut=how, outcome="interrupted")
            for _ in range(2):
                client.run(it, "--cut-after", 3, at_cut=how, outcome="interrupted")
            client.run(it, outcome="delivered")
            it.taken(octets)


@case("second-client.server-dies")
def _():
    """SIGKILL when so many octets have been sent, and another start on the same store."""
    octets = h.dots()
    with fresh("--checkpoint-every", "100") as it:
        for options, end in (((), on_wire(octets)), (("--bdat", 100), on_wire_in_chunks(octets, 100))):
            for cut in (0, 1, end // 3, end // 2, end - 3, end - 1, end):
                client = SecondClient(octets, *options)
                client.run(it, "--cut-after", cut, at_cut=lambda sock: it.kill(), outcome="interrupted")
                it.start()
                client.run(it, outcome="delivered")
                it.taken(octets)


@case("second-client.large-and-cut")
def _():
    octets = h.large()
    with fresh() as it:
        client = SecondClient(octets)
        client.run(it, "--cut-after", 2_000_000, outcome="interrupted")
        offset = client.run(it, "--cut-after", 500_000, outcome="interrupted")["offset"]
        check(1_000_000 < offset < 2_000_000, f"offset {offset}")
        offset = client.run(it, outcome="delivered")["offset"]
        check(1_500_000 < offset < 2_500_000, f"offset {offset}")
        it.taken(octets)


@case("second-client.decision-outlives-connection")
def _():
    """Cut behind the final dot; whoever comes back waits for the same decision."""
    with fresh("--decide-millis", "300") as it:
        for options in ((), ("--bdat", 1000)):
            client = SecondClient(h.dots(), *options)
            end = on_wire_in_chunks(h.dots(), 1000) if options else on_wire(h.dots())
            client.run(it, "--cut-after", end, at_cut=reset_at_once, outcome="interrupted")
            client.run(it, "--cut-after", 3 if not options else 13, at_cut=reset_at_once, outcome="interrupted")
            client.run(it, outcome="delivered")
            it.taken(h.dots())


@case("second-client.server-dies-deciding")
def _():
    """What was complete and not decided is decided anew, or sent anew; and it is one message."""
    with fresh("--decide-millis", "30000") as it:
        client = SecondClient(h.dots())
        client.run(it, "--cut-after", on_wire(h.dots()), at_cut=reset_at_once, outcome="interrupted")
        client.run(it, "--cut-after", 3, at_cut=lambda sock: it.kill(), outcome="interrupted")
        it.taken()
        it.options = it.options[:1]
        it.start()
        result = client.run(it, outcome="delivered")
        equal(result["offset"], len(h.dots()), "the offset")
        it.taken(h.dots())


@case("second-client.dsn-parameters-kept")
def _():
    with fresh() as it:
        client = SecondClient(
            h.dots(), "--ret", "HDRS", "--envid", "e+2B1", "--notify", "FAILURE,DELAY", "--orcpt", recipients=(BOB, CAROL),
        )
        client.run(it, "--cut-after", 1000, outcome="interrupted")
        client.run(it, "--repeat", "--cut-after", 1000, outcome="interrupted")
        client.run(it, outcome="delivered")
        check_envelope(
            it.taken(h.dots()), "ann@example.org", [BOB, CAROL], {"RET": "HDRS", "ENVID": "e+2B1"},
            {"NOTIFY": "FAILURE,DELAY", "ORCPT": None},
        )
