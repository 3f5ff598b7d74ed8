"""Servers without CHECKPOINT that take mail: Postfix and Exim in chroots, aiosmtpd.

Each sink accepts mail for every address at example.net but
refused@example.net (550), refuses other domains, and keeps what it took as
files. `taken()` gives the messages that came since the last call.
"""

import os
import pathlib
import shutil
import stat
import sys

from . import install
from .harness import CACHE, LOOPBACK, Failed, Process, Skip, free_port, greets, run, temporary, wait_for

USERS = """root:x:0:0:root:/root:/bin/false
daemon:x:1:1::/:/bin/false
nobody:x:65534:65534::/nonexistent:/bin/false
postfix:x:700:700::/var/spool/postfix:/bin/false
vmail:x:702:702::/var/mail:/bin/false
Debian-exim:x:703:703::/var/spool/exim4:/bin/false
"""
GROUPS = """root:x:0:
daemon:x:1:
mail:x:8:
nogroup:x:65534:
postfix:x:700:
postdrop:x:701:
vmail:x:702:
Debian-exim:x:703:
"""
POSTFIX, POSTDROP, VMAIL, EXIM = 700, 701, 702, 703


def _make(directory, owner=0, group=0, mode=0o755):
    directory.mkdir(parents=True, exist_ok=True)
    os.chown(directory, owner, group)
    directory.chmod(mode)
    return directory


def _chroot(name, packages):
    """A chroot of this run, made of the cached tree, with its own users and devices."""
    tree = install.debian_tree(name, packages)
    made = temporary(name, CACHE)
    made.chmod(0o755)
    root = made / "root"
    # Links to the files of the tree: none of them is written to here.
    copied = run(["cp", "-al", tree, root], 60)
    if copied.code:
        raise Failed(f"copying {tree.name}: {copied}")
    for path, text in (
        ("etc/passwd", USERS), ("etc/group", GROUPS),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"),
        ("etc/services", "smtp 25/tcp\n"), ("etc/protocols", "tcp 6 TCP\n"), ("etc/resolv.conf", ""),
    ):
        _make((root / path).parent)
        (root / path).unlink(missing_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o644)
    _make(root / "dev")
    for device, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        try:
            os.mknod(root / "dev" / device, stat.S_IFCHR | 0o666, os.makedev(1, minor))
            (root / "dev" / device).chmod(0o666)
            (root / "dev" / device).open("rb").close()
        except OSError as error:
            raise Skip(f"no device nodes in a chroot here ({error.strerror})") from None
    _make(root / "tmp", mode=0o1777)
    _make(root / "var/mail/box", VMAIL, VMAIL)
    for sub in ("new", "cur", "tmp"):
        _make(root / "var/mail/box" / sub, VMAIL, VMAIL)
    return root


def _own(root, command):
    """A command to be run inside the chroot."""
    return [shutil.which("chroot") or "/usr/sbin/chroot", root, *command]


class Sink:
    """What the sinks have in common: a port, a log, a maildir."""

    process = None

    def __init__(self):
        self.seen = set()

    def _new(self):
        return [path for path in self.box.iterdir() if path.name not in self.seen]

    def taken(self, count=1, seconds=20):
        """The messages taken since the last call; fails unless there are `count` (0: any number)."""
        if count:
            wait_for(lambda: len(self._new()) >= count, seconds)
        found = self._new()
        self.seen.update(path.name for path in found)
        if count and len(found) != count:
            raise Failed(f"{self.name} delivered {len(found)} message(s) instead of {count}")
        return [path.read_bytes() for path in found]

    def log_end(self):
        texts = []
        for path in self.logs:
            if path.is_file():
                texts.append("\n".join(path.read_text(errors="replace").splitlines()[-25:]))
        return "\n".join(texts)

    def _wait(self):
        if not wait_for(lambda: not self.process.alive() or greets(self.port), 20):
            raise Failed(f"{self.name} did not greet within 20 s\n{self.log_end()}")
        if not self.process.alive():
            raise Failed(f"{self.name} ended at its start\n{self.log_end()}")

    def stop(self):
        if self.process:
            self.process.stop()


