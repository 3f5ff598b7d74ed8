"""Dialogues that both servers must answer alike when they offer RDLV and DETA, and do not decide.

A server has `address`, `taken`, `ticks`, whether its intervals end when they are told to, and
`interval_over`, which tells it so.
"""

from .harness import check, equal
from .second_dialogues import BOB, FROM, LINES, ON_WIRE, mail
from .second_peers import Talk

LONG = []
MINTIMER = 2  # what these servers advertise
MAXTIMER = 2  # the 120 comes behind half of it


def long_dialogue(name):
    def register(function):
        LONG.append((name, function))
        return function

    return register


def sends(it, talk, command, verb="DATA", maxtimer=MAXTIMER):
    """A message under RDLV, up to its 120."""
    talk.say(command, "250")
    talk.say(f"{BOB} NOTIFY=FAILURE", "250")
    talk.say(f"RDLV maxtimer={maxtimer}", "250")
    if verb == "DATA":
        talk.say("DATA", "354")
        talk.send(ON_WIRE + b".\r\n")
    else:
        talk.send(b"BDAT %d LAST\r\n%s" % (len(LINES), LINES))
    it.interval_over()
    return talk.hear("120 ")


@long_dialogue("rdlv-syntax")
def _(it):
    with Talk(it.address) as talk:
        for line in (f"RDLV MINTIMER={MINTIMER}", "DETA", "DSN"):
            check(line in talk.features.split("\n"), f"no {line}: {talk.features!r}")
        talk.say(f"RDLV maxtimer={MAXTIMER}", "503 5.5.1")
        talk.say(FROM, "250")
        talk.say("RDLV", "501 5.5.2")
        for wrong in (
            "maxtimer", "maxtimer=", "maxtimer=0", "maxtimer=2147483648", "maxtimer=99999999999999999999", "maxtimer=-5",
            "maxtimer=5s", "maxtimer=5 maxtimer=5", f"maxtimer={MINTIMER - 1}",
        ):
            talk.say(f"RDLV {wrong}", "501 5.5.4")
    with Talk(it.address) as talk:
        talk.say(FROM, "250")
        for right in (f"RDLV maxtimer={MINTIMER}", "rdlv MaxTimer=2147483647", f"RDLV maxtimer={MAXTIMER}"):
            talk.say(right, "250")
        talk.say("CONT", "503 5.5.1")
        talk.say("DETA", "503 5.5.1")
        talk.say("DETA now", "501 5.5.4")
        talk.say("RSET", "250")
        talk.say(f"RDLV maxtimer={MAXTIMER}", "503 5.5.1")


@long_dialogue("rdlv-120-open")
def _(it):
    """Everything but the answers to a 120 is out of place; CONT brings the next; RSET aborts."""
    command = mail()
    with Talk(it.address) as talk:
        sends(it, talk, command)
        for other in ("NOOP", FROM, BOB, "DATA", "VRFY ann", "RDLV maxtimer=9", "FROB", "BURL imap://x LAST"):
            talk.say(other, "503 5.5.1")
        talk.say("DETA now", "501 5.5.4")
        talk.send("CONT\r\n")
        it.interval_over()
        talk.hear("120 ")
        talk.say("RSET", "250")
        talk.say("CONT", "503 5.5.1")
        talk.say("NOOP", "250")
        talk.say(command, "250")  # nothing is held of it
    it.taken()


@long_dialogue("rdlv-120-hello")
def _(it):
    """EHLO and HELO abort as well, with the reply that they always have."""
    for verb in ("EHLO", "HELO"):
        command = mail()
        with Talk(it.address) as talk:
            sends(it, talk, command, "BDAT")
            reply = talk.say(f"{verb} client.example.org", "250")
            equal("CHECKPOINT" in reply, verb == "EHLO", "CHECKPOINT in the reply")
        with Talk(it.address) as talk:
            talk.say(command, "250")
            talk.leave()
    it.taken()


@long_dialogue("rdlv-120-quit")
def _(it):
    """QUIT is 221, and with a TRANSID the decision goes on."""
    command = mail()
    with Talk(it.address) as talk:
        sends(it, talk, command)
        talk.say("QUIT", "221")
        talk.closed()
    with Talk(it.address) as talk:
        equal(talk.offset(command), len(LINES), "offset")
        talk.say(f"RDLV maxtimer={MAXTIMER}", "250")
        talk.say("DATA", "354")
        talk.send(b".\r\n")
        it.interval_over()
        talk.hear("120 ")
        talk.say("RSET", "250")
        talk.say("NOOP", "250")
    with Talk(it.address) as talk:
        talk.say(command, "250")
        talk.leave()
    it.taken()


@long_dialogue("rdlv-taken-over")
def _(it):
    """A second session waits for the same decision; the first can neither abort nor detach it."""
    for answer in ("RSET", "DETA"):
        command = mail()
        with Talk(it.address) as first, Talk(it.address) as second:
            sends(it, first, command, maxtimer=600 if it.ticks else MAXTIMER)
            equal(second.offset(command), len(LINES), "offset")
            first.say(answer, "421 4.3.0")
            first.closed()
            second.say(f"RDLV maxtimer={MAXTIMER}", "250")
            second.say("DATA", "354")
            second.send(b".\r\n")
            it.interval_over()
            second.hear("120 ")
            second.say("RSET", "250")
            second.say("NOOP", "250")
    it.taken()


@long_dialogue("deta")
def _(it):
    command = mail()
    with Talk(it.address) as talk:
        sends(it, talk, command)
        talk.say("DETA", "221")
        talk.closed()
    with Talk(it.address) as talk:  # taken back, and aborted
        equal(talk.offset(command), len(LINES), "offset")
        talk.say(f"RDLV maxtimer={MAXTIMER}", "250")
        talk.say("DATA", "354")
        talk.send(b".\r\n")
        it.interval_over()
        talk.hear("120 ")
        talk.say("RSET", "250")
        talk.say("NOOP", "250")
    it.taken()


@long_dialogue("deta-over-the-limit")
def _(it):
    """One detached submission a client: for the second it is 450, and the 120 stays open."""
    commands = mail(), mail()
    with Talk(it.address) as first, Talk(it.address) as second:
        sends(it, first, commands[0])
        first.say("DETA", "221")
        sends(it, second, commands[1])
        second.say("DETA", "450 4.7.1")
        second.send("CONT\r\n")
        it.interval_over()
        second.hear("120 ")
        second.say("RSET", "250")
        # The first, taken back and aborted, makes room for another.
        equal(second.offset(commands[0]), len(LINES), "offset")
        second.say(f"RDLV maxtimer={MAXTIMER}", "250")
        second.say("DATA", "354")
        second.send(b".\r\n")
        it.interval_over()
        second.hear("120 ")
        second.say("RSET", "250")
        sends(it, second, commands[1])
        second.say("DETA", "221")
    with Talk(it.address) as talk:
        equal(talk.offset(commands[1]), len(LINES), "offset")
        talk.say(f"RDLV maxtimer={MAXTIMER}", "250")
        talk.say("DATA", "354")
        talk.send(b".\r\n")
        it.interval_over()
        talk.hear("120 ")
        talk.say("RSET", "250")
        talk.say("NOOP", "250")
    it.taken()
