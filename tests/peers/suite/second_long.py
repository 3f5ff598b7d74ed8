"""RDLV and DETA with the examples, where they have the options for them.

examples/server: --rdlv MINTIMER --deta --reject ADDRESS, and --decide-until FILE: no decision before
FILE is there, so that no case waits longer than it must.
examples/send: --rdlv MAXTIMER --on-120 cont|deta|rset --carry-on N --reset-aborts.
"""

import contextlib

from . import harness as h
from .examples import takes
from .harness import Process, Skip, case, check, equal, once, temporary, wait_for
from .second_client import OurServer, shown
from .second_long_dialogues import LONG, MINTIMER
from .second_peers import BOB, CAROL, MEMORY, PATIENCE, SecondClient, SecondServer
from .second_server import AGAIN, DELIVERED, letter

DETACHED, ABORTED, UNKNOWN = 3, 4, 5  # exit codes of `send`


def needs(name, *options):
    for option in options:
        if not takes(name, option):
            raise Skip(f"examples/{name} has no {option} yet")


# ------------------------------------------------------------- command by command

class Undecided(SecondServer):
    """Never decides, and its intervals are over at once."""

    ticks = True

    def __init__(self):
        super().__init__("--rdlv", MINTIMER, "--deta", "--detached-limit", 1, "--scan", "told")

    def interval_over(self):
        self.tell(tick=True)


class OurUndecided(OurServer):
    """The example server; its clock is the real one."""

    ticks = False

    def __init__(self):
        needs("server", "--rdlv", "--deta", "--detached-limit")
        super().__init__("--rdlv", str(MINTIMER), "--deta", "--detached-limit", "1", "--decide-millis", "3600000")

    def interval_over(self):
        pass


@once
def undecided():
    return Undecided()


@once
def our_undecided():
    return OurUndecided()


def _alike(name, function):
    @case(f"second.{name}")
    def _():
        function(undecided())

    @case(f"second-client.{name}")
    def _():
        with shown(our_undecided()) as it:
            function(it)


for _name, _function in LONG:
    _alike(_name, _function)


# --------------------------------------- the second client, into examples/server

class Slowness:
    """How long the example server takes to decide."""

    def __init__(self):
        needs("server", "--rdlv", "--deta", "--decide-until")
        self.file = temporary("decide", MEMORY) / "now"
        self.options = ["--decide-until", str(self.file)]

    def over(self):
        self.file.touch()


@contextlib.contextmanager
def slow(*options):
    slowness = Slowness()
    it = OurServer("--rdlv", "1", "--deta", *slowness.options, *options)
    it.slowness = slowness
    try:
        with shown(it):
            yield it
    finally:
        it.kill()


def _long(*options, **more):
    """The shortest maxtimer: a 120 twice a second."""
    return SecondClient(h.dots(), "--rdlv", 1, *options, **more)


def _decided(it):
    """Waits until the server has made up its mind, and the message is there."""
    it.slowness.over()
    check(wait_for(lambda: it._new(), 20), "nothing is delivered")


def _delivered(it):
    """The message has come, once."""
    _decided(it)
    it.taken(h.dots())


@case("second-client.carries-on")
def _():
    for options in ((), ("--bdat", 1000)):
        with slow() as it:
            client = _long(*options)
            result = client.run(it, at_120=lambda number: number == 2 and it.slowness.over(), outcome="delivered")
            check(result["waits"] >= 1, f"{result}")
            it.taken(h.dots())


@case("second-client.aborts")
def _():
    with slow() as it:
        client = _long("--on-120", "rset", "--aborts")
        client.run(it, outcome="aborted")
        it.slowness.over()
        it.taken()


# The 120 comes before the decision, and the client has time to wait for that.
PATIENT = ("--rdlv", 3)


@case("second-client.held-result")
def _():
    """A result that comes behind a 120 is held until CONT."""
    with slow() as it:
        client = _long(*PATIENT)
        equal(client.run(it, at_120=lambda number: _decided(it), outcome="delivered")["waits"], 1, "number of 120s")
        it.taken(h.dots())


