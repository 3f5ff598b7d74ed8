"""What the server reads: paths, parameters, TRANSID (RFC 1845 §2), RDLV's timer, DSN (RFC 3461)."""

import re

_ATOM = r"[!#$%&'*+\-0-9A-Z^_`a-z{|}~]+"  # ASCII without SPACE, CTL, "." and tspecials
_TOKEN = rf"{_ATOM}(?:\.{_ATOM})*"
_TRANSID = re.compile(rf"<{_TOKEN}@{_TOKEN}>")
_PATH = re.compile(r'\s*(<(?:@[^:<>\s]*:)?((?:"(?:[^"\\]|\\.)*"|[^<>\s"])*)>)(?:\s+(.*))?', re.S)
_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9-]*")
_VALUE = re.compile(r"[^\x00-\x20=\x7f]+")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")

SYNTAX = "501 5.5.4 Syntax error in parameters"


class Refused(Exception):
    """A command that is answered with this reply and changes nothing."""

    def __init__(self, reply):
        super().__init__(reply)
        self.reply = reply


def path(text, keyword, syntax):
    """The path and the parameters of MAIL or RCPT: ("a@b", "SIZE=1 BODY=7BIT")."""
    if text is None or not text.upper().startswith(keyword):
        raise Refused(syntax)
    found = _PATH.fullmatch(text[len(keyword):])
    if not found:
        raise Refused(syntax)
    return found[2], found[3] or ""


def parameters(text, known):
    """{keyword: value or None}; each of `known` says whether a value is right."""
    found = {}
    for word in text.split():
        keyword, has_value, value = word.partition("=")
        keyword = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or has_value and not _VALUE.fullmatch(value):
            raise Refused(SYNTAX)
        if keyword in found:
            raise Refused("501 5.5.4 Parameter given twice")
        if keyword not in known:
            raise Refused("555 5.5.4 Parameter not known")
        if not known[keyword](value if has_value else None):
            raise Refused(SYNTAX)
        found[keyword] = value if has_value else None
    return found


def transid(value):
    return value is not None and len(value) <= 80 and bool(_TRANSID.fullmatch(value))


def _one_of(*words):
    return lambda value: value is not None and value.upper() in words


def _notify(value):
    words = (value or "").upper().split(",")
    return words == ["NEVER"] or len(set(words)) == len(words) and set(words) <= {"SUCCESS", "FAILURE", "DELAY"}


def _orcpt(value):
    kind, semicolon, address = (value or "").partition(";")
    return bool(semicolon and re.fullmatch(_ATOM, kind) and address and _XTEXT.fullmatch(address))


_SIZE = {"SIZE": lambda value: value is not None and re.fullmatch(r"[0-9]{1,20}", value)}
_BODY = {"BODY": _one_of("7BIT", "8BITMIME", "BINARYMIME")}

# After HELO there are no extensions, but these two are read all the same.
MAIL_PLAIN = {**_SIZE, **_BODY}
MAIL = {
    **_SIZE, **_BODY,
    "SMTPUTF8": lambda value: value is None,
    "RET": _one_of("FULL", "HDRS"),
    "ENVID": lambda value: value is not None and len(value) <= 100 and bool(_XTEXT.fullmatch(value)),
    "TRANSID": transid,
}
RCPT = {"NOTIFY": _notify, "ORCPT": _orcpt}


def maxtimer(argument):
    """The seconds of `RDLV maxtimer=<seconds>`."""
    if argument is None:
        raise Refused("501 5.5.2 maxtimer is missing")
    found = re.fullmatch(r"maxtimer=([0-9]{1,20})", argument.strip(), re.I)
    if not found or not 1 <= int(found[1]) < 2 ** 31:
        raise Refused("501 5.5.4 Bad maxtimer")
    return int(found[1])


def chunk(argument):
    """The size of a chunk, and whether it is the last; None where it cannot be told."""
    found = re.fullmatch(r"([0-9]{1,19})(?:\s+(LAST))?\s*", argument or "", re.I)
    return (int(found[1]), bool(found[2])) if found else None


def same_path(one, other):
    """Whether two paths are the same: local parts octet by octet, domains in any case."""
    def parts(address):
        local, at, domain = address.rpartition("@")
        return local, at, domain.lower()

    return parts(one) == parts(other)


def same_mail(one, other):
    """Whether a MAIL continues the transaction of another: SIZE and the order do not count."""
    def rest(mail):
        given = {key: value for key, value in mail["parameters"].items() if key not in ("SIZE", "TRANSID")}
        body = (given.pop("BODY", None) or "7BIT").upper()
        ret = (given.pop("RET", None) or "").upper()
        return given, body, ret

    return same_path(one["path"], other["path"]) and rest(one) == rest(other)


def same_rcpt(one, other):
    def rest(rcpt):
        given = rcpt["parameters"]
        notify = frozenset((given.get("NOTIFY") or "").upper().split(","))
        return notify, given.get("ORCPT")

    return same_path(one["path"], other["path"]) and rest(one) == rest(other)
