//! The cases: where the dialogue stands, what comes then, and who is asked.

use super::escape::unescape;

/// One case.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Its name.
    pub id: String,
    /// Which side reads it, and where the dialogue stands.
    pub state: State,
    /// Those who can be asked.
    pub asked: Vec<Peer>,
    /// What they read.
    pub octets: Vec<u8>,
}

/// Where the dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A server, after EHLO.
    Greeted,
    /// A server, after MAIL.
    Mail,
    /// A server, after RCPT.
    Rcpt,
    /// A server, after its 354.
    Data,
    /// A client that waits for a reply.
    Reply,
    /// A client that waits for the reply to EHLO.
    Ehlo,
}

/// Someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Its parsers, receivers and replies.
    SmtpProto,
    /// Its parser, its session and its helpers for content, with lines cut at LF, which is left to
    /// its caller.
    Mailrs,
    /// A server in Python.
    Aiosmtpd,
    /// Its parsers of replies.
    Lettre,
}

impl Peer {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [Self::SmtpProto, Self::Mailrs, Self::Aiosmtpd, Self::Lettre];

    /// How the table names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SmtpProto => "smtp-proto",
            Self::Mailrs => "mailrs",
            Self::Aiosmtpd => "aiosmtpd",
            Self::Lettre => "lettre",
        }
    }
}

impl State {
    /// What a server has read before, read by read.
    #[must_use]
    pub fn before(self) -> &'static [&'static [u8]] {
        const ALL: [&[u8]; 4] = [
            b"EHLO c.example\r\n",
            b"MAIL FROM:<a@c.example>\r\n",
            b"RCPT TO:<b@example.net>\r\n",
            b"DATA\r\n",
        ];
        match self {
            Self::Greeted => &ALL[..1],
            Self::Mail => &ALL[..2],
            Self::Rcpt => &ALL[..3],
            Self::Data => &ALL,
            Self::Reply | Self::Ehlo => &[],
        }
    }
}

/// The lines of a table, without comments, cut at tabs.
pub(super) fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    (table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty()))
    .map(|line| line.split('\t').collect())
}

/// All cases.
#[must_use]
pub fn all() -> Vec<Wire> {
    let own = rows(include_str!("../../data/wires.tsv")).map(|row| {
        let [id, state, asked, octets] = row[..] else {
            panic!("{row:?}");
        };
        let state = match state {
            "greeted" => State::Greeted,
            "mail" => State::Mail,
            "rcpt" => State::Rcpt,
            "data" => State::Data,
            "reply" => State::Reply,
            "ehlo" => State::Ehlo,
            other => panic!("{id}: state {other}"),
        };
        let peer = |letter| match letter {
            's' => Peer::SmtpProto,
            'm' => Peer::Mailrs,
            'a' => Peer::Aiosmtpd,
            'l' => Peer::Lettre,
            other => panic!("{id}: nobody is called {other}"),
        };
        Wire {
            id: id.into(),
            state,
            asked: asked.chars().map(peer).collect(),
            octets: unescape(octets),
        }
    });
    let published = rows(include_str!("../../../tests/data/eod_published.tsv")).map(|row| {
        let mut octets = b"some text".to_vec();
        octets.extend(unescape(row[1]));
        octets.extend_from_slice(b"MAIL FROM:<admin@bank.example>\r\n.\r\n");
        Wire {
            id: row[0].into(),
            state: State::Data,
            asked: vec![Peer::SmtpProto, Peer::Mailrs, Peer::Aiosmtpd],
            octets,
        }
    });
    own.chain(published).collect()
}
