"""Dialogues that both servers must answer alike, `second.server` and `examples/server`.

What is expected is what the texts say, command by command. Each is a function of a server that
decides at once; its `address` is used, and `taken`, what it has delivered since the last call.
"""

import secrets

from . import harness as h
from .harness import check, equal
from .second_peers import Talk

DIALOGUES = []
CRLF = b"\r\n"
LINES = b"Subject: x\r\n\r\n.dot\r\n..\r\nlast\r\n"  # as a message
ON_WIRE = b"Subject: x\r\n\r\n..dot\r\n...\r\nlast\r\n"
FROM, BOB, CAROL = "MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.net>", "RCPT TO:<carol@example.net>"


def dialogue(name):
    def register(function):
        DIALOGUES.append((name, function))
        return function

    return register


def transid():
    return f"<{secrets.token_hex(8)}.Ab@client.example.org>"


def mail(more=""):
    """MAIL with a TRANSID of its own."""
    return f"{FROM} TRANSID={transid()}{more}"


def begins(it, command, octets, *rcpts, end=False):
    """A transaction whose connection ends within its data, or behind them."""
    with Talk(it.address) as talk:
        talk.say(command, "250")
        for rcpt in rcpts or (BOB,):
            talk.say(rcpt, "2", "4", "5")
        talk.say("DATA", "354")
        talk.send(octets)
        if end:
            talk.hear("250")
        talk.leave()


def completes(it, command, *rcpts):
    begins(it, command, ON_WIRE + b".\r\n", *rcpts, end=True)
    it.taken(LINES)


def rest(talk, offset):
    """The content from an offset on, as it stands on the wire."""
    check(offset == 0 or LINES[:offset].endswith(CRLF), f"{offset} is not the start of a line\n{talk.shown()}")
    part = LINES[offset:].replace(b"\r\n.", b"\r\n..")
    return (b"." if part.startswith(b".") else b"") + part + b".\r\n"


@dialogue("rfc1845-section-5")
def _(it):
    command = mail()
    begins(it, command, ON_WIRE[:30])
    with Talk(it.address) as talk:
        check("CHECKPOINT" in talk.features.split("\n"), f"CHECKPOINT is not offered: {talk.features!r}")
        offset = talk.offset(command)
        check(0 < offset < 30, f"offset {offset}")
        talk.data(rest(talk, offset), "250")
        talk.say("QUIT", "221")
    it.taken(LINES)


@dialogue("retained-reply")
def _(it):
    """QUIT forgets nothing either; and it is one message however often it is asked for."""
    command = mail()
    completes(it, command)
    for _ in range(3):
        with Talk(it.address) as talk:
            equal(talk.offset(command), len(LINES), "offset")
            talk.data(b".\r\n", "250")
            talk.say("QUIT", "221")
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.chunk(b"", "250", last=True)
    it.taken()


@dialogue("empty-message")
def _(it):
    command = mail()
    begins(it, command, b".\r\n", end=True)
    it.taken(b"")
    with Talk(it.address) as talk:
        equal(talk.offset(command), 0, "offset")
        talk.data(b".\r\n", "250")
    it.taken()


@dialogue("nothing-stored-is-250")
def _(it):
    """No octet of the message came: afresh, with its recipients."""
    command = mail()
    begins(it, command, b"")
    with Talk(it.address) as talk:
        talk.say(command, "250")
        talk.say(BOB, "250")
        talk.data(ON_WIRE + b".\r\n", "250")
    it.taken(LINES)


@dialogue("more-than-the-message")
def _(it):
    """Content behind a complete message is not taken, and the retained reply stays."""
    command = mail()
    completes(it, command)
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.data(b"more\r\n.\r\n", "554 5.5.0")
        talk.say("NOOP", "250")
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.chunk(b"more\r\n", "554 5.5.0", last=True)
    with Talk(it.address) as talk:
        equal(talk.offset(command), len(LINES), "offset")
        talk.data(b".\r\n", "250")
    it.taken()


