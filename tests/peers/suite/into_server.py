"""Mail programs that know nothing of CHECKPOINT deliver to the example server."""

import contextlib
import json
import os
import pathlib
import re
import smtplib
import socket
import sys

from . import install
from . import harness as h
from .examples import Sender, Server, check_envelope, check_taken, example
from .harness import LOOPBACK, Proxy, Skip, case, check, equal, once, pipelined, run, temporary

ANN, BOB, CAROL, REFUSED = "ann@example.org", "bob@example.net", "carol@example.net", "dave@example.com"
CRLF = b"\r\n"
PEERS = ("smtplib", "swaks", "curl", "msmtp", "nodemailer", "server")


@once
def server():
    """One server for all cases, as one server meets all programs; ended by `ends.cleanly`."""
    return Server()


@contextlib.contextmanager
def watched(**cut):
    """The server behind a proxy; a failure shows the dialogue."""
    it = server()
    it.forget()
    with Proxy(it.port, **cut) as proxy:
        try:
            yield it, proxy
        except (h.Failed, smtplib.SMTPException, OSError, AssertionError) as error:
            raise h.Failed(f"{error!r}\n{proxy.dialogue()}") from error
        except h.OutOfTime:
            raise h.Failed(f"not done in time\n{proxy.dialogue()}") from None


def prepare(name):
    """Brings a program here; gives its name and version."""
    server()
    if name == "smtplib":
        return f"Python {sys.version.split()[0]} smtplib"
    if name == "swaks":
        return run([install.system_tool("swaks", "swaks"), "--version"]).out.decode().split("\n")[0]
    if name in ("curl", "msmtp"):
        return " ".join(run([install.system_tool(name, name), "--version"]).out.decode().split("(")[0].split("\n")[0].split()[:3])
    if name == "server":
        return "examples/server"
    _place, node = install.npm(NODEMAILER)
    running = run([node, "--version"]).out.decode().strip()
    if int(running.lstrip("v").split(".")[0]) < 20:
        raise Skip(f"{NODEMAILER} needs node 20, here is {running}")
    return f"{NODEMAILER.replace('@', ' ')} on node {running}"


def file_of(octets):
    path = temporary("message") / "message.eml"
    path.write_bytes(octets)
    return path


# ------------------------------------------------------------------ smtplib

@contextlib.contextmanager
def session(proxy, greet=True):
    with smtplib.SMTP(LOOPBACK, proxy.port, local_hostname="client.example.org", timeout=20) as smtp:
        if greet:
            smtp.ehlo()
        yield smtp


def _smtplib(octets, sender=ANN, recipients=(BOB,), mail=(), rcpt=(), wanted=None, wanted_rcpt=None):
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            refused = smtp.sendmail(sender, list(recipients), octets, list(mail), list(rcpt))
        equal(refused, {}, "refused recipients")
        check_taken(it, octets, sender, recipients, wanted, wanted_rcpt)


@case("smtplib.plain")
def _():
    # smtplib adds SIZE by itself where it is offered.
    _smtplib(h.plain(), wanted={"SIZE": str(len(h.plain()))})


@case("smtplib.dots")
def _():
    _smtplib(h.dots())


@case("smtplib.long-lines")
def _():
    _smtplib(h.long_lines())


@case("smtplib.empty-body")
def _():
    _smtplib(h.empty_body())


@case("smtplib.no-header")
def _():
    _smtplib(b".first line\r\n.\r\n")


@case("smtplib.eight-bit")
def _():
    _smtplib(h.eight_bit(), mail=["BODY=8BITMIME"], wanted={"BODY": "8BITMIME"})


@case("smtplib.eight-bit-unannounced")
def _():
    _smtplib(h.latin_one())


@case("smtplib.large")
def _():
    _smtplib(h.large())


@case("smtplib.smtputf8")
def _():
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            check(smtp.has_extn("smtputf8"), "SMTPUTF8 is not offered")
            octets = h.message("utf8", "Grüße\r\n".encode(), "X-Name: Jürgen\r\n".encode())
            refused = smtp.sendmail("jürgen@example.org", ["ключ@example.net"], octets, ["SMTPUTF8", "BODY=8BITMIME"])
        equal(refused, {}, "refused recipients")
        check_taken(it, octets, "jürgen@example.org", ["ключ@example.net"], {"SMTPUTF8": "", "BODY": "8BITMIME"})


