//! One command line, taken apart.
//!
//! Layer 1. The verb chooses; MAIL and RCPT go on in files of their own.
//!
//! ```
//! use smtp_checkpoint::command::{Bdat, Command, CommandError};
//!
//! assert_eq!(
//!     Command::parse(b"BDAT 86 last").map(|command| matches!(
//!         command,
//!         Command::Bdat(Bdat { size: 86, last: true })
//!     )),
//!     Ok(true)
//! );
//! let error = Command::parse(b"BDAT -1").unwrap_err();
//! assert!(error.sync_lost());
//! ```

use core::fmt;

use super::base64;
use super::error::CommandError;
use super::mail::{Mail, is_resume_transid};
use super::rcpt::Rcpt;
use crate::syntax::{is_wsp, parse_decimal};
use crate::text::Text;
use crate::word::Word;

/// The longest time of RDLV, in seconds: 2^31 - 1 (draft-burger-smtp-rdlv-01 §4).
pub const MAX_TIMER: u32 = 0x7fff_ffff;

/// `BDAT` (RFC 3030 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bdat {
    /// Octets of the chunk that follows the line.
    pub size: u64,
    /// Whether it is the last chunk of the message.
    pub last: bool,
}

/// `BURL` (RFC 4468 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Burl<'a> {
    /// The URL: printable ASCII, not looked at any closer.
    pub url: &'a [u8],
    /// Whether it is the last part of the message.
    pub last: bool,
}

/// `AUTH` (RFC 4954 §4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Auth<'a> {
    /// The name of the SASL mechanism as it came; it has no case.
    pub mechanism: &'a [u8],
    /// The initial response as it came: base64, or `=` for an empty one.
    pub initial: Option<&'a [u8]>,
}

/// Without the octets of the response: they may be a password.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("mechanism", &Text(self.mechanism))
            .field("initial", &self.initial.map(<[u8]>::len))
            .finish()
    }
}

/// `RDLV` (draft-burger-smtp-rdlv-01 §3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rdlv {
    /// The longest time that the client waits without a reply: 1 to [`MAX_TIMER`] seconds.
    pub maxtimer: u32,
}

/// A command that this crate does not know, octet for octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnknownCommand<'a> {
    /// What stands before the first SPACE or TAB; empty where the line is empty or begins with one.
    pub verb: &'a [u8],
    /// What stands behind that SPACE or TAB, white space at its ends included.
    pub argument: Option<&'a [u8]>,
}