@dialogue("recipients-repeated")
def _(it):
    """Any of them, in their order, with the replies they had."""
    command = mail()
    refused = "RCPT TO:<dave@example.com>"
    begins(it, command, ON_WIRE[:20], f"{BOB} NOTIFY=FAILURE ORCPT=rfc822;b@example.net", refused, CAROL)
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.say(f"{BOB} ORCPT=rfc822;b@example.net NOTIFY=failure", "250")
        talk.say(refused, "550")
        talk.say(CAROL, "250")
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.say(BOB, "553 5.5.1")
        talk.say(f"{BOB} NOTIFY=NEVER ORCPT=rfc822;b@example.net", "553 5.5.1")
        talk.say("RCPT TO:<erin@example.net>", "553 5.5.1")
        talk.say("RCPT TO:<CAROL@example.net>", "553 5.5.1")
        talk.say("RCPT TO:<carol@EXAMPLE.NET>", "250")
        talk.say(refused, "503 5.5.1")
        talk.say(CAROL, "503 5.5.1")
    with Talk(it.address) as talk:
        offset = talk.offset(command)
        talk.data(rest(talk, offset), "250")
    it.taken(LINES)


@dialogue("same-mail")
def _(it):
    """What may differ in a restart's MAIL: SIZE, order, the case of keywords, of enumerated values and of the domain."""
    transid_ = transid()
    begins(it, f"{FROM} SIZE=100 RET=HDRS ENVID=a+2B TRANSID={transid_}", ON_WIRE[:20])
    for again in (
        f"{FROM} TRANSID={transid_} RET=hdrs ENVID=a+2B BODY=7BIT",
        f"mail from:<ann@EXAMPLE.org> transid={transid_} envid=a+2B Ret=HDRS SIZE=7",
    ):
        with Talk(it.address) as talk:
            check(talk.offset(again) > 0, "offset 0")
            talk.leave()
    it.taken()


@dialogue("another-mail")
def _(it):
    """Against a partial record it begins anew, against a complete one it is out of place."""
    for complete in (False, True):
        for begun, again in (
            ("", " RET=FULL"), (" ENVID=a", " ENVID=A"), (" BODY=8BITMIME", ""), (" RET=FULL", " RET=HDRS"),
        ):
            command = mail()
            if complete:
                completes(it, command + begun)
            else:
                begins(it, command + begun, ON_WIRE[:20])
            with Talk(it.address) as talk:
                talk.say(command + again, *(["503 5.5.1"] if complete else ["250"]))
                talk.leave()
            with Talk(it.address) as talk:  # no recipient of another one came: nothing was replaced
                check(talk.offset(command + begun) > 0, "offset 0")
                talk.leave()
        command = f"TRANSID={transid()}"
        begins(it, f"MAIL FROM:<ann@example.org> {command}", ON_WIRE[:20])
        with Talk(it.address) as talk:
            talk.say(f"MAIL FROM:<Ann@example.org> {command}", "250")
    it.taken()


@dialogue("another-mail-replaces")
def _(it):
    transid_ = f" TRANSID={transid()}"
    begins(it, FROM + transid_, b"Subject: the first\r\n")
    with Talk(it.address) as talk:
        talk.say(f"{FROM} RET=FULL{transid_}", "250")
        talk.say(BOB, "250")
        talk.data(ON_WIRE + b".\r\n", "250")
    it.taken(LINES)
    with Talk(it.address) as talk:
        talk.say(FROM + transid_, "503 5.5.1")
        equal(talk.offset(f"{FROM} RET=FULL{transid_}"), len(LINES), "offset")


