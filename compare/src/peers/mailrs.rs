//! mailrs-smtp-proto: a parser, a session of commands and two helpers for content.

use bytes::Bytes;
pub use mailrs_smtp_proto::unstuff_data;
use mailrs_smtp_proto::{
    Command, Event, Response, Session, SessionConfig, format_ehlo_response, parse_command,
    unstuff_line,
};

use super::lines;

/// Decodes whole lines; slices of them go to `sink`. Whether the end was among them.
pub fn decode(wire: &[u8], mut sink: impl FnMut(&[u8])) -> bool {
    for line in lines(wire) {
        match unstuff_line(line) {
            Some(octets) => sink(octets),
            None => return true,
        }
    }
    false
}

/// Reads one command line, with its CRLF.
///
/// # Errors
///
/// As the crate has it, or that the line is not UTF-8: it takes nothing else.
pub fn command(line: &[u8]) -> Result<Command<'_>, String> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    parse_command(line).map_err(|error| format!("{error:?}"))
}

/// A server that says yes to everything.
#[allow(missing_debug_implementations)]
pub struct Server {
    session: Session,
    in_data: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            session: Session::new("mx.example.net", SessionConfig::default()),
            in_data: false,
        }
    }
}

impl super::Server for Server {
    fn connect(&mut self, replies: &mut Vec<u8>) {
        *self = Self::default();
        let greeting = Response::greeting(&self.session.hostname).format_greeting();
        replies.extend_from_slice(greeting.as_bytes());
    }

    fn read(&mut self, read: &Bytes, replies: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) {
        for line in lines(read) {
            if !self.in_data {
                replies.extend_from_slice(self.command(line).as_bytes());
            } else if let Some(octets) = unstuff_line(line) {
                sink(octets);
            } else {
                self.in_data = false;
                replies.extend_from_slice(Response::data_ok().format().as_bytes());
            }
        }
    }
}

impl Server {
    fn command(&mut self, line: &[u8]) -> String {
        let Ok(command) = command(line) else {
            return Response::syntax_error().format();
        };
        match self.session.handle_command(&command) {
            Event::Reply(_) if matches!(command, Command::Ehlo(_)) => {
                format_ehlo_response(&self.session.hostname, &self.session.capabilities())
            }
            Event::Reply(reply) | Event::Shutdown(reply) | Event::StartTls(reply) => reply.format(),
            Event::NeedData { .. } => {
                self.in_data = true;
                Response::data_start().format()
            }
            Event::NeedAuth { .. } | Event::AuthChallenge { .. } => {
                Response::auth_failed().format()
            }
        }
    }
}