/// One command line.
///
/// Arguments are given without white space at their ends.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
// Boxing MAIL would take memory for every line.
#[allow(clippy::large_enum_variant)]
pub enum Command<'a> {
    /// `EHLO` and the client's name: printable, but nothing else is sure (RFC 5321 §4.1.1.1).
    Ehlo(&'a [u8]),
    /// `HELO` and the client's name, as for EHLO.
    Helo(&'a [u8]),
    /// `LHLO` and the client's name, as for EHLO (RFC 2033 §4.1).
    Lhlo(&'a [u8]),
    /// `MAIL` (RFC 5321 §4.1.1.2).
    Mail(Mail<'a>),
    /// `RCPT` (RFC 5321 §4.1.1.3).
    Rcpt(Rcpt<'a>),
    /// `DATA` (RFC 5321 §4.1.1.4).
    Data,
    /// `BDAT` (RFC 3030 §2).
    Bdat(Bdat),
    /// `BURL` (RFC 4468 §3.2).
    Burl(Burl<'a>),
    /// `RSET` (RFC 5321 §4.1.1.5).
    Rset,
    /// `NOOP` and any string, empty mostly (RFC 5321 §4.1.1.9).
    Noop(&'a [u8]),
    /// `QUIT` (RFC 5321 §4.1.1.10).
    Quit,
    /// `VRFY` and what to verify, not empty (RFC 5321 §4.1.1.6).
    Vrfy(&'a [u8]),
    /// `EXPN` and the list to expand, not empty (RFC 5321 §4.1.1.7).
    Expn(&'a [u8]),
    /// `HELP` and its topic, which may be empty (RFC 5321 §4.1.1.8).
    Help(&'a [u8]),
    /// `STARTTLS` (RFC 3207 §4).
    StartTls,
    /// `AUTH` (RFC 4954 §4).
    Auth(Auth<'a>),
    /// `RDLV` (draft-burger-smtp-rdlv-01 §3.2.1).
    Rdlv(Rdlv),
    /// `CONT` (draft-burger-smtp-rdlv-01 §3.2.1).
    Cont,
    /// `DETA` (draft-burger-smtp-deta-00 §2.2.1).
    Deta,
    /// `RESUME` and what can be a TRANSID, brackets included, of 256 octets at most
    /// (draft-fanf-smtp-rfc1845bis-01 §2).
    Resume(&'a [u8]),
    /// Any other verb. A server that does not know it either answers 500 5.5.1.
    Unknown(UnknownCommand<'a>),
}

/// The verbs, and what follows two of them.
mod verb {
    use crate::word::Word;

    pub(super) const FROM: Word = Word::new(b"FROM");
    pub(super) const TO: Word = Word::new(b"TO");

    pub(super) const MAIL: Word = Word::new(b"MAIL");
    pub(super) const RCPT: Word = Word::new(b"RCPT");
    pub(super) const DATA: Word = Word::new(b"DATA");
    pub(super) const RSET: Word = Word::new(b"RSET");
    pub(super) const QUIT: Word = Word::new(b"QUIT");
    pub(super) const CONT: Word = Word::new(b"CONT");
    pub(super) const DETA: Word = Word::new(b"DETA");
    pub(super) const EHLO: Word = Word::new(b"EHLO");
    pub(super) const HELO: Word = Word::new(b"HELO");
    pub(super) const LHLO: Word = Word::new(b"LHLO");
    pub(super) const NOOP: Word = Word::new(b"NOOP");
    pub(super) const HELP: Word = Word::new(b"HELP");
    pub(super) const VRFY: Word = Word::new(b"VRFY");
    pub(super) const EXPN: Word = Word::new(b"EXPN");
    pub(super) const AUTH: Word = Word::new(b"AUTH");
    pub(super) const BURL: Word = Word::new(b"BURL");
    pub(super) const RDLV: Word = Word::new(b"RDLV");
    pub(super) const STARTTLS: Word = Word::new(b"STARTTLS");
    pub(super) const RESUME: Word = Word::new(b"RESUME");
}

impl<'a> Command<'a> {
    /// Reads one line, given without its CRLF.
    ///
    /// Whether the command may be used now, and whether what it asks for was offered, is not asked
    /// here. Parameters of MAIL and RCPT that the crate does not know are no error.
    ///
    /// # Errors
    ///
    /// [`CommandError`]: the rule that the line breaks, with the reply that it earns. Where
    /// [`sync_lost`](CommandError::sync_lost) is true, the session has to end.
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        use CommandError as E;
        // All that is accepted there is free of what no line may hold.
        let taken = match verb_and_colon(line) {
            Some((verb::MAIL, path)) => Mail::parse(path).map(Self::Mail),
            Some((_, path)) => Rcpt::parse(path).map(Self::Rcpt),
            None => return Self::parse_any(line),
        };
        if taken.is_err() && memchr::memchr3(b'\r', b'\n', 0, line).is_some() {
            return Err(E::ForbiddenOctet);
        }
        taken
    }

    #[inline(never)]
    fn parse_any(line: &'a [u8]) -> Result<Self, CommandError> {
        use CommandError as E;
        let end = line.iter().position(|octet| is_wsp(*octet));
        let (verb, behind) = end
            .and_then(|end| line.split_at_checked(end))
            .unwrap_or((line, &[]));
        // Before all else: an octet that does not belong there makes the chunk-size unknown too.
        if verb.eq_ignore_ascii_case(b"BDAT") {
            return bdat(behind).map(Self::Bdat).ok_or(E::Bdat);
        }
        if memchr::memchr3(b'\r', b'\n', 0, line).is_some() {
            return Err(E::ForbiddenOctet);
        }
        let argument = trim(behind);
        match Word::new(verb) {
            verb::MAIL => Mail::parse(behind_colon(argument, verb::FROM)?).map(Self::Mail),
            verb::RCPT => Rcpt::parse(behind_colon(argument, verb::TO)?).map(Self::Rcpt),
            verb::DATA => alone(Self::Data, argument),
            verb::RSET => alone(Self::Rset, argument),
            verb::QUIT => alone(Self::Quit, argument),
            verb::CONT => alone(Self::Cont, argument),
            verb::DETA => alone(Self::Deta, argument),
            verb::STARTTLS => alone(Self::StartTls, argument),
            verb::EHLO => client_name(argument).map(Self::Ehlo),
            verb::HELO => client_name(argument).map(Self::Helo),
            verb::LHLO => client_name(argument).map(Self::Lhlo),
            verb::NOOP => Ok(Self::Noop(argument)),
            verb::HELP => Ok(Self::Help(argument)),
            verb::VRFY => present(argument).map(Self::Vrfy),
            verb::EXPN => present(argument).map(Self::Expn),
            verb::AUTH => auth(argument).map(Self::Auth),
            verb::BURL => burl(argument).map(Self::Burl).ok_or(E::Burl),
            verb::RDLV => rdlv(argument).map(Self::Rdlv),
            verb::RESUME => match present(argument)? {
                value if is_resume_transid(value) => Ok(Self::Resume(value)),
                _ => Err(E::Resume),
            },
            _ => Ok(Self::unknown(verb, behind)),
        }
    }

    const fn unknown(verb: &'a [u8], behind: &'a [u8]) -> Self {
        Self::Unknown(UnknownCommand {
            verb,
            argument: match behind.split_first() {
                Some((_, argument)) => Some(argument),
                None => None,
            },
        })
    }
}

/// Whether a line, or as much of it as there is, is a BDAT command, whatever follows the verb.
///
/// For whoever refuses a line unread, being too long or holding a bare LF: with BDAT sync is lost.
#[must_use]
pub fn is_bdat(line: &[u8]) -> bool {
    line.split_at_checked(4).is_some_and(|(verb, behind)| {
        verb.eq_ignore_ascii_case(b"BDAT") && behind.first().is_none_or(|octet| is_wsp(*octet))
    })
}

pub(super) fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let Some((_, rest)) = octets.split_first().filter(|(octet, _)| is_wsp(**octet)) {
        octets = rest;
    }
    octets
}

pub(super) fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let Some((_, rest)) = octets.split_last().filter(|(octet, _)| is_wsp(**octet)) {
        octets = rest;
    }
    octets
}

fn trim(octets: &[u8]) -> &[u8] {
    trim_end(trim_start(octets))
}

/// MAIL or RCPT, and what follows `FROM:` or `TO:` and white space, of a line that begins with
/// these and a SPACE between them, as most do.
#[inline(always)]
fn verb_and_colon(line: &[u8]) -> Option<(Word, &[u8])> {
    /// All bits but the case of letters.
    const fn caseless(octets: [u8; 8]) -> u64 {
        let mut mask = u64::MAX;
        let mut at = 0;
        while at < octets.len() {
            if octets[at].is_ascii_alphabetic() {
                mask &= !(0x20 << (8 * at));
            }
            at += 1;
        }
        mask
    }
    const MAIL_FRO: [u8; 8] = *b"MAIL FRO";
    const RCPT_TO: [u8; 8] = *b"RCPT TO:";

    let (start, rest) = line.split_first_chunk::<8>()?;
    let start = u64::from_le_bytes(*start);
    let (verb, rest) = if start & caseless(RCPT_TO) == u64::from_le_bytes(RCPT_TO) {
        (verb::RCPT, rest)
    } else if start & caseless(MAIL_FRO) == u64::from_le_bytes(MAIL_FRO) {
        match rest {
            [b'M' | b'm', b':', rest @ ..] => (verb::MAIL, rest),
            _ => return None,
        }
    } else {
        return None;
    };
    Some((verb, trim(rest)))
}

/// What follows `FROM:` or `TO:` and white space.
fn behind_colon(argument: &[u8], word: Word) -> Result<&[u8], CommandError> {
    match argument.split_at_checked(word.len()) {
        Some((found, [b':', rest @ ..])) if Word::new(found) == word => Ok(trim_start(rest)),
        _ => Err(CommandError::MissingColon),
    }
}

fn alone<'a>(command: Command<'a>, argument: &[u8]) -> Result<Command<'a>, CommandError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::UnexpectedArgument)
    }
}

fn present(argument: &[u8]) -> Result<&[u8], CommandError> {
    if argument.is_empty() {
        Err(CommandError::MissingArgument)
    } else {
        Ok(argument)
    }
}

fn client_name(argument: &[u8]) -> Result<&[u8], CommandError> {
    let name = present(argument)?;
    if name.iter().any(u8::is_ascii_control) {
        return Err(CommandError::ClientName);
    }
    Ok(name)
}

/// `"BDAT" SP 1*DIGIT [SP "LAST"]`, with white space at the end of the line only.
fn bdat(behind: &[u8]) -> Option<Bdat> {
    let argument = trim_end(behind).strip_prefix(b" ")?;
    let (size, last) = match memchr::memchr(b' ', argument) {
        None => (argument, false),
        Some(at) => {
            let (size, marker) = argument.split_at_checked(at)?;
            if !marker.eq_ignore_ascii_case(b" LAST") {
                return None;
            }
            (size, true)
        }
    };
    let size = parse_decimal(size)?;
    Some(Bdat { size, last })
}

fn words(argument: &[u8]) -> impl Iterator<Item = &[u8]> {
    argument
        .split(|octet| is_wsp(*octet))
        .filter(|word| !word.is_empty())
}

fn burl(argument: &[u8]) -> Option<Burl<'_>> {
    let mut words = words(argument);
    let url = words.next()?;
    let last = match words.next() {
        None => false,
        Some(marker) if marker.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return None,
    };
    let is_sound = words.next().is_none() && url.iter().all(u8::is_ascii_graphic);
    is_sound.then_some(Burl { url, last })
}

/// A SASL mechanism name (RFC 4422 §3.1), in any case.
pub(super) fn is_mechanism(name: &[u8]) -> bool {
    (1..=20).contains(&name.len())
        && name
            .iter()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

fn auth(argument: &[u8]) -> Result<Auth<'_>, CommandError> {
    let mut words = words(argument);
    let mechanism = words.next().ok_or(CommandError::MissingArgument)?;
    let initial = words.next();
    if !is_mechanism(mechanism) || words.next().is_some() {
        return Err(CommandError::Auth);
    }
    if initial.is_some_and(|initial| initial != b"=" && !base64::is_base64(initial)) {
        return Err(CommandError::InitialResponse);
    }
    Ok(Auth { mechanism, initial })
}

fn rdlv(argument: &[u8]) -> Result<Rdlv, CommandError> {
    const KEYWORD: &[u8] = b"maxtimer";
    let value = |word: &'_ [u8]| match word.split_at_checked(KEYWORD.len()) {
        Some((keyword, value)) if keyword.eq_ignore_ascii_case(KEYWORD) => match value.first() {
            None | Some(b'=') => Some(parse_decimal(value.get(1..).unwrap_or_default())),
            Some(_) => None,
        },
        _ => None,
    };
    let seconds = words(argument)
        .find_map(value)
        .ok_or(CommandError::MissingMaxTimer)?;
    let is_alone = words(argument).nth(1).is_none();
    match seconds.and_then(|seconds| u32::try_from(seconds).ok()) {
        Some(maxtimer @ 1..=MAX_TIMER) if is_alone => Ok(Rdlv { maxtimer }),
        _ => Err(CommandError::MaxTimer),
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::MailboxError;
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    /// A rendering that can be compared: commands have no equality of their own.
    fn parse(line: &[u8]) -> Result<std::string::String, CommandError> {
        Command::parse(line).map(|command| match command {
            Command::Mail(_) => "MAIL".into(),
            Command::Rcpt(_) => "RCPT".into(),
            Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name) => {
                format!("HELLO {}", name.escape_ascii())
            }
            Command::Noop(text) => format!("NOOP {}", text.escape_ascii()),
            other => format!("{other:?}"),
        })
    }

    fn error(line: &[u8]) -> Option<CommandError> {
        Command::parse(line).err()
    }

    #[test]
    fn tolerated() {
        for (line, outcome) in [
            (&b"mail from: <a@b>  "[..], "MAIL"),
            (b"MAIL  FROM:a@b SIZE=1", "MAIL"),
            (b"rCpT tO:\t<a@b>", "RCPT"),
            (b"EHLO [not a domain]_ \t", "HELLO [not a domain]_"),
            (b"helo \xff", "HELLO \\xff"),
            (b"lhlo x", "HELLO x"),
            (b"NOOP", "NOOP "),
            (b"noop  any <thing> ", "NOOP any <thing>"),
            (b"data ", "Data"),
            (b"rset\t", "Rset"),
            (b"StartTLS", "StartTls"),
            (
                b"rdlv MaxTimer=2147483647",
                "Rdlv(Rdlv { maxtimer: 2147483647 })",
            ),
            (b"bdat 007 Last ", "Bdat(Bdat { size: 7, last: true })"),
            (
                b"BDAT 18446744073709551615",
                "Bdat(Bdat { size: 18446744073709551615, last: false })",
            ),
        ] {
            assert_eq!(
                parse(line).as_deref(),
                Ok(outcome),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn bdat_confusion() {
        for line in [
            &b"BDAT 18446744073709551616 LAST"[..],
            b"BDAT -1",
            b"BDAT +5",
            b"BDAT 0x5",
            b"BDAT 5  LAST",
            b"BDAT  5",
            b"BDAT\t5",
            b"BDAT 5\tLAST",
            b"BDAT LAST",
            b"BDAT 5 LAST x",
            b"BDAT 5 LAS",
            b"BDAT 5LAST",
            b"BDAT",
            b"BDAT ",
            b"BDAT 5\0",
            b"BDAT 5\nRSET",
        ] {
            assert_eq!(
                error(line),
                Some(CommandError::Bdat),
                "{}",
                line.escape_ascii()
            );
            assert!(is_bdat(line));
        }
        assert!(!is_bdat(b"BDATA 5"));
        assert!(!is_bdat(b"BDA"));
    }

    #[test]
    fn errors() {
        use CommandError as E;
        for (line, expected) in [
            (&b"NOOP a\0b"[..], E::ForbiddenOctet),
            (b"NOOP a\rRSET", E::ForbiddenOctet),
            (b"NOOP x\nRSET", E::ForbiddenOctet),
            (b"EHLO", E::MissingArgument),
            (b"EHLO a\x1b", E::ClientName),
            (b"MAIL", E::MissingColon),
            (b"MAIL <a@b>", E::MissingColon),
            (b"MAIL FROM <a@b>", E::MissingColon),
            (b"RCPT FROM:<a@b>", E::MissingColon),
            (b"MAIL FROM:", E::ReversePath(MailboxError::Missing)),
            (b"RCPT TO:<>", E::ForwardPath(MailboxError::Missing)),
            (b"RCPT TO:<a@b", E::ForwardPath(MailboxError::Brackets)),
            (b"DATA x", E::UnexpectedArgument),
            (b"QUIT x", E::UnexpectedArgument),
            (b"RSET x", E::UnexpectedArgument),
            (b"STARTTLS x", E::UnexpectedArgument),
            (b"CONT x", E::UnexpectedArgument),
            (b"DETA x", E::UnexpectedArgument),
            (b"VRFY ", E::MissingArgument),
            (b"BURL", E::Burl),
            (b"BURL imap://x FIRST", E::Burl),
            (b"BURL imap://x LAST x", E::Burl),
            (b"AUTH", E::MissingArgument),
            (b"AUTH X!", E::Auth),
            (b"AUTH PLAIN AA== x", E::Auth),
            (b"AUTH PLAIN *", E::InitialResponse),
            (b"AUTH PLAIN AA", E::InitialResponse),
            (b"RDLV", E::MissingMaxTimer),
            (b"RDLV 30", E::MissingMaxTimer),
            (b"RDLV maxtimers=1", E::MissingMaxTimer),
            (b"RDLV maxtimer", E::MaxTimer),
            (b"RDLV maxtimer=", E::MaxTimer),
            (b"RDLV maxtimer=0", E::MaxTimer),
            (b"RDLV maxtimer=2147483648", E::MaxTimer),
            (b"RDLV maxtimer=1s", E::MaxTimer),
            (b"RDLV maxtimer=1 maxtimer=1", E::MaxTimer),
            (b"RDLV maxtimer=1 x=1", E::MaxTimer),
            (b"RESUME", E::MissingArgument),
            (b"RESUME x", E::Resume),
            (b"RESUME <a@b> x", E::Resume),
        ] {
            assert_eq!(error(line), Some(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unknown_verbs_are_visible_octet_for_octet() {
        let unknown = |line| match Command::parse(line) {
            Ok(Command::Unknown(unknown)) => (unknown.verb, unknown.argument),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            unknown(b"XCLIENT  A=b "),
            (&b"XCLIENT"[..], Some(&b" A=b "[..]))
        );
        assert_eq!(unknown(b"etrn"), (&b"etrn"[..], None));
        assert_eq!(unknown(b""), (&b""[..], None));
        assert_eq!(unknown(b" NOOP"), (&b""[..], Some(&b"NOOP"[..])));
        assert_eq!(unknown(b"MAILFROM:<>").0, b"MAILFROM:<>");
        assert_eq!(unknown(b"DATA,").0, b"DATA,");
    }

    #[test]
    fn burl_and_auth() {
        let Ok(Command::Burl(burl)) = Command::parse(b"BURL imap://x;a=b last") else {
            panic!()
        };
        assert_eq!((burl.url, burl.last), (&b"imap://x;a=b"[..], true));
        for (line, initial) in [
            (&b"AUTH plain"[..], None),
            (b"AUTH plain =", Some(&b"="[..])),
            (b"AUTH plain AA==", Some(b"AA==")),
        ] {
            let Ok(Command::Auth(auth)) = Command::parse(line) else {
                panic!()
            };
            assert_eq!((auth.mechanism, auth.initial), (&b"plain"[..], initial));
        }
    }

    /// What must hold for any octets at all.
    fn is_sane(line: &[u8]) {
        match Command::parse(line) {
            Ok(Command::Bdat(_)) => assert!(is_bdat(line)),
            Ok(Command::Mail(mail)) => {
                assert!(mail.same_transaction(&mail));
                assert!(mail.transoff.is_none() || mail.transid_value.is_some());
            }
            Ok(Command::Rcpt(rcpt)) => assert!(rcpt.same_recipient(&rcpt)),
            Ok(_) => {
                let holds_forbidden = line.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n'));
                assert!(
                    !holds_forbidden && !is_bdat(line),
                    "{}",
                    line.escape_ascii()
                );
            }
            Err(error) => assert_eq!(error.sync_lost(), is_bdat(line)),
        }
    }

    #[test]
    fn short_arguments_of_nasty_octets() {
        const NASTY: &[u8] = b"<>@a.\"\\ =:[\0\xc3";
        let prefixes: [&[u8]; 6] = [
            b"",
            b"MAIL FROM:",
            b"RCPT TO:",
            b"MAIL FROM:<> ",
            b"BDAT ",
            b"RCPT TO:<a@",
        ];
        for prefix in prefixes {
            let mut pending = std::vec![Vec::new()];
            while let Some(tail) = pending.pop() {
                is_sane(&[prefix, &tail].concat());
                if tail.len() < 4 {
                    pending.extend(NASTY.iter().map(|octet| [&tail[..], &[*octet]].concat()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            is_sane(&line);
        }

        #[test]
        fn pieces_of_commands(pieces in proptest::collection::vec(proptest::sample::select(std::vec![
            "MAIL FROM:", "RCPT TO:", "BDAT ", "<", ">", "@", "a", "b.c", "\"", "\\", " ", "\t", "=",
            "TRANSID=", "TRANSOFF=", "SIZE=", "ORCPT=", "NOTIFY=", "ENVID=", "AUTH=", "<x@y>", "9",
            "+2B", ";", ",", "[IPv6:", "]", "é", "LAST", "\r\n", "rfc822;a", "NEVER", "X", "RDLV ",
        ]), 0..14)) {
            is_sane(pieces.concat().as_bytes());
        }
    }
}