class Postfix(Sink):
    name = "postfix"

    def __init__(self):
        super().__init__()
        root = _chroot("postfix", ("postfix",))
        self.port = free_port()
        self.box = root / "var/mail/box/new"
        etc = root / "etc/postfix"
        (etc / "main.cf").write_text(
            "compatibility_level = 3.6\n"
            "myhostname = postfix.example.net\n"
            "mydestination =\n"
            "mynetworks = 127.0.0.0/8\n"
            "inet_interfaces = 127.0.0.1\n"
            "inet_protocols = ipv4\n"
            "smtp_dns_support_level = disabled\n"
            "smtputf8_enable = yes\n"
            "alias_maps =\n"
            "alias_database =\n"
            "local_recipient_maps =\n"
            "virtual_mailbox_domains = example.net\n"
            "virtual_mailbox_base = /var/mail\n"
            "virtual_mailbox_maps = static:box/\n"
            f"virtual_uid_maps = static:{VMAIL}\n"
            f"virtual_gid_maps = static:{VMAIL}\n"
            "smtpd_peername_lookup = no\n"
            "smtpd_recipient_restrictions =\n"
            "    check_recipient_access inline:{{refused@example.net = 550 5.1.1 No such user}, {later@example.net = 450 4.2.1 Come again}},\n"
            "    reject_unauth_destination\n"
            "smtpd_relay_restrictions = reject_unauth_destination\n"
            "message_size_limit = 20000000\n"
            "virtual_mailbox_limit = 0\n"
            "maillog_file = /var/log/postfix.log\n"
        )
        services = [
            "postlog unix-dgram n - n - 1 postlogd",
            f"{LOOPBACK}:{self.port} inet n - n - - smtpd",
            "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup",
            "qmgr unix n - n 300 1 qmgr", "rewrite unix - - n - - trivial-rewrite",
            "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce",
            "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap",
            "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
            "discard unix - - n - - discard", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache", "tlsmgr unix - - n 1000? 1 tlsmgr",
            # Nothing leaves this machine: other destinations are an error.
            "smtp unix - - n - - error", "relay unix - - n - - error", "local unix - - n - - error",
        ]
        (etc / "master.cf").write_text("\n".join(services) + "\n")
        files = root / "usr/share/postfix/dynamicmaps.cf"
        if files.is_file():
            shutil.copy(files, etc / "dynamicmaps.cf")
        spool = _make(root / "var/spool/postfix")
        for sub in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            _make(spool / sub, POSTFIX, 0, 0o700)
        _make(spool / "maildrop", POSTFIX, POSTDROP, 0o730)
        _make(spool / "public", POSTFIX, POSTDROP, 0o710)
        _make(spool / "pid")
        _make(root / "var/lib/postfix", POSTFIX, POSTFIX, 0o700)
        _make(root / "var/log")
        out = root.parent / "master.log"
        self.logs = [out, root / "var/log/postfix.log"]
        self.version = "Postfix " + run(_own(root, ["/usr/sbin/postconf", "-hd", "mail_version"]), 20).out.decode().strip()
        self.process = Process(_own(root, ["/usr/lib/postfix/sbin/master", "-s"]), out)
        self._wait()


class Exim(Sink):
    name = "exim"

    def __init__(self):
        super().__init__()
        root = _chroot("exim", ("exim4-daemon-light",))
        self.port = free_port()
        self.box = root / "var/mail/box/new"
        _make(root / "etc/exim4")
        (root / "etc/exim4/exim4.conf").write_text(
            "primary_hostname = exim.example.net\n"
            "domainlist local_domains = example.net\n"
            "keep_environment =\n"
            "log_file_path = /var/log/exim4/%slog\n"
            "local_interfaces = 127.0.0.1\n"
            "disable_ipv6\n"
            "tls_advertise_hosts =\n"
            "dsn_advertise_hosts = *\n"
            "smtputf8_advertise_hosts = *\n"
            "chunking_advertise_hosts = *\n"
            "host_lookup =\n"
            "rfc1413_hosts =\n"
            "message_size_limit = 20M\n"
            "never_users =\n"
            "qualify_domain = example.net\n"
            "acl_smtp_rcpt = acl_rcpt\n"
            "acl_smtp_data = acl_data\n"
            "begin acl\n"
            "acl_rcpt:\n"
            "  deny local_parts = refused\n"
            "       message = 550 5.1.1 No such user\n"
            "  defer local_parts = later\n"
            "       message = 450 4.2.1 Come again\n"
            "  accept domains = +local_domains\n"
            "  deny message = 550 5.7.1 Relay not permitted\n"
            "acl_data:\n"
            "  accept\n"
            "begin routers\n"
            "box:\n"
            "  driver = accept\n"
            "  domains = +local_domains\n"
            "  transport = box\n"
            "begin transports\n"
            "box:\n"
            "  driver = appendfile\n"
            "  maildir_format\n"
            "  directory = /var/mail/box\n"
            "  create_directory = false\n"
            "  user = vmail\n"
            "  group = vmail\n"
            "begin retry\n"
            "* * F,1m,1m\n"
        )
        _make(root / "var/spool/exim4", EXIM, EXIM, 0o750)
        log = _make(root / "var/log/exim4", EXIM, EXIM, 0o750)
        _make(root / "run/exim4", EXIM, EXIM, 0o750)
        _make(root / "var/run/exim4", EXIM, EXIM, 0o750)
        out = root.parent / "exim.log"
        self.logs = [out, log / "mainlog", log / "rejectlog", log / "paniclog"]
        shown = run(_own(root, ["/usr/sbin/exim4", "-bV"]), 20)
        self.version = " ".join(shown.out.decode(errors="replace").split("\n")[0].split()[:3])
        self.process = Process(_own(root, ["/usr/sbin/exim4", "-bdf", "-oX", str(self.port)]), out)
        self._wait()


class Aiosmtpd(Sink):
    name = "aiosmtpd"

    def __init__(self):
        super().__init__()
        place = install.pypi("aiosmtpd==1.4.6", "aiosmtpd")
        made = temporary("aiosmtpd")
        self.box = made / "box"
        self.box.mkdir()
        self.port = free_port()
        self.version = "aiosmtpd 1.4.6"
        self.logs = [made / "log"]
        self.process = Process(
            [sys.executable, pathlib.Path(__file__).with_name("aiosmtpd_sink.py"), str(self.port), self.box],
            made / "log", env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._wait()


def added_headers_removed(octets, original):
    """The message without what the server put before it, with CRLF lines.

    A server puts its headers on top. What follows them is compared whole, so
    they are cut off at the first line of the original.
    """
    text = octets.replace(b"\n", b"\r\n") if b"\r\n" not in octets else octets
    first = original.split(b"\r\n", 1)[0] + b"\r\n"
    if text.startswith(first):
        return text
    at = text.find(b"\r\n" + first)
    return text if at < 0 else text[at + 2:]