@case("smtplib.dsn-size-body")
def _():
    _smtplib(
        h.plain(), recipients=(BOB, CAROL),
        mail=["BODY=8BITMIME", "RET=HDRS", "ENVID=QQ+2B314159"],
        rcpt=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;bob+2Blist@example.net"],
        wanted={"SIZE": None, "BODY": "8BITMIME", "RET": "HDRS", "ENVID": "QQ+2B314159"},
        wanted_rcpt={"NOTIFY": "SUCCESS,DELAY", "ORCPT": "rfc822;bob+2Blist@example.net"},
    )


@case("smtplib.null-sender")
def _():
    _smtplib(h.plain(), sender="")


@case("smtplib.one-refused")
def _():
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            refused = smtp.sendmail(ANN, [BOB, REFUSED, CAROL], h.plain())
        equal(sorted(refused), [REFUSED], "refused recipients")
        check(refused[REFUSED][0] == 550 and refused[REFUSED][1].startswith(b"5.1.1"), f"refused with {refused[REFUSED]}")
        check_taken(it, h.plain(), ANN, [BOB, CAROL])


@case("smtplib.all-refused-then-one")
def _():
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            try:
                smtp.sendmail(ANN, [REFUSED], h.plain())
                raise h.Failed("a message for nobody was taken")
            except smtplib.SMTPRecipientsRefused:
                pass
            smtp.sendmail(ANN, [BOB], h.dots())
        check_taken(it, h.dots(), ANN, [BOB])


@case("smtplib.many-on-one-connection")
def _():
    with watched() as (it, proxy):
        sent = [h.message(f"number {n}", b".line\r\n" * n) for n in range(60)]
        with session(proxy) as smtp:
            for number, octets in enumerate(sent):
                smtp.sendmail(f"ann+{number}@example.org", [BOB], octets)
        found = {envelope.sender: octets for octets, envelope in it.taken(len(sent))}
        equal(proxy.connections, 1, "connections")
        for number, octets in enumerate(sent):
            equal(found.get(f"ann+{number}@example.org"), octets, f"message {number}")


@case("smtplib.helo")
def _():
    with watched() as (it, proxy):
        with session(proxy, greet=False) as smtp:
            equal(smtp.helo()[0], 250, "reply to HELO")
            smtp.sendmail(ANN, [BOB], h.plain())
        check_taken(it, h.plain(), ANN, [BOB])


@case("smtplib.other-verbs")
def _():
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            equal(smtp.verify(BOB)[0], 252, "VRFY")
            equal(smtp.noop()[0], 250, "NOOP")
            equal(smtp.docmd("FROB", "x")[0], 500, "an unknown verb")
            equal(smtp.docmd("MAIL", f"FROM:<{ANN}> FROB=1")[0], 555, "an unknown parameter")
            equal(smtp.mail(ANN)[0], 250, "MAIL")
            check(smtp.docmd("DATA")[0] in (503, 554), "DATA without RCPT")
            equal(smtp.rset()[0], 250, "RSET")
            equal(smtp.rcpt(BOB)[0], 503, "RCPT without MAIL")
            smtp.sendmail(ANN, [BOB], h.plain())
        check_taken(it, h.plain(), ANN, [BOB])


@case("smtplib.too-large")
def _():
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            code, _ = smtp.mail(ANN, [f"SIZE={10 ** 15}"])
            equal(code, 552, "MAIL with a huge SIZE")
            smtp.rset()
            smtp.sendmail(ANN, [BOB], h.plain())
        check_taken(it, h.plain(), ANN, [BOB])


@case("smtplib.closes-after-quit")
def _():
    """The server ends the connection after 221 without waiting for the client to do so."""
    with watched() as (it, proxy):
        for group in (b"QUIT\r\n", b"EHLO client.example.org\r\nNOOP\r\nQUIT\r\n"):
            with socket.create_connection((LOOPBACK, it.port), 5) as link:
                link.sendall(group)
                heard = b""
                while got := link.recv(4096):
                    heard += got
            check(heard.endswith(b"\r\n") and heard.split(CRLF)[-2].startswith(b"221 "), f"heard {heard!r}")


