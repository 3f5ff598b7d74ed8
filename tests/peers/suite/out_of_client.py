"""The example client delivers to servers that know nothing of CHECKPOINT."""

import contextlib
import re
import smtplib
import time

from . import harness as h
from . import sinks
from .examples import Sender, example
from .harness import LOOPBACK, Proxy, case, check, equal, once, pipelined

ANN, BOB, CAROL, REFUSED, LATER = (
    "ann@example.org", "bob@example.net", "carol@example.net", "refused@example.net", "later@example.net",
)

KINDS = {"postfix": sinks.Postfix, "exim": sinks.Exim, "aiosmtpd": sinks.Aiosmtpd}
PEERS = tuple(KINDS)


@once
def sink(name):
    return KINDS[name]()


def prepare(name):
    """Starts a server; gives its name and version."""
    return sink(name).version


@contextlib.contextmanager
def watched(name, **cut):
    it = sink(name)
    it.taken(0)
    with Proxy(it.port, **cut) as proxy:
        try:
            yield it, proxy
        except (h.Failed, OSError) as error:
            raise h.Failed(f"{error}\n{proxy.dialogue()}\n{it.log_end()}") from error
        except h.OutOfTime:
            raise h.Failed(f"not done in time\n{proxy.dialogue()}\n{it.log_end()}") from None


def check_kept(it, octets, count=1):
    """The sink kept the message, behind headers of its own, and once for each of its copies."""
    for found in it.taken(count):
        equal(sinks.added_headers_removed(found, octets), octets, f"octets at {it.name}")


def copies(it, recipients):
    """Postfix and Exim deliver a copy to each recipient, aiosmtpd keeps one for all."""
    return 1 if it.name == "aiosmtpd" else recipients


def no_checkpoint(proxy):
    """The client fell back: not one keyword of CHECKPOINT to a server that lacks it."""
    check(b"CHECKPOINT" not in proxy.octets("S").upper(), "the peer offers CHECKPOINT")
    said = proxy.octets("C").split(b"\r\nDATA\r\n")[0].split(b"\r\nBDAT ")[0]
    check(b"TRANSID" not in said.upper(), "TRANSID to a server without CHECKPOINT")


def nothing_kept(it):
    time.sleep(0.3)  # what was queued would be delivered by now
    check(not it.taken(0), f"{it.name} kept a message that was not accepted")


def verbs(proxy, connection=0):
    return [line.split(b" ")[0].upper() for line in proxy.octets("C", connection).split(b"\r\n")]


# ------------------------------- the sinks themselves, with a client that is known

def _sink_works(name):
    with watched(name) as (it, proxy):
        bodies = [h.plain(), h.dots(), h.eight_bit(), h.empty_body()]
        if name != "aiosmtpd":  # it refuses lines over 1,000 octets
            bodies.append(h.long_lines())
        with smtplib.SMTP(LOOPBACK, proxy.port, local_hostname="client.example.org", timeout=20) as smtp:
            smtp.ehlo()
            for octets in bodies:
                refused = smtp.sendmail(ANN, [BOB, REFUSED, LATER], octets, ["BODY=8BITMIME"])
                equal({who: code for who, (code, _) in refused.items()}, {REFUSED: 550, LATER: 450}, "refused")
                check_kept(it, octets)


def _register(name):
    @case(f"{name}.takes-mail")
    def _():
        _sink_works(name)

    def sends(what, function, seconds=90):
        @case(f"{name}.{what}", seconds)
        def _():
            example("send")
            function()

    def delivers(octets, more=(), recipients=(BOB,)):
        with watched(name) as (it, proxy):
            Sender(octets, recipients, ANN, more).expect(proxy, 0)
            check_kept(it, octets, copies(it, len(recipients)))
            no_checkpoint(proxy)
            equal(proxy.connections, 1, "connections")
            if name == "aiosmtpd":
                check(not pipelined(proxy), "pipelined to a server that does not offer it")
            else:
                check(pipelined(proxy), "not pipelined")
            bdat = b"BDAT" in verbs(proxy)
            equal(bdat, bool(more) and name != "aiosmtpd", "BDAT")

    for what, make in (
        ("plain", h.plain), ("dots", h.dots), ("eight-bit", h.eight_bit), ("empty-body", h.empty_body), ("large", h.large),
    ):
        sends(f"send-{what}", lambda make=make: delivers(make()))
        # Where CHUNKING is not offered, --bdat falls back to DATA.
        sends(f"send-bdat-{what}", lambda make=make: delivers(make(), ["--bdat"]))
    if name == "aiosmtpd":
        sends("send-long-lines", lambda: refused_content())
    else:
        sends("send-long-lines", lambda: delivers(h.long_lines()))
        sends("send-bdat-long-lines", lambda: delivers(h.long_lines(), ["--bdat"]))

    def refused_content():
        """A message that the server refuses at its end is refused for good."""
        with watched(name) as (it, proxy):
            Sender(h.long_lines()).expect(proxy, 69)
            nothing_kept(it)

    sends("send-several-recipients", lambda: delivers(h.plain(), (), (BOB, CAROL)))

    def one_refused():
        with watched(name) as (it, proxy):
            result = Sender(h.plain(), (BOB, REFUSED, CAROL)).run(proxy)
            check_kept(it, h.plain(), copies(it, 2))
            said = (result.out + result.err).decode(errors="replace")
            check(re.search(r"refused@example\.net.*\b(550|5\.1\.1)", said), f"the refused recipient is not reported: {result}")
            check(result.code in (0, 69), f"exit {result.code}: {result}")

    sends("send-one-refused", one_refused)

    def all_refused(bdat):
        with watched(name) as (it, proxy):
            Sender(h.plain(), (REFUSED,), more=bdat).expect(proxy, 69)
            nothing_kept(it)

    sends("send-all-refused", lambda: all_refused([]))
    sends("send-bdat-all-refused", lambda: all_refused(["--bdat"]))

    def later():
        with watched(name) as (it, proxy):
            sender = Sender(h.plain(), (LATER,))
            sender.expect(proxy, 75)
            sender.expect(proxy, 75)
            nothing_kept(it)

    sends("send-later", later)

    def cut_and_again(more):
        """Without CHECKPOINT a cut transfer starts again from its first octet."""
        octets = h.large(8_000_000)  # more than the sockets hold, so the end is not sent before the cut
        with watched(name, cut_after=200_000) as (it, proxy):
            sender = Sender(octets, more=more)
            sender.expect(proxy, 75)
            sender.expect(proxy, 0)
            equal(proxy.connections, 2, "connections")
            check_kept(it, octets)
            no_checkpoint(proxy)

    sends("send-cut-and-again", lambda: cut_and_again([]))
    sends("send-bdat-cut-and-again", lambda: cut_and_again(["--bdat"]))

    def reply_lost():
        """The reply to the end of data is lost: without CHECKPOINT the next try makes a second copy (RFC 1047)."""
        with watched(name, cut_behind=b"\r\n.\r\n") as (it, proxy):
            sender = Sender(h.plain())
            sender.expect(proxy, 75)
            check_kept(it, h.plain())
            sender.expect(proxy, 0)
            check_kept(it, h.plain())

    sends("send-reply-lost", reply_lost)


for _name in KINDS:
    _register(_name)
