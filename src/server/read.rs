//! Command lines as they are read: each found, lent to its command, and answered or made to wait.

use bytes::{Buf, Bytes};

use super::ServerSession;
use super::state::Phase;
use super::workspace::Workspace;
use crate::command::{Command, CommandError, is_bdat};
use crate::error::PeerError;
use crate::line::LineError;
use crate::protocol::Protocol;
use crate::reply::standard;

/// A command line without its CRLF, lent.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// It stands at the start of this.
    within: &'a Bytes,
    len: usize,
}

impl<'a> Line<'a> {
    fn all_of(line: &'a Bytes) -> Self {
        Self {
            within: line,
            len: line.len(),
        }
    }

    pub(super) fn octets(self) -> &'a [u8] {
        self.within.get(..self.len).unwrap_or_default()
    }

    /// The line, for longer than its command takes.
    pub(super) fn keep(self) -> Bytes {
        self.within.slice(..self.len)
    }

    /// A part of it, likewise.
    pub(super) fn part(self, part: &[u8]) -> Bytes {
        self.within.slice_ref(part)
    }
}

/// How an AUTH command begins.
const AUTH: &[u8] = b"AUTH ";

const CRLF: usize = "\r\n".len();

impl ServerSession {
    /// Reads and answers one command; false where there is none, or it has to wait.
    pub(super) fn read_command(&mut self) -> bool {
        let full = self.output.pending() > self.config.limits.output;
        // A session that never came to a MAIL makes no workspace.
        let held = match self.work.get_mut() {
            Some(work) if work.drain.is_some() => return self.drain_chunk(),
            _ if full => return false,
            Some(work) if work.aside.is_some() || work.long.waits_for_taken_back() => return false,
            Some(Workspace { held: None, .. }) | None => None,
            Some(work) => work.held.take(),
        };
        if let Some(line) = held {
            return self.run_line(Line::all_of(&line));
        }
        let Some(mut input) = self.input.take() else {
            return false;
        };
        let limit = self.config.limits.command_line;
        if !self.lines.is_mid_line() {
            self.before_command = self.received - input.len() as u64;
        }
        if let Some(len) = self.lines.whole(&input, limit) {
            // Most lines are of use no longer than their command takes: they are lent.
            let moved = self.run_line(Line {
                within: &input,
                len,
            });
            if !matches!(self.phase, Phase::Closing | Phase::Closed) {
                input.advance(len + CRLF);
                self.put_back(input);
            }
            return moved;
        }
        // Clients write long initial responses in the command, though RFC 4954 §4 wants them behind
        // an empty challenge.
        let takes_auth = !self.config.offers.auth.is_empty();
        let limit = if takes_auth && self.lines.begins(AUTH, &input) {
            limit.max(self.config.limits.auth_line)
        } else {
            limit
        };
        let line = self.lines.read_any(&mut input, limit);
        self.put_back(input);
        let Some(line) = line else {
            return false;
        };
        let line = match self.lines.take_error() {
            None => line,
            // What follows may be a chunk of any size, and must not be run as commands.
            Some(_) if is_bdat(&self.lines.refused_start()) => Bytes::from_static(REFUSED_CHUNK),
            Some(LineError::TooLong)
                if takes_auth && self.lines.refused_start().eq_ignore_ascii_case(AUTH) =>
            {
                Bytes::from_static(AUTH_TOO_LONG)
            }
            Some(LineError::TooLong) => Bytes::from_static(TOO_LONG),
            Some(LineError::BareCr | LineError::BareLf | LineError::Nul) => {
                Bytes::from_static(FORBIDDEN_OCTET)
            }
        };
        self.run_line(Line::all_of(&line))
    }

    /// Answers one command; false where it has to wait.
    fn run_line(&mut self, line: Line<'_>) -> bool {
        let command = Command::parse(line.octets());
        // Replies keep the order of the commands: only recipients may be asked side by side.
        let waits = self.work.get().is_some_and(|work| match &command {
            Ok(Command::Rcpt(_)) => {
                work.recipients.len() >= self.config.limits.open_questions.max(1)
            }
            _ => !work.recipients.is_empty(),
        });
        if waits {
            self.work.held = Some(line.keep());
            return false;
        }
        self.since = self.now;
        self.codeless = match (&command, self.config.protocol) {
            (Ok(Command::Ehlo(_) | Command::Helo(_)), Protocol::Smtp)
            | (Ok(Command::Lhlo(_)), Protocol::Lmtp) => true,
            (Ok(_), _) => false,
            (Err(_), protocol) => is_hello(line.octets(), protocol),
        };
        debug_assert_eq!(self.codeless, is_hello(line.octets(), self.config.protocol));
        match &command {
            Err(_) if line.octets() == TOO_LONG => {
                self.fault(PeerError::LineTooLong, standard::LINE_TOO_LONG);
            }
            Err(_) if line.octets() == AUTH_TOO_LONG => {
                self.fault(PeerError::LineTooLong, standard::AUTH_LINE_TOO_LONG);
            }
            Err(CommandError::ForbiddenOctet) => {
                self.fault(PeerError::ForbiddenOctetInLine, standard::BAD_OCTET);
            }
            Err(error) => self.malformed(line.octets(), *error),
            Ok(command) if self.progress_is_open() => self.answer_to_progress(line, command),
            Ok(command) => self.command(line, command),
        }
        true
    }
}

// Stand for lines that could not be read, also while they wait: no real line holds a NUL.
const TOO_LONG: &[u8] = b"\0too long";
const AUTH_TOO_LONG: &[u8] = b"\0AUTH too long";
const FORBIDDEN_OCTET: &[u8] = b"\0";
// A BDAT whose chunk-size cannot be read.
const REFUSED_CHUNK: &[u8] = b"BDAT";

/// Whether a line is the hello of its protocol, well-formed or not.
fn is_hello(line: &[u8], protocol: Protocol) -> bool {
    let Some((verb, rest)) = line.split_first_chunk::<4>() else {
        return false;
    };
    let hello: &[&[u8; 4]] = match protocol {
        Protocol::Smtp => &[b"EHLO", b"HELO"],
        Protocol::Lmtp => &[b"LHLO"],
    };
    let ends = rest
        .first()
        .is_none_or(|octet| matches!(octet, b' ' | b'\t'));
    ends && hello.iter().any(|hello| verb.eq_ignore_ascii_case(*hello))
}