@case("smtplib.connection-dropped")
def _():
    """A connection that is gone in the middle of the data leaves nothing behind, and the next try delivers."""
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            smtp.mail(ANN)
            smtp.rcpt(BOB)
            smtp.docmd("DATA")
            smtp.send(b"Subject: half\r\n\r\nhalf a line")
            smtp.sock.shutdown(socket.SHUT_RDWR)
            smtp.close()
        with session(proxy) as smtp:
            smtp.sendmail(ANN, [BOB], h.plain())
        check_taken(it, h.plain(), ANN, [BOB])


# --------------------------------------------- raw groups, written in one piece

def _raw(proxy, octets, half_close=False):
    """Waits for the greeting, writes everything at once, and reads to the end."""
    with socket.create_connection((LOOPBACK, proxy.port), 20) as link:
        link.settimeout(20)
        heard = link.recv(4096)
        link.sendall(octets)
        if half_close:
            link.shutdown(socket.SHUT_WR)
        while got := link.recv(65536):
            heard += got
    return [line for line in heard.decode().split("\r\n") if re.match(r"\d{3}( |$)", line)]


def _codes(lines):
    return [int(line[:3]) for line in lines]


@case("smtplib.raw-pipelined-groups")
def _():
    with watched() as (it, proxy):
        group = (
            b"EHLO client.example.org\r\n"
            b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<dave@example.com>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\n"
        )
        with session(proxy) as smtp:
            smtp.send(group[group.index(b"MAIL"):])
            equal([smtp.getreply()[0] for _ in range(4)], [250, 550, 250, 354], "replies of the group")
            # End of data, the next group and QUIT in one write.
            smtp.send(b"one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<carol@example.net>\r\nDATA\r\n")
            equal([smtp.getreply()[0] for _ in range(4)], [250, 250, 250, 354], "replies of the second group")
            smtp.send(b".\r\nQUIT\r\n")
            equal([smtp.getreply()[0] for _ in range(2)], [250, 221], "replies at the end")
            smtp.close()
        found = {envelope.sender: (octets, envelope) for octets, envelope in it.taken(2)}
        equal(found[ANN][0], b"one\r\n", "first message")
        equal(found[""][0], b"", "empty message")
        check_envelope(found[""][1], "", [CAROL])
        check(pipelined(proxy), "not pipelined")


@case("smtplib.raw-whole-session-at-once")
def _():
    """MAIL, RCPT, BDAT and QUIT in one write: chunks need no 354."""
    with watched() as (it, proxy):
        binary = bytes(range(256)) * 5
        lines = _raw(
            proxy,
            b"EHLO client.example.org\r\nMAIL FROM:<ann@example.org> BODY=BINARYMIME\r\nRCPT TO:<bob@example.net>\r\n"
            b"BDAT 7\r\n.\r\n.\r\n.BDAT %d\r\n%sBDAT 0 LAST\r\nQUIT\r\n" % (len(binary), binary),
        )
        equal(_codes(lines), [220, 250, 250, 250, 250, 250, 250, 221], "replies")
        (octets, envelope), = it.taken(1)
        equal(octets, b".\r\n.\r\n." + binary, "delivered octets")
        equal(envelope.parameters["BODY"], "BINARYMIME", "BODY")


@case("smtplib.raw-everyone-refused")
def _():
    """RFC 2920 §3.1: DATA of a group where no recipient is accepted."""
    with watched() as (it, proxy):
        lines = _raw(
            proxy,
            b"EHLO client.example.org\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<dave@example.com>\r\nDATA\r\nQUIT\r\n",
        )
        codes = _codes(lines)
        equal(codes[:4], [220, 250, 250, 550], "replies")
        check(codes[4] in (503, 554) and codes[5] == 221, f"DATA and QUIT: {lines}")
        it.taken(0)


@case("smtplib.raw-bare-line-feed")
def _():
    """Nothing is smuggled behind a line that a bare LF ends."""
    with watched() as (it, proxy):
        for trick in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r.\r", b"\r\n.\r"):
            with session(proxy) as smtp:
                smtp.mail(ANN)
                smtp.rcpt(BOB)
                smtp.docmd("DATA")
                smtp.send(b"Subject: x\r\n\r\nhere" + trick + b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.net>\r\n.\r\n")
                equal(smtp.getreply()[0], 550, f"end of data after {trick!r}")
                equal(smtp.noop()[0], 250, f"NOOP after {trick!r}")
        it.taken(0)


# -------------------------------------------------------------------- swaks

def _swaks(proxy, octets, *more, sender=ANN, recipients=(BOB,), expect=0):
    result = run([
        install.system_tool("swaks", "swaks"), "--server", LOOPBACK, "--port", str(proxy.port), "--timeout", "20s",
        "--ehlo", "client.example.org", "--from", sender, "--to", ",".join(recipients),
        # swaks writes CRLF "." CRLF behind the data, whatever they end with.
        "--data", f"@{file_of(octets.removesuffix(CRLF))}", *more,
    ], 40)
    check(result.code == expect, f"swaks {result}")
    return result


@case("swaks.plain")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.plain())
        check_taken(it, h.plain(), ANN, [BOB])


