//! Writes down a dialogue in the manner of RFC 1845 §5: commands and replies line by line, message
//! data as a number of octets. It follows the data as the server does, so it knows which octets of
//! the message have passed.

use smtp_checkpoint::dot::DotDecoder;
use smtp_checkpoint::offset::OctetOffset;

/// Where the lines go.
pub type Sink<'s> = Box<dyn FnMut(&str) + Send + 's>;

/// One connection, seen from the side. Give it octets before they are passed on: a reply then
/// never comes before the command that it answers.
pub struct Dialogue<'s> {
    sink: Sink<'s>,
    command: Vec<u8>,
    reply: Vec<u8>,
    mode: Mode,
    /// Where the data begins: the offset of the last 355.
    start: u64,
    /// Octets of the message that have passed.
    data: u64,
    /// Octets of the message since the last line.
    untold: u64,
    /// Chunks since the last line, without the last one, and those of them without a reply.
    chunks: u64,
    unanswered: u64,
    begun: bool,
    ended: bool,
    /// Replies 120.
    interims: u32,
    /// DETA has passed.
    leaving: bool,
}

enum Mode {
    Commands,
    Data(DotDecoder),
    Chunk { left: u64, last: bool },
}

impl<'s> Dialogue<'s> {
    #[must_use]
    pub fn new(sink: Sink<'s>) -> Self {
        Self {
            sink,
            command: Vec::new(),
            reply: Vec::new(),
            mode: Mode::Commands,
            start: 0,
            data: 0,
            untold: 0,
            chunks: 0,
            unanswered: 0,
            begun: false,
            ended: false,
            interims: 0,
            leaving: false,
        }
    }

    /// The offset at which the data of this connection begins.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Octets of the message that have passed on this connection.
    #[must_use]
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Whether data is passing: between 354 and the end, or within a chunk.
    #[must_use]
    pub fn is_in_data(&self) -> bool {
        !matches!(self.mode, Mode::Commands)
    }

    /// Whether a data command was accepted on this connection.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether the end of the data has passed.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// How often the server has said that it is still deciding.
    #[must_use]
    pub fn interims(&self) -> u32 {
        self.interims
    }

    /// Whether the client has said DETA.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Octets from the client.
    pub fn client(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            match &mut self.mode {
                Mode::Commands => {
                    if take_line(&mut octets, &mut self.command) {
                        self.command_line();
                    }
                }
                Mode::Data(decoder) => {
                    let mut count = 0;
                    decoder.decode_with(&mut octets, |content| count += content.len() as u64);
                    let ended = decoder.is_ended();
                    self.pass(count);
                    if ended {
                        self.tell_data();
                        self.tell('C', b".");
                        self.end();
                    }
                }
                Mode::Chunk { left, last } => {
                    let count = octets
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    octets = &octets[count..];
                    *left -= count as u64;
                    let (done, last) = (*left == 0, *last);
                    self.pass(count as u64);
                    if done {
                        self.end_chunk(last);
                    }
                }
            }
        }
    }

    /// Octets from the server.
    pub fn server(&mut self, mut octets: &[u8]) {
        while take_line(&mut octets, &mut self.reply) {
            let line = std::mem::take(&mut self.reply);
            if self.unanswered > 0 && line.starts_with(b"250 ") {
                self.unanswered -= 1;
                continue;
            }
            self.tell_data();
            self.tell('S', &line);
            match (line.get(..4), line.get(4..)) {
                (Some(b"354 "), _) => {
                    let start = OctetOffset::new(self.start);
                    self.mode = Mode::Data(DotDecoder::starting_at(start));
                    self.begun = true;
                }
                (Some(b"120 "), _) => self.interims += 1,
                (Some(b"355 "), Some(text)) => {
                    self.start = OctetOffset::from_reply_text(text).map_or(0, OctetOffset::get);
                }
                _ => {}
            }
        }
    }

    /// The connection has ended without QUIT.
    pub fn broken(&mut self) {
        self.tell_data();
        for (side, line) in [
            ('C', std::mem::take(&mut self.command)),
            ('S', std::mem::take(&mut self.reply)),
        ] {
            if !line.is_empty() {
                let line = format!("{side}: {}...", line.trim_ascii_end().escape_ascii());
                (self.sink)(&line);
            }
        }
        (self.sink)("<connection is broken>");
    }

    fn command_line(&mut self) {
        let line = std::mem::take(&mut self.command);
        let text = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let mut words = text.split_ascii_whitespace();
        self.leaving |= text.trim_end() == "DETA";
        if words.next() == Some("BDAT") {
            let left = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
            let last = words.next() == Some("LAST");
            self.mode = Mode::Chunk { left, last };
            self.begun = true;
            if last {
                self.tell_data();
                self.tell('C', &line);
            } else {
                self.chunks += 1;
                self.unanswered += 1;
            }
            if left == 0 {
                self.end_chunk(last);
            }
        } else {
            self.tell('C', &line);
        }
    }

    fn pass(&mut self, count: u64) {
        self.data += count;
        self.untold += count;
    }

    fn end_chunk(&mut self, last: bool) {
        if last {
            self.tell_data();
        }
        self.mode = Mode::Commands;
        self.ended |= last;
    }

    fn end(&mut self) {
        self.mode = Mode::Commands;
        self.ended = true;
    }

    fn tell(&mut self, side: char, line: &[u8]) {
        let line = String::from_utf8_lossy(line.trim_ascii_end())
            .replace(|c: char| c.is_control(), "\u{fffd}");
        (self.sink)(&format!("{side}: {line}"));
    }

    fn tell_data(&mut self) {
        let count = std::mem::take(&mut self.untold);
        match std::mem::take(&mut self.chunks) {
            0 if count == 0 => {}
            0 => (self.sink)(&format!("C: <{count} octets of message data>")),
            chunks => {
                // One BDAT after the other, and a reply to each, would hide all the rest.
                let line = format!("C: <{count} octets of message data, BDAT {chunks} times>");
                (self.sink)(&line);
            }
        }
    }
}

/// Moves octets up to and with the next LF. False if there is none.
fn take_line(octets: &mut &[u8], line: &mut Vec<u8>) -> bool {
    let end = octets.iter().position(|octet| *octet == b'\n');
    let (taken, rest) = octets.split_at(end.map_or(octets.len(), |end| end + 1));
    line.extend_from_slice(taken);
    *octets = rest;
    end.is_some()
}