@case("second-client.aborts-too-late")
def _():
    with slow() as it:
        client = _long(*PATIENT, "--on-120", "rset", "--aborts")
        result = client.run(it, at_120=lambda number: _decided(it), outcome="interrupted")
        check(result["reply"].startswith("554 5.5.0"), f"{result}")
        client.run(it, outcome="delivered")
        it.taken(h.dots())


@case("second-client.detaches-too-late")
def _():
    """The result is there already: 221 all the same."""
    for options in ((), ("--plain",)):
        with slow() as it:
            client = _long(*PATIENT, "--on-120", "deta", *options)
            client.run(it, at_120=lambda number: _decided(it), outcome="detached")
            it.taken(h.dots())


@case("second-client.gone-behind-120")
def _():
    with slow() as it:
        client = _long("--on-120", "drop")
        client.run(it, outcome="interrupted")
        it.slowness.over()
        client.run(it, "--on-120", "cont", outcome="delivered")
        it.taken(h.dots())


@case("second-client.detaches")
def _():
    """After 221 the message is the server's; whoever comes back gets its reply, and there is one message."""
    with slow() as it:
        client = _long("--on-120", "deta", "--carry-on", 1, "--come-back", recipients=(BOB, CAROL))
        client.run(it, outcome="detached")
        _delivered(it)
        client.run(it, outcome="delivered")
        it.taken()


@case("second-client.detaches-without-transid")
def _():
    with slow() as it:
        _long("--on-120", "deta", "--plain").run(it, outcome="detached")
        _delivered(it)


@case("second-client.cut-at-deta")
def _():
    with slow() as it:
        client = _long("--on-120", "deta")
        client.run(it, "--cut-at-deta", outcome="interrupted")
        it.slowness.over()
        client.run(it, "--on-120", "cont", outcome="delivered")
        it.taken(h.dots())


@case("second-client.detached-and-failed")
def _():
    """Where a DSN was owed the restart is told 250; where none was, it is told the failure."""
    for options, outcome in ((("--notify", "FAILURE"), "delivered"), (("--notify", "NEVER"), "refused")):
        needs("server", "--reject")
        with slow("--reject", BOB) as it:
            client = _long("--on-120", "deta", "--come-back", *options)
            client.run(it, outcome="detached")
            it.slowness.over()
            # Whoever waits for the decision takes the failure back: it has to be over.
            refused = it.store / "refused"
            check(wait_for(lambda: refused.is_dir() and any(refused.iterdir()), 20), "no decision")
            client.run(it, outcome=outcome)
            it.taken()


@case("second-client.server-dies-detached")
def _():
    """Ownership is durable before 221."""
    with slow() as it:
        client = _long("--on-120", "deta", "--come-back")
        client.run(it, outcome="detached")
        it.kill()
        it.slowness.over()
        it.start()
        _delivered(it)
        client.run(it, outcome="delivered")
        it.taken()


# ----------------------------------------- examples/send, into the second server

@contextlib.contextmanager
def told(*options):
    needs("send", "--rdlv", "--on-120", "--carry-on")
    with SecondServer("--rdlv", 1, "--deta", "--scan", "told", *options) as it:
        yield it


def _answers(it, sender, waits, then):
    """Runs `send` through so many 120s; `then` is called behind the last. Its exit code, and its dialogue."""
    it.forget()
    running = Process(sender.command(it), sender.made / "log")
    it.heard("deciding")
    for _ in range(waits):
        it.tell(tick=True)
        it.heard("120")
    then()
    return running.popen.wait(PATIENCE), running.output()


@case("second-server.carries-on")
def _():
    for more in ((), ("--bdat",)):
        with told() as it:
            sender = letter(h.dots(), "--rdlv", "600", "--on-120", "cont", *more)
            code, said = _answers(it, sender, 3, it.verdict)
            equal(code, DELIVERED, said)
            equal(said.count("S: 120 "), 3, "number of 120s")
            it.taken(h.dots())


