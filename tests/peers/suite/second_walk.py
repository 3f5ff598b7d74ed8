"""Both servers are told the same, at random but from seeds, and must answer and deliver alike.

Two connections to each, few TRANSIDs, commands in and out of place, content that goes on where it
should or does not, connections that end anywhere. A reply is compared by its code, its offset,
and, where it refuses, its enhanced code.
"""

import random
import re

from . import harness as h
from .harness import case, check
from .second_client import OurServer, shown
from .second_dialogues import LINES
from .second_peers import SecondServer, Talk

WALKS, STEPS = 60, 25


class Differ(Exception):
    """The two answer or deliver differently."""


class Apart(Exception):
    """They differ as they may, and what follows cannot be compared any more."""


def essence(verb, reply):
    """What of a reply has to be the same."""
    code = reply[:3]
    if code == "355":
        return reply.split("\n")[0].split(" ")[:2]
    if code in ("250", "354") or verb == "RCPT" and code == "550":
        return code
    if verb == "DATA" and code in ("503", "554"):
        return "503 or 554"  # without recipients
    return reply.split(" ")[:2]


class Both:
    """A connection to each of the two servers, on which the same is said."""

    def __init__(self, servers, log):
        self.log = log
        self.links = [Talk(server.address) for server in servers]
        self.offset = 0
        self.begun = False  # whether a MAIL was answered, as far as the walk cares

    def send(self, octets):
        self.log.append(f"C: {octets!r}")
        for link in self.links:
            link.send(octets)

    def hear(self, verb):
        replies = [link.hear("") for link in self.links]
        self.log.append("S: " + " | ".join(reply.split("\n")[0][:50] for reply in replies))
        if any(reply.startswith("421") for reply in replies):
            raise Apart  # when a session that was taken over is told so is the server's choice
        one, other = (essence(verb, reply) for reply in replies)
        if one != other:
            if replies[0][:3] == replies[1][:3] == "355" and int(other[1]) - int(one[1]) == 1 and LINES[int(one[1])] == 13:
                raise Apart  # a CR of which it is not known what follows need not be stored
            raise Differ
        return replies[0]

    def leave(self):
        self.log.append("C: [end]")
        for link in self.links:
            link.leave()

    def close(self):
        for link in self.links:
            link.sock.close()


class Walk:
    def __init__(self, servers, seed):
        self.servers, self.random, self.log = servers, random.Random(seed), []
        self.transids = [f"<{seed}.{number}@client.example.org>" for number in range(2)]
        self.open = [None, None]

    def choose(self, weights):
        return self.random.choices(list(weights), list(weights.values()))[0]

    def run(self):
        try:
            for _ in range(STEPS):
                number = self.choose({0: 17, 1: 3})
                if self.open[number] is None:
                    self.log.append(f"-- connection {number}")
                    self.open[number] = Both(self.servers, self.log)
                if not self.step(self.open[number]):
                    self.open[number].close()
                    self.open[number] = None
        except Apart:
            return
        finally:
            for both in self.open:
                if both is not None:
                    both.leave()

    def step(self, both):
        """One command; False where the connection has ended by it."""
        # Mostly what is in its place.
        mail, rcpt, data = (1, 12, 6) if both.begun else (30, 1, 1)
        verb = self.choose({
            "MAIL": mail, "RCPT": rcpt, "DATA": data, "BDAT": data, "RSET": 1, "EHLO": 0.7, "QUIT": 0.5, "NOOP": 0.5, "leave": 2,
        })
        self.log.append(f"[{self.open.index(both)}]")
        if verb == "leave":
            both.leave()
            return False
        if verb in ("DATA", "BDAT"):
            return getattr(self, verb.lower())(both)
        line = {"EHLO": "EHLO client.example.org", "MAIL": self.mail(), "RCPT": self.rcpt()}.get(verb, verb)
        both.send(line.encode() + b"\r\n")
        reply = both.hear(verb)
        if verb == "MAIL" and reply[:3] in ("250", "355"):
            both.offset = int(reply.split()[1]) if reply.startswith("355") else 0
            both.begun = True
        return verb != "QUIT"

    def mail(self):
        more = self.choose({"": 8, " RET=FULL": 1, " SIZE=9": 1, " BODY=8BITMIME": 1})
        transid = self.choose({f" TRANSID={self.transids[0]}": 16, f" TRANSID={self.transids[1]}": 3, "": 1})
        return f"MAIL FROM:<ann@example.org>{more}{transid}"

    def rcpt(self):
        return self.choose({
            "RCPT TO:<bob@example.net>": 6, "RCPT TO:<carol@example.net>": 2, "RCPT TO:<dave@example.com>": 1,
            "RCPT TO:<bob@example.net> NOTIFY=NEVER": 1,
        })

    def data(self, both):
        both.send(b"DATA\r\n")
        if not both.hear("DATA").startswith("354"):
            return True
        part = LINES[both.offset:].replace(b"\r\n.", b"\r\n..")
        part = b"." + part if part.startswith(b".") else part
        part = self.choose({part: 17, b"junk\r\n": 1, b"": 1, b"..x\r\n": 1})
        if self.random.random() < 0.5:
            both.send(part + b".\r\n")
            both.hear("the end")
            return self.over(both)
        both.send(part[:self.random.randrange(len(part) + 1)] + self.choose({b"": 2, b".": 1, b".\r": 1, b"x": 1}))
        both.leave()
        return False

    def bdat(self, both):
        last = self.random.random() < 0.4
        part = LINES[both.offset:] if last else LINES[both.offset:both.offset + self.random.randrange(20)]
        whole = b"BDAT %d%s\r\n%s" % (len(part), b" LAST" if last else b"", part)
        if self.random.random() < 0.2:
            both.send(whole[:self.random.randrange(1, len(whole))])
            both.leave()
            return False
        both.send(whole)
        accepted = both.hear("BDAT").startswith("250")
        if accepted:
            both.offset += len(part)
        return self.over(both) if last and accepted else True

    def over(self, both):
        """Behind a final reply: mostly the connection ends as well."""
        both.begun = False
        if self.random.random() < 0.2:
            return True
        both.leave()
        return False


@case("second-client.same-replies", 120)
def _():
    with SecondServer() as second:
        ours = OurServer()
        with shown(ours):
            for seed in range(WALKS):
                walk = Walk([ours, second], seed)
                try:
                    walk.run()
                    delivered = [ours.new_messages(), second.new_messages()]
                    check(delivered[0] == delivered[1], f"delivered {delivered[0]} and {delivered[1]}")
                except (Differ, h.Failed) as error:
                    said = "\n".join(walk.log)
                    raise h.Failed(f"walk {seed}: {error}\n{re.sub('(?m)^', '    ', said)}") from None
        ours.kill()