@case("swaks.pipeline")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.plain(), "--pipeline", recipients=(BOB, CAROL))
        check(pipelined(proxy), "swaks did not pipeline")
        check_taken(it, h.plain(), ANN, [BOB, CAROL])


@case("swaks.pipeline-one-refused")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.plain(), "--pipeline", recipients=(BOB, REFUSED, CAROL))
        check_taken(it, h.plain(), ANN, [BOB, CAROL])


@case("swaks.all-refused")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.plain(), "--pipeline", recipients=(REFUSED,), expect=24)
        it.taken(0)


@case("swaks.dsn")
def _():
    """swaks has no option for DSN; it puts any text between < and >, so the last value ends with ">"."""
    with watched() as (it, proxy):
        _swaks(
            proxy, h.plain(), "--pipeline", sender="ann@example.org> RET=FULL ENVID=Q1",
            recipients=("bob@example.net> NOTIFY=FAILURE ORCPT=rfc822;bob@example.net",),
        )
        check_taken(
            it, h.plain(), ANN, [BOB], {"RET": "FULL", "ENVID": "Q1>"},
            {"NOTIFY": "FAILURE", "ORCPT": "rfc822;bob@example.net>"},
        )


@case("swaks.esmtp-off")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.plain(), "--protocol", "SMTP")
        check(b"HELO client" in proxy.octets("C"), "no HELO")
        check_taken(it, h.plain(), ANN, [BOB])


@case("swaks.dots")
def _():
    # swaks takes a lone dot at the end of the file for the end of the data.
    octets = h.dots() + b".end\r\n"
    with watched() as (it, proxy):
        _swaks(proxy, octets, "--pipeline")
        check_taken(it, octets, ANN, [BOB])


@case("swaks.eight-bit")
def _():
    with watched() as (it, proxy):
        _swaks(proxy, h.eight_bit())
        check_taken(it, h.eight_bit(), ANN, [BOB])


# --------------------------------------------------------------------- curl

def _curl(proxy, octets, *more, sender=ANN, recipients=(BOB,), expect=0, path="client.example.org"):
    command = [
        install.system_tool("curl", "curl"), "-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "40",
        f"smtp://{LOOPBACK}:{proxy.port}/{path}", "--mail-from", sender, "--upload-file", str(file_of(octets)),
    ]
    for recipient in recipients:
        command += ["--mail-rcpt", recipient]
    result = run([*command, *more], 60, env={**os.environ, "LC_ALL": "C.UTF-8"})
    check(result.code == expect, f"curl {result}")
    return result


def _curl_delivers(octets, **more):
    with watched() as (it, proxy):
        _curl(proxy, octets, **more)
        check_taken(it, octets, more.get("sender", ANN), more.get("recipients", (BOB,)), {"SIZE": str(len(octets))})


@case("curl.plain")
def _():
    _curl_delivers(h.plain())


@case("curl.several-recipients")
def _():
    _curl_delivers(h.plain(), recipients=(BOB, CAROL, "erin@example.net"))


@case("curl.dots")
def _():
    _curl_delivers(h.dots())


@case("curl.eight-bit")
def _():
    _curl_delivers(h.eight_bit())


@case("curl.large")
def _():
    _curl_delivers(h.large())


@case("curl.lf-file")
def _():
    with watched() as (it, proxy):
        _curl(proxy, h.plain().replace(b"\r\n", b"\n"), "--crlf")
        check_taken(it, h.plain(), ANN, [BOB])


@case("curl.one-refused")
def _():
    with watched() as (it, proxy):
        _curl(proxy, h.plain(), "--mail-rcpt-allowfails", recipients=(BOB, REFUSED, CAROL))
        check_taken(it, h.plain(), ANN, [BOB, CAROL])