@dialogue("case-of-transid-and-client")
def _(it):
    """Another case of the TRANSID, and another client, are another transaction; and nobody is disturbed by it."""
    for complete in (False, True):
        command = mail()
        if complete:
            completes(it, command)
        else:
            begins(it, command, ON_WIRE[:20])
        for name, said in (
            ("client.example.org", command.replace(".Ab@", ".aB@")), ("client.example.org", command.replace("@client", "@Client")),
            ("other.example.org", command),
        ):
            with Talk(it.address, name) as talk:
                talk.say(said, "250")
                talk.say(BOB, "250")
                talk.data(b"another\r\n.\r\n", "250")
                it.taken(b"another\r\n")
        with Talk(it.address, "CLIENT.Example.Org") as talk:
            check(talk.offset(command) > 0, "offset 0")
            talk.leave()


@dialogue("data-and-bdat-do-not-mix")
def _(it):
    command = mail()
    begins(it, command, ON_WIRE[:20])
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.chunk(b"RSET\r\n", "503 5.5.1")
        talk.chunk(b"QUIT\r\n", "503 5.5.1", last=True)
    command = mail()
    with Talk(it.address) as talk:
        talk.say(command, "250")
        talk.say(BOB, "250")
        talk.chunk(LINES[:9], "250")
        talk.leave()
    with Talk(it.address) as talk:
        talk.offset(command)
        talk.say("DATA", "503 5.5.1")
    it.taken()


@dialogue("bdat-anywhere")
def _(it):
    """With BDAT it may go on within a chunk, a line, a CRLF."""
    for cut in (1, 11, 12, 13, 17, len(LINES) - 1, len(LINES)):
        command = mail()
        with Talk(it.address) as talk:
            talk.say(command, "250")
            talk.say(BOB, "250")
            talk.send(b"BDAT %d\r\n%s" % (len(LINES) + 1, LINES[:cut]))
            talk.leave()
        with Talk(it.address) as talk:
            offset = talk.offset(command)
            check(0 < offset <= cut, f"offset {offset} behind {cut} octets")
            talk.chunk(LINES[offset:], "250")
            talk.chunk(b"", "250", last=True)
        it.taken(LINES)


@dialogue("pipelined-behind-mail")
def _(it):
    """Whoever does not wait for the 355 begins anew; and gets the retained reply of a whole message all the same."""
    command = mail()
    begins(it, command, ON_WIRE[:20])
    with Talk(it.address) as talk:
        talk.send(f"{command}\r\n{BOB}\r\nDATA\r\n")
        for code in ("250", "250", "354"):
            talk.hear(code)
        talk.send(ON_WIRE + b".\r\n")
        talk.hear("250")
    it.taken(LINES)
    with Talk(it.address) as talk:
        talk.send(f"{command}\r\n{BOB}\r\nDATA\r\n")
        for code in (f"355 {len(LINES)}", "250", "354"):
            talk.hear(code)
        talk.send(b".\r\n")
        talk.hear("250")
    it.taken()


@dialogue("a-chunk-before-the-355")
def _(it):
    """A chunk that was sent before the 355 was read is not the one that goes on."""
    command = mail()
    completes(it, command)
    with Talk(it.address) as talk:
        talk.send(f"{command}\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n")
        for code in (f"355 {len(LINES)}", "503 5.5.1", "250"):
            talk.hear(code)
    it.taken()


@dialogue("reset-discards")
def _(it):
    """A reset discards what is partial, before and after the 355; a complete message is let go of."""
    for reset in ("RSET", "EHLO client.example.org", "HELO client.example.org"):
        command = mail()
        with Talk(it.address) as talk:
            talk.say(command, "250")
            talk.say(BOB, "250")
            talk.chunk(LINES, "250")
            talk.say(reset, "250")
        begins(it, command, ON_WIRE[:20])
        with Talk(it.address) as talk:
            talk.offset(command)
            talk.say(reset, "250")
        with Talk(it.address) as talk:
            talk.say(command, "250")
            talk.leave()
        command = mail()
        completes(it, command)
        with Talk(it.address) as talk:
            equal(talk.offset(command), len(LINES), "offset")
            talk.say(reset, "250")
        with Talk(it.address) as talk:
            equal(talk.offset(command), len(LINES), "offset")
            talk.leave()
    it.taken()


