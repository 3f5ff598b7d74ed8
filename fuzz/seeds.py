#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, but those that were found by fuzzing (`found-*`).

A seed is what the target reads; behind an octet 255 come the choices (see src/checks/mod.rs).
The seeds of `record` are what `Record::encode` gave for a few transactions, and the same without
their checksum, which the check adds; they are kept as they are, as old versions will have to be.
"""

import pathlib

ROOT = pathlib.Path(__file__).parent / "seeds"


def seed(target, name, octets, choices=None):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    if choices is not None:
        octets += b"\xff" + bytes(choices)
    (folder / name).write_bytes(octets)


def commands():
    lines = {
        "ehlo": b"EHLO client.example",
        "ehlo-literal": b"EHLO [IPv6:2001:db8::1]",
        "mail-rfc1845": b"MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>",
        "mail-all": b"MAIL FROM:<a@b.example> SIZE=1000 BODY=BINARYMIME SMTPUTF8 RET=HDRS"
        b" ENVID=QQ314159 AUTH=a+40b TRANSID=<1.2@c.example> X-OWN=1",
        "mail-null": b"MAIL FROM:<>",
        "mail-route": b"MAIL FROM:<@relay.example,@r2.example:a@b.example>",
        "mail-quoted": b'MAIL FROM:<"a b\\"c"@b.example>',
        "mail-resume": b"MAIL FROM:<a@b.example> TRANSID=<1@c> TRANSOFF=6135",
        "mail-injection": b"MAIL FROM:<a@b>\r\nRSET",
        "mail-bare": b"mail from: a@b.example size=1",
        "mail-utf8": "MAIL FROM:<ü@ä.example> SMTPUTF8".encode(),
        "rcpt": b"RCPT TO:<mrose@dbc.mtview.ca.us>",
        "rcpt-dsn": b"RCPT TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b.example",
        "rcpt-postmaster": b"RCPT TO:<Postmaster>",
        "rcpt-literal": b"RCPT TO:<a@[192.0.2.1]>",
        "data": b"DATA",
        "bdat": b"BDAT 18446744073709551615 LAST",
        "bdat-over": b"BDAT 18446744073709551616",
        "bdat-bad": b"BDAT 10 LAS",
        "burl": b"BURL imap://u@imap.example/INBOX;uid=1/;urlauth=x LAST",
        "auth": b"AUTH PLAIN AGEAYg==",
        "auth-empty": b"AUTH EXTERNAL =",
        "rdlv": b"RDLV maxtimer=30",
        "resume": b"RESUME <12345@claremont.edu>",
        "vrfy": b"VRFY somebody",
        "unknown": b"XCLIENT ADDR=192.0.2.1",
        "noop": b"NOOP  with text ",
        "mailbox": b'"quoted local"@[IPv6:::1]',
        "base64": b"aGVsbG8=",
    }
    for name, line in lines.items():
        seed("command", name, line)


def replies():
    wire = {
        "ok": b"250 2.1.0 Sender OK\r\n",
        "offset": b"355 6135 is the transaction offset\r\n",
        "lines": b"250-one\r\n250-2.0.0 two\r\n250 three\r\n354 go on\r\n",
        "bare-code": b"250\r\n221-\r\n221\r\n",
        "changed": b"250-one\r\n550 two\r\n",
        "bare-lf": b"250 one\n250 two\r\n",
        "progress": b"120-Still\r\n120 in progress\r\n250 done\r\n",
        "eight-bit": b"550 5.1.1 \xc3\xa4 unknown\r\n",
        "not-a-reply": b"hello\r\n",
        "stored": b"\x00\xfa\x02\x00\x01\x00\x05\x05hello",
    }
    for name, octets in wire.items():
        seed("reply", name, octets)
        seed("reply", name + "-split", octets, [1, 1, 2, 3, 1, 5, 2])


def ehlo():
    full = (
        b"250-mx.example.net says hello\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
        b"250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-STARTTLS\r\n"
        b"250-AUTH PLAIN LOGIN\r\n250-AUTH=LOGIN\r\n250-BURL imap\r\n250-RDLV mintimer=30\r\n"
        b"250-DETA\r\n250-RESUME\r\n250-SIZE 1000000\r\n250 CHECKPOINT\r\n"
    )
    seed("ehlo", "full", full)
    seed("ehlo", "few-kept", full, [3])
    seed("ehlo", "rfc1845", b"250-dbc.mtview.ca.us\r\n250 CHECKPOINT\r\n")
    seed("ehlo", "odd", b"250-\r\n250- x\r\n250-size \r\n250-SIZE 0\r\n250 AUTH=\r\n")
    seed("ehlo", "rdlv-twice", b"250-a\r\n250 RDLV mintimer=1 MINTIMER=2\r\n")
    seed("ehlo", "built", b"mx.example.net|says hello|XOWN|a b c", [0, 1, 99])
    seed("ehlo", "built-bad", b"mx.example.net|says\r\n250 hello|X OWN|")


def transid():
    values = {
        "rfc1845": b"<12345@claremont.edu>",
        "longest": b"<" + b"a" * 38 + b"@" + b"b" * 39 + b">",
        "too-long": b"<" + b"a" * 39 + b"@" + b"b" * 39 + b">",
        "atoms": b"<a.b.c@d.e.f>",
        "empty-atom": b"<a..b@c>",
        "no-at": b"<abc>",
        "two-at": b"<a@b@c>",
        "behind": b"<a@b>x",
        "literal": b"<a@[192.0.2.1]>",
        "offset": b"6135 is the transaction offset",
        "offset-most": b"18446744073709551615",
        "offset-over": b"18446744073709551616",
        "domain": b"client.example",
        "key": b"\x01\x00H\0\0\0\x03abc\0\0\0\x01d\0\0\0\x05<a@b>",
    }
    for name, value in values.items():
        seed("transid", name, value)
    seed("transid", "scoped", values["atoms"], [1] * 16 + [1, 3])


def dot():
    wire = {
        "message": b"Subject: x\r\n\r\nHello\r\n..\r\n...\r\n.x\r\n.\r\nQUIT\r\n",
        "empty": b".\r\n",
        "first-line-dot": b"..\r\n.\r\n",
        "bare-lf": b"a\n.\nb\n.\r\n",
        "bare-cr": b"a\r.\r\n.\rb\r\n.\r\n",
        "mixed-end": b"a\r\n.\n\r\n.\r.\r\n\n.\r\n",
        "nul": b"a\r\n\0.\r\n.\0\r\n.\r\n",
        "withheld": b"a\r\n.\r",
        "no-end": b"content without an end",
        "dots": b"..\r\n" * 40 + b".\r\n",
        "long": b"x" * 1200 + b"\r\n..y\r\n.\r\n",
    }
    for name, octets in wire.items():
        seed("dot", name, octets)
        seed("dot", name + "-split", octets, [1, 2, 1, 1, 3, 2, 0, 1, 2, 1, 1, 2, 1, 5, 1, 1] * 3)


def server():
    hello = b"EHLO c.example\r\n"
    mail = b"MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>\r\n"
    rcpt = b"RCPT TO:<mrose@dbc.mtview.ca.us>\r\n"
    text = b"Subject: x\r\n\r\nfirst line\r\n..second\r\nthird"
    rest = b"third line\r\n.\r\n"
    quit = b"QUIT\r\n"
    cut = b"\xfe"
    plain = b"MAIL FROM:<a@b.example>\r\n"
    seeds = {
        "plain": hello + plain + rcpt + rcpt + b"DATA\r\n" + text + rest + quit,
        "helo": b"HELO c\r\n" + plain + rcpt + b"DATA\r\n.\r\n" + quit,
        "restart": hello + mail + rcpt + b"DATA\r\n" + text + cut
        + hello + mail + rcpt + b"DATA\r\n" + rest + quit,
        "restart-twice": hello + mail + rcpt + b"DATA\r\n" + text + cut
        + hello + mail + rcpt + b"DATA\r\nthird\r\nfour" + cut
        + hello + mail + rcpt + b"DATA\r\nfour\r\n.\r\n" + quit,
        "restart-complete": hello + mail + rcpt + b"DATA\r\n" + text + rest + cut
        + hello + mail + rcpt + b"DATA\r\n.\r\n" + quit,
        "restart-complete-more": hello + mail + rcpt + b"DATA\r\n" + text + rest + cut
        + hello + mail + rcpt + b"DATA\r\nmore\r\n.\r\n" + quit,
        "restart-pipelined": hello + mail + rcpt + b"DATA\r\n" + text + cut
        + hello + mail + rcpt + b"BDAT 3\r\nabcRSET\r\n" + quit,
        "restart-other-mail": hello + mail + rcpt + b"DATA\r\n" + text + rest + cut
        + hello + mail.replace(b"ned", b"tom") + rcpt + quit,
        "restart-rcpt": hello + mail + rcpt + b"RCPT TO:<b@c>\r\nDATA\r\n" + text + cut
        + hello + mail + b"RCPT TO:<b@c>\r\n" + rcpt + b"RCPT TO:<x@y>\r\nDATA\r\n" + rest + quit,
        "bdat": hello + plain + rcpt + b"BDAT 5\r\nab\r\ncBDAT 0\r\nBDAT 3 LAST\r\n\r\r\n" + quit,
        "bdat-restart": hello + mail + rcpt + b"BDAT 5\r\nhello" + b"BDAT 9\r\nmor" + cut
        + hello + mail + rcpt + b"BDAT 2 LAST\r\ne!" + quit,
        "bdat-mixed": hello + plain + rcpt + b"BDAT 2\r\nab" + b"DATA\r\nBDAT 1 LAST\r\nc" + quit,
        "bdat-refused": hello + b"BDAT 7\r\nQUIT\r\n.BDAT 2 LAST\r\nxy" + plain + quit,
        "bdat-bad": hello + plain + rcpt + b"BDAT 99999999999999999999\r\nQUIT\r\n",
        "bare-octets": hello + plain + rcpt + b"DATA\r\na\n.\n\r.\r\r\n.\0\r\n.\r\n" + quit,
        "too-big": hello + b"MAIL FROM:<a@b> SIZE=9999\r\n" + plain + rcpt
        + b"DATA\r\n" + b"x" * 400 + b"\r\n.\r\n" + quit,
        "errors": b"FOO\r\n" * 25 + quit,
        "idle": b"NOOP\r\n" * 110,
        "long-line": b"NOOP " + b"x" * 600 + b"\r\n" + quit,
        "injection": hello + b"MAIL FROM:<a@b>\nRCPT TO:<c@d>\r\nMAIL FROM:<a\0@b>\r\n" + quit,
        "rset": hello + mail + rcpt + b"RSET\r\n" + mail + rcpt + b"DATA\r\nx" + cut + quit,
        "many-rcpt": hello + plain + rcpt * 12 + b"DATA\r\n.\r\n" + quit,
        "unoffered": hello + b"RDLV maxtimer=5\r\nCONT\r\nDETA\r\nRESUME <a@b>\r\nEXPN x\r\nHELP\r\n",
        "shut-off": hello[:-1],
    }
    for name, octets in seeds.items():
        seed("server", name, octets)
    for name in ("plain", "restart", "bdat-restart", "restart-complete", "bare-octets"):
        seed("server", name + "-split", seeds[name], [0] + [3, 1, 7, 2, 1, 30, 1, 4] * 8)
        seed("server", name + "-batches", seeds[name], [8] + [0] * 8)
        seed("server", name + "-repeated", seeds[name], [0, 250])
    lmtp = b"LHLO c.example\r\n"
    seed("server", "lmtp", lmtp + plain + rcpt + rcpt + b"DATA\r\nx\r\n.\r\n" + quit, [1])
    seed("server", "lmtp-restart", lmtp + mail + rcpt * 2 + b"DATA\r\nx\r\ny" + cut
         + lmtp + mail + rcpt * 2 + b"DATA\r\ny\r\n.\r\n" + quit, [1])
    seed("server", "starttls", hello + b"STARTTLS\r\n" + hello + b"AUTH PLAIN AGEAYg==\r\n" + hello
         + mail + rcpt + b"BURL imap://x LAST\r\n" + quit, [2])
    seed("server", "starttls-injection", hello + b"STARTTLS\r\nEHLO x\r\n", [2, 0])
    seed("server", "auth", hello + b"AUTH LOGIN\r\nYQ==\r\n*\r\nAUTH PLAIN\r\n!\r\n", [2, 5, 5])
    seed("server", "asked", hello + plain + b"XFOO\r\nVRFY a\r\n" + rcpt + b"DATA\r\n.\r\n", [48])
    long = (hello + mail + rcpt + b"RDLV maxtimer=5\r\nDATA\r\nx\r\n.\r\nCONT\r\nDETA\r\n" + cut
            + hello + mail + b"RDLV maxtimer=5\r\nDATA\r\n.\r\nCONT\r\nRSET\r\n" + plain + rcpt
            + b"RDLV maxtimer=5\r\nBDAT 1 LAST\r\nxRSET\r\nDETA\r\n" + quit)
    # Time passes (6), questions stay open (6) and are answered (5), lines come one by one.
    for number, turns in enumerate(([0, 30, 6], [6, 6, 0, 25], [20, 6, 3, 5, 0], [22, 9, 6, 4])):
        seed("server", f"rdlv-{number}", long, [0] + turns * 24)
    seed("server", "refused", hello + plain * 2 + rcpt + b"DATA\r\n.\r\n", [0, 5, 0, 0, 6, 1, 0])


def client():
    ehlo = b"220 hi\r\n250-mx.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 CHECKPOINT\r\n"
    slow = b"220 hi\r\n250-mx.example\r\n250 CHECKPOINT\r\n"
    plain = b"220 hi\r\n250 mx.example\r\n"
    ok = b"250 ok\r\n"
    data = b"354 go\r\n"
    cut = b"\xfe"
    bye = b"221 bye\r\n"
    seeds = {
        "delivered": ehlo + ok * 3 + data + ok + bye,
        "not-pipelined": slow + ok * 3 + data + ok + bye,
        "plain": plain + ok * 3 + data + ok + bye,
        "restart": ehlo + ok * 3 + data + cut + ehlo + b"355 14 is the offset\r\n" + ok * 2
        + data + ok + bye,
        "restart-complete": ehlo + ok * 3 + data + cut + slow + b"355 36 x\r\n" + ok * 2
        + data + ok + bye,
        "restart-inside-crlf": ehlo + ok * 3 + data + cut + ehlo + b"355 11 x\r\n" + ok * 3,
        "restart-beyond": ehlo + ok * 3 + data + cut + ehlo + b"355 99 x\r\n" + ok * 3,
        "restart-lost": ehlo + ok * 3 + data + cut + ehlo + ok * 3 + data + ok + bye,
        "unasked-355": plain + b"355 0 x\r\n",
        "refused": ehlo + b"550 no\r\n" + b"503 no\r\n" * 3 + bye,
        "one-recipient": ehlo + ok * 2 + b"550 5.1.1 unknown\r\n" + data + ok + bye,
        "no-recipients": ehlo + ok + b"550 no\r\n" * 2 + b"554 none\r\n" + bye,
        "deferred": ehlo + ok * 3 + data + b"451 later\r\n" + bye,
        "early-no": ehlo + ok * 3 + data + b"552 full\r\n",
        "closing": ehlo + b"421 going down\r\n",
        "rejected": b"554 no service\r\n" + bye,
        "garbage": b"220 hi\r\nhello\r\n",
        "lines": b"220-hi\r\n220-there\r\n220 you\r\n250-" + b"x" * 600 + b"\r\n",
        "progress": ehlo + ok * 3 + data + b"120 wait\r\n" + ok,
        "helo": b"220 hi\r\n500 what\r\n250 mx\r\n" + ok * 3 + data + ok + bye,
        "starttls": b"220 hi\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n" + ehlo[8:] + ok * 3 + data + ok,
        "starttls-injection": b"220 hi\r\n250-mx\r\n250 STARTTLS\r\n220 go\r\n250 mx\r\n",
    }
    long = (
        b"220 hi\r\n250-mx.example\r\n250-RDLV mintimer=30\r\n250-DETA\r\n250-CHUNKING\r\n"
        b"250-CHECKPOINT\r\n250 DSN\r\n"
    )
    wait = b"120 wait\r\n"
    impossible = b"520 5.3.3 no\r\n"
    seeds |= {
        "long": long + ok * 4 + data + wait + ok + bye,
        "long-detached": long + ok * 4 + data + wait * 2 + bye,
        "long-aborted": long + ok * 4 + data + wait * 2 + b"450 4.7.1 many\r\n" + ok + bye,
        "long-lost": long + ok * 4 + data + wait * 2 + cut + long + b"355 36 x\r\n" + ok + data
        + wait + ok + bye,
        "long-impossible": long + ok * 4 + impossible + data + ok + bye,
        "no-rdlv": long + ok * 3 + b"501 5.5.4 no\r\n" + data + ok + bye,
    }
    for name, octets in seeds.items():
        seed("client", name, octets)
    seed("client", "long-impossible-bdat", long + ok * 4 + impossible + ok * 5 + bye, [32])
    seed("client", "long-policy", seeds["long-aborted"], [64])
    for name in ("delivered", "restart", "plain"):
        seed("client", name + "-bdat", seeds[name], [32])
        seed("client", name + "-split", seeds[name], [8] + [5, 1, 2, 1, 3, 9] * 8)
        seed("client", name + "-empty", seeds[name], [64])
        seed("client", name + "-unfinished", seeds[name], [128 + 32 + 8])
    lmtp = ehlo + ok * 3 + data + ok + b"450 later\r\n" + bye
    seed("client", "lmtp", lmtp, [1])
    seed("client", "no-transid", seeds["restart"], [16])


def pair():
    scripts = {
        "plain": b"n=a=",
        "refused": b"n=r=",
        "deferred": b"n=t=",
        "cut": b"n=x" + b"n>1111x" + b"n>>><<<x" + b"n=a=",
        "octets": b"n" + b"1" * 200,
        "reply-lost": b"n=a>xn=a=",
        "deciding": b"n=xn=a=",
        "half-open": b"n=nn=h=a=",
        "late": b"n>>><<<>no>o<on=ao=",
        "server-killed": b"n=kn=a=",
        "server-killed-in-content": b"n>4444444444444444kn=a=",
        "client-killed": b"n>44444444K" + b"n=K" + b"n=a=",
        "withdrawn": b"n=wn=xwn=a=",
        "long": b"n=.=.=.=a=",
        "detached": b"dn=.=a=",
        "detached-refused": b"dn=.=r=",
        "detached-unanswered": b"dn=.>>xn=r=",
        "detached-killed": b"dn=.>>>kn=.=kar=",
        "aborted": b"un=.=a=",
        "aborted-unanswered": b"un=.>xn=a=",
        "aborted-too-late": b"un=.<a=",
        "timed-out": b"n.n=.....n=a=",
    }
    for name, script in scripts.items():
        often = name in ("cut", "late", "detached-killed")
        for settings in (0, 1, 2, 16, 32 + 8, 64 + 8, 192 + 33) if often else (0, 192 + 33):
            seed("pair", f"{name}-{settings}", script, [settings])


def main():
    for write in (commands, replies, ehlo, transid, dot, server, client, pair):
        write()


if __name__ == "__main__":
    main()