@case("curl.refused")
def _():
    with watched() as (it, proxy):
        _curl(proxy, h.plain(), recipients=(REFUSED,), expect=55)
        it.taken(0)


@case("curl.smtputf8")
def _():
    # curl announces SMTPUTF8 when the mailbox, not only the domain, needs it.
    with watched() as (it, proxy):
        _curl(proxy, h.eight_bit(), sender="jürgen@example.org", recipients=("ключ@example.net",))
        check_taken(it, h.eight_bit(), "jürgen@example.org", ["ключ@example.net"], {"SMTPUTF8": ""})


# -------------------------------------------------------------------- msmtp

def _msmtp(proxy, octets, *more, sender=ANN, recipients=(BOB,), expect=0):
    result = run([
        install.system_tool("msmtp", "msmtp"), f"--host={LOOPBACK}", f"--port={proxy.port}", "--timeout=20",
        "--domain=client.example.org", "--tls=off", "--auth=off", f"--from={sender}", "--remove-bcc-headers=off",
        "--set-from-header=off", "--set-date-header=off", "--set-msgid-header=off", *more, "--", *recipients,
    ], 40, data=octets, env={"PATH": os.environ["PATH"], "HOME": str(temporary("home")), "LC_ALL": "C.UTF-8"})
    check(result.code == expect, f"msmtp {result}")
    return result


def _msmtp_delivers(octets, *more, sent=None, recipients=(BOB,), mail=None, rcpt=None):
    with watched() as (it, proxy):
        _msmtp(proxy, sent or octets, *more, recipients=recipients)
        check_taken(it, octets, ANN, recipients, mail, rcpt)
        return proxy


@case("msmtp.plain")
def _():
    _msmtp_delivers(h.plain(), sent=h.plain().replace(b"\r\n", b"\n"))


@case("msmtp.pipelined")
def _():
    proxy = _msmtp_delivers(h.plain(), recipients=(BOB, CAROL, "erin@example.net"))
    check(pipelined(proxy, b"RCPT TO:", b"\r\nDATA\r\n"), "msmtp did not pipeline RCPT and DATA")


@case("msmtp.dsn")
def _():
    _msmtp_delivers(
        h.plain(), "--dsn-notify=failure,delay", "--dsn-return=headers", recipients=(BOB, CAROL),
        mail={"RET": "HDRS"}, rcpt={"NOTIFY": "FAILURE,DELAY"},
    )


@case("msmtp.dots")
def _():
    _msmtp_delivers(h.dots())


@case("msmtp.eight-bit")
def _():
    _msmtp_delivers(h.eight_bit())


@case("msmtp.long-lines")
def _():
    _msmtp_delivers(h.long_lines())


@case("msmtp.refused")
def _():
    with watched() as (it, proxy):
        # msmtp sends to all or to none.
        result = _msmtp(proxy, h.plain(), recipients=(BOB, REFUSED), expect=65)
        check(b"5.1.1" in result.err, f"msmtp did not show the reply: {result}")
        it.taken(0)


# --------------------------------------------------------------- nodemailer

NODEMAILER = "nodemailer@10.6.0"


def _nodemailer(proxy, messages, **transport):
    """Sends through nodemailer; gives what it reports for each message."""
    place, node = install.npm(NODEMAILER)
    job = {
        "transport": {
            "host": LOOPBACK, "port": proxy.port, "name": "client.example.org", "secure": False, "ignoreTLS": True,
            "connectionTimeout": 10000, "greetingTimeout": 10000, "socketTimeout": 20000, **transport,
        },
        "messages": [{**message, "raw": message["raw"].hex()} for message in messages],
    }
    script = pathlib.Path(__file__).with_name("nodemailer_send.cjs")
    result = run([node, script], 60, data=json.dumps(job).encode(),
                 env={**os.environ, "NODE_PATH": str(place / "node_modules")})
    check(result.code == 0, f"nodemailer {result}")
    return json.loads(result.out)


def _envelope(sender=ANN, recipients=(BOB,), **more):
    return {"from": sender, "to": list(recipients), **more}


def _nodemailer_delivers(octets, sender=ANN, recipients=(BOB,), mail=None, rcpt=None, **more):
    with watched() as (it, proxy):
        told, = _nodemailer(proxy, [{"envelope": _envelope(sender, recipients), "raw": octets, **more}])
        check(told.get("accepted") == list(recipients), f"nodemailer reports {told}")
        check_taken(it, octets, sender, recipients, mail, rcpt)
        return proxy