@dialogue("nothing-else-discards")
def _(it):
    """QUIT within a transaction, a reset between transactions, other mail: the record stays."""
    command = mail()
    begins(it, command, ON_WIRE[:20])
    with Talk(it.address) as talk:
        talk.say("RSET", "250")
        talk.say(FROM, "250")
        talk.say(BOB, "250")
        talk.data(b"plain\r\n.\r\n", "250")
        talk.say("RSET", "250")
        talk.offset(command)
        talk.say("QUIT", "221")
    it.taken(b"plain\r\n")
    with Talk(it.address) as talk:
        offset = talk.offset(command)
        talk.data(rest(talk, offset), "250")
    it.taken(LINES)


@dialogue("taken-over")
def _(it):
    """A second session takes the transaction over, and the first can do no more with it."""
    command = mail()
    with Talk(it.address) as first, Talk(it.address) as second:
        first.say(command, "250")
        first.say(BOB, "250")
        first.say("DATA", "354")
        first.send(ON_WIRE[:30])
        reply = second.say(command, "250", "355")
        offset = 0 if reply.startswith("250") else int(reply.split()[1])
        if reply.startswith("250"):
            second.say(BOB, "250")
        first.send(b"\r\nof the first\r\n.\r\n")
        first.hear("421")
        first.closed()
        second.data(rest(second, offset), "250")
    it.taken(LINES)


@dialogue("taken-over-at-the-end")
def _(it):
    """Both are in their data; whoever claimed last delivers."""
    command = mail()
    with Talk(it.address) as first, Talk(it.address) as second:
        for talk in (first, second):
            reply = talk.say(command, "250", "355")
            if reply.startswith("250"):
                talk.say(BOB, "250")
            talk.say("DATA", "354")
        first.send(ON_WIRE + b".\r\n")
        first.hear("421 4.3.0")
        first.closed()
        second.send(ON_WIRE + b".\r\n")
        second.hear("250")
    it.taken(LINES)


@dialogue("taken-over-after-355")
def _(it):
    command = mail()
    begins(it, command, ON_WIRE[:30])
    with Talk(it.address) as first, Talk(it.address) as second:
        offset = first.offset(command)
        equal(second.offset(command), offset, "the offset of the second")
        first.send("DATA\r\n")
        reply = first.hear("421", "354")
        if reply.startswith("354"):
            first.send(rest(first, offset))
            first.hear("421")
        first.closed()
        second.data(rest(second, offset), "250")
    it.taken(LINES)


@dialogue("faults-before-the-cut")
def _(it):
    """A bare LF or CR in the first part refuses the whole, also behind a restart."""
    for fault in (b"a\nb\r\n", b"a\rb\r\n"):
        command = mail()
        begins(it, command, b"Subject: x\r\n\r\n" + fault + b"c\r\n")
        message = b"Subject: x\r\n\r\n" + fault + b"c\r\nd\r\n"
        with Talk(it.address) as talk:
            reply = talk.say(command, "250", "355")
            offset = 0 if reply.startswith("250") else int(reply.split()[1])
            if not offset:
                talk.say(BOB, "250")
            talk.data(message[offset:] + b".\r\n", "550 5.6.0")
    it.taken()