@case("second-server.detaches")
def _():
    with told() as it:
        sender = letter(h.dots(), "--rdlv", "600", "--on-120", "deta", "--carry-on", "1", recipients=(BOB, CAROL))
        code, said = _answers(it, sender, 2, lambda: it.heard("detached"))
        equal(code, DETACHED, said)
        it.verdict(bob="550 5.2.2 Full")
        it.heard("dsn")
        it.heard("committed")
        it.taken(h.dots())
        report, = it.reports()
        equal([one["final-recipient"] for one in report["recipients"]], [f"rfc822;{BOB}"], "whom the DSN is about")
        sender.expect(it, DETACHED)  # never sent again
        it.taken()


@case("second-server.aborts")
def _():
    for more, expected in (((), UNKNOWN), (("--reset-aborts",), ABORTED)):
        with told() as it:
            sender = letter(h.dots(), "--rdlv", "600", "--on-120", "rset", *more)
            code, said = _answers(it, sender, 1, lambda: it.heard("aborted"))
            equal(code, expected, said)
            sender.expect(it, expected)
            it.taken()


def _decided_behind_120(it, *options):
    """The verdict comes when the 120 has gone out and before its answer is read."""
    sender = letter(h.dots(), "--rdlv", "600", *options)

    def decided():
        it.heard("stalled")
        it.verdict()
        it.heard("committed")
        it.tell(go=True)

    it.at("120", "pause")
    return sender, *_answers(it, sender, 1, decided)


@case("second-server.held-result")
def _():
    with told() as it:
        _, code, said = _decided_behind_120(it, "--on-120", "cont")
        equal(code, DELIVERED, said)
        it.taken(h.dots())


@case("second-server.aborts-too-late")
def _():
    """554 to RSET: the message stands, and no run makes a second one of it."""
    with told() as it:
        sender, _, said = _decided_behind_120(it, "--on-120", "rset")
        check("S: 554 " in said, said)
        it.taken(h.dots())
        sender.run(it)
        it.taken()


@case("second-server.lost-behind-120")
def _():
    """The connection is lost while a 120 is open: the next run waits for the same decision."""
    with told() as it:
        sender = letter(h.dots(), "--rdlv", "600", "--on-120", "cont")
        it.at("120", "cut")
        code, said = _answers(it, sender, 1, lambda: None)
        equal(code, AGAIN, said)
        it.verdict()
        it.heard("committed")
        equal(sender.run(it).code, DELIVERED, "exit code")
        it.taken(h.dots())


@case("second-server.cut-at-deta")
def _():
    """Lost between DETA and 221: a restart tells, and it is one message."""
    with told() as it:
        sender = letter(h.dots(), "--rdlv", "600", "--on-120", "deta")
        it.at("detached", "cut")
        code, said = _answers(it, sender, 1, lambda: it.heard("detached"))
        equal(code, AGAIN, said)
        it.verdict()
        it.heard("committed")
        equal(sender.run(it).code, DELIVERED, "exit code")
        it.taken(h.dots())


@case("second-server.too-many-detached")
def _():
    """450 to DETA: CONT, or come back; it is one message, and never given up."""
    with told("--detached-limit", 0) as it:
        sender = letter(h.dots(), "--rdlv", "600", "--on-120", "deta")
        code, said = _answers(it, sender, 1, lambda: (it.heard("over the limit"), it.verdict()))
        if code != DELIVERED:
            code = sender.run(it).code
        equal(code, DELIVERED, said)
        it.taken(h.dots())


@case("second-server.no-120-for-data")
def _():
    """520: again without RDLV."""
    with told("--no-120-for", "DATA") as it:
        it.verdict()
        sender = letter(h.dots(), "--rdlv", "600", "--on-120", "cont")
        equal(sender.run(it).code, DELIVERED, "exit code")
        it.taken(h.dots())


@case("second-server.maxtimer-not-below-mintimer")
def _():
    needs("send", "--rdlv", "--on-120")
    with SecondServer("--rdlv", 30) as it:
        result = letter(h.plain(), "--rdlv", "10", "--on-120", "cont").expect(it, DELIVERED)
        check("RDLV maxtimer=10" not in result.err.decode(), f"{result}")
        it.taken(h.plain())