@case("nodemailer.plain")
def _():
    proxy = _nodemailer_delivers(h.plain(), recipients=(BOB, CAROL))
    check(pipelined(proxy), "nodemailer did not pipeline")


@case("nodemailer.dots")
def _():
    _nodemailer_delivers(h.dots())


@case("nodemailer.eight-bit")
def _():
    _nodemailer_delivers(h.eight_bit())


@case("nodemailer.large")
def _():
    _nodemailer_delivers(h.large())


@case("nodemailer.smtputf8")
def _():
    _nodemailer_delivers(h.eight_bit(), "jürgen@example.org", ("ключ@example.net",), {"SMTPUTF8": ""})


@case("nodemailer.dsn")
def _():
    _nodemailer_delivers(
        h.plain(), recipients=(BOB,), mail={"RET": "HDRS", "ENVID": "n-42"},
        rcpt={"NOTIFY": "FAILURE,DELAY", "ORCPT": "rfc822;bob@example.net"},
        dsn={"id": "n-42", "return": "headers", "notify": ["failure", "delay"], "recipient": BOB},
    )


@case("nodemailer.one-refused")
def _():
    with watched() as (it, proxy):
        told, = _nodemailer(proxy, [{"envelope": _envelope(recipients=(BOB, REFUSED, CAROL)), "raw": h.plain()}])
        equal((told.get("accepted"), told.get("rejected")), ([BOB, CAROL], [REFUSED]), "what nodemailer reports")
        check_taken(it, h.plain(), ANN, [BOB, CAROL])


@case("nodemailer.all-refused")
def _():
    with watched() as (it, proxy):
        told, = _nodemailer(proxy, [{"envelope": _envelope(recipients=(REFUSED,)), "raw": h.plain()}])
        equal(told.get("code"), 550, f"what nodemailer reports: {told}")
        it.taken(0)


@case("nodemailer.pool")
def _():
    with watched() as (it, proxy):
        sent = [h.message(f"pool {n}", b"..line\r\n.\r\n" * n) for n in range(40)]
        told = _nodemailer(
            proxy,
            [{"envelope": _envelope(f"ann+{n}@example.org"), "raw": octets} for n, octets in enumerate(sent)],
            pool=True, maxConnections=3, maxMessages=100,
        )
        check(all(one.get("accepted") == [BOB] for one in told), f"nodemailer reports {told}")
        found = {envelope.sender: octets for octets, envelope in it.taken(len(sent))}
        check(1 <= proxy.connections <= 3, f"{proxy.connections} connections")
        for number, octets in enumerate(sent):
            equal(found.get(f"ann+{number}@example.org"), octets, f"message {number}")


# ------------------------- the example client, to see that CHECKPOINT does work

@case("server.send-restarts")
def _():
    """After a cut the second run of `send` goes on, and sends nothing twice that was promised."""
    example("send")
    octets = h.large(8_000_000)
    with watched(cut_after=5_000_000) as (it, proxy):
        sender = Sender(octets, (BOB, CAROL))
        sender.expect(proxy, 75)
        sender.expect(proxy, 0)
        check_taken(it, octets, ANN, [BOB, CAROL], {"TRANSID": None})
        check(CRLF + b"355 " in proxy.octets("S", 1), "no 355")
        again = len(proxy.octets("C", 1))
        check(again < len(octets) * 3 // 4, f"{again} octets of {len(octets)} were sent by the second run")


@case("server.send-lost-reply")
def _():
    """The reply to the end of data is lost: the second run gets it again, and there is one message."""
    example("send")
    with watched(cut_behind=b"\r\n.\r\n") as (it, proxy):
        sender = Sender(h.dots() + b"end\r\n")
        sender.expect(proxy, 75)
        sender.expect(proxy, 0)
        check_taken(it, h.dots() + b"end\r\n", ANN, [BOB])


# ---------------------------------------------------------------------- end

@case("server.ends-cleanly")
def _():
    """SIGTERM ends the server with exit code 0 while a client is connected, with 221 or 421."""
    with watched() as (it, proxy):
        with session(proxy) as smtp:
            try:
                it.stop()
                smtp.sock.settimeout(5)
                said = smtp.sock.recv(4096)
            finally:
                smtp.close()
            check(said.startswith(b"421 "), f"at shutdown the server said {said!r}")