@dialogue("transid-syntax")
def _(it):
    longest = "<" + "a" * 38 + "@" + "b" * 39 + ">"
    equal(len(longest), 80, "the longest TRANSID")
    with Talk(it.address) as talk:
        for value in ("<a@b>", "<12345@claremont.edu>", "<**@x>", "<a.b.c@d.e>", "<a{}|~'`@!#$%&*+-^_>", longest):
            talk.say(f"{FROM} TRANSID={value}", "250")
            talk.say("RSET", "250")
        for value in (
            "", "a@b", "<a@b", "a@b>", "<a@b>c", "<a>", "<@b>", "<a@>", "<a@@b>", "<a@b@c>", "<.a@b>", "<a.@b>", "<a..b@c>",
            "<a@b.>", "<a/b@c>", "<a:b@c>", "<a@[127.0.0.1]>", '<"a"@b>', "<a,b@c>", "<é@b>", longest.replace("@", "a@"),
        ):
            with Talk(it.address) as other:  # so many errors are not borne on one connection
                other.say(f"{FROM} TRANSID={value}", "501 5.5.4")
        talk.say(f"{FROM} TRANSID", "501 5.5.4")
        talk.say(f"{FROM} TRANSID=<a@b> TRANSID=<a@b>", "501 5.5.4")
        talk.say(f"{FROM} TRANSID=<a@b>", "250")
        talk.say(f"{FROM} TRANSID=<c@d>", "503 5.5.1")
    with Talk(it.address, name=None) as talk:
        talk.say("HELO client.example.org", "250")
        talk.say(f"{FROM} TRANSID=<a@b>", "555")
        talk.say(FROM, "250")
    it.taken()


@dialogue("dsn-parameters")
def _(it):
    """RET, ENVID, NOTIFY and ORCPT: what is right, and what is 501."""
    with Talk(it.address) as talk:
        for right in ("RET=FULL", "ret=hdrs", "ENVID=x", "ENVID=a+2Bb+3D", "RET=FULL ENVID=" + "a" * 100):
            talk.say(f"{FROM} {right}", "250")
            talk.say("RSET", "250")
        for wrong in ("RET", "RET=BODY", "RET=FULL RET=FULL", "ENVID", "ENVID=", "ENVID=a+", "ENVID=a+G0"):
            talk.say(f"{FROM} {wrong}", "501 5.5.4")
        talk.say(FROM, "250")
        for right in ("NOTIFY=NEVER", "NOTIFY=SUCCESS,FAILURE,DELAY", "notify=delay", "ORCPT=rfc822;b+2Bc@example.net"):
            talk.say(f"{BOB} {right}", "250")
        for wrong in (
            "NOTIFY", "NOTIFY=", "NOTIFY=NEVER,FAILURE", "NOTIFY=FAILURE,", "NOTIFY=SOON", "NOTIFY=NEVER NOTIFY=NEVER",
            "ORCPT", "ORCPT=rfc822", "ORCPT=;b@example.net", "ORCPT=rfc822;a+2", "ORCPT=rfc822;",
        ):
            talk.say(f"{BOB} {wrong}", "501 5.5.4")
        talk.say(f"{BOB} RET=FULL", "555 5.5.4")
        talk.say("RSET", "250")
        talk.say(f"{FROM} NOTIFY=NEVER", "555 5.5.4")


@dialogue("without-a-transid")
def _(it):
    """Plain mail leaves nothing behind."""
    begins(it, FROM, ON_WIRE[:20])
    begins(it, FROM, ON_WIRE + b".\r\n", end=True)
    it.taken(LINES)
    begins(it, FROM, ON_WIRE + b".\r\n", end=True)
    it.taken(LINES)


@dialogue("large-offset")
def _(it):
    octets = h.large(300_000)
    wire = octets.replace(b"\r\n.", b"\r\n..")
    command = mail()
    begins(it, command, wire[:200_000])
    with Talk(it.address) as talk:
        offset = talk.offset(command)
        check(0 < offset <= 200_000, f"offset {offset}")
        part = octets[offset:].replace(b"\r\n.", b"\r\n..")
        talk.data((b"." if part.startswith(b".") else b"") + part + b".\r\n", "250")
    it.taken(octets)


@dialogue("rdlv-not-offered")
def _(it):
    with Talk(it.address) as talk:
        check("RDLV" not in talk.features and "DETA" not in talk.features.split("\n"), f"offered: {talk.features!r}")
        for command in ("RDLV maxtimer=600", "RDLV", "DETA"):
            talk.say(command, "502 5.5.1")
            talk.say(FROM, "250")
            talk.say(command, "502 5.5.1")
            talk.say("RSET", "250")
