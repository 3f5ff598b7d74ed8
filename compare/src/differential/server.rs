//! What servers understand: the commands with their addresses and parameters, the messages, "ok"
//! for any other command that is accepted, "refused" for any that is not, "closed" where the
//! connection is closed without QUIT.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation};
use smtp_checkpoint::command::{self, Body, Notify, NotifyOn, Ret};
use smtp_checkpoint::dot::FaultPolicy;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    DataAnswer, EndOfDataAnswer, Ending, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;
use smtp_proto::request::receiver::{BdatReceiver, DataReceiver, RequestReceiver};
use smtp_proto::{Error, Request};

use super::escape::escape;
use super::wires::Wire;
use crate::peers::{lines, mailrs};

/// What was understood, in order.
#[derive(Debug, Default)]
struct Understood(Vec<String>);

impl Understood {
    fn envelope(&mut self, verb: &str, address: &[u8], mut parameters: Vec<String>) {
        let mut text = format!("{verb} ");
        text += match address {
            b"" => "<>".into(),
            address => escape(address),
        }
        .as_str();
        parameters.sort_unstable();
        for parameter in parameters {
            text.push(' ');
            text += &parameter;
        }
        self.0.push(text);
    }

    fn message(&mut self, content: &[u8]) {
        self.0.push(format!("message {}", escape(content)));
    }

    fn other(&mut self, accepted: bool) {
        self.0.push(if accepted { "ok" } else { "refused" }.into());
    }

    fn text(self) -> String {
        self.0.join(" | ")
    }
}

fn escaped(octets: impl Iterator<Item = u8>) -> String {
    escape(&octets.collect::<Vec<_>>())
}

// ---- this crate ----

const NOW: Timestamp = Timestamp::ORIGIN;

struct Ours {
    session: ServerSession,
    content: Vec<Bytes>,
    understood: Understood,
    /// The next reply is to what stands there already.
    told: bool,
}

/// Our server session, with all that it offers, that says yes to everything and refuses content
/// for no fault.
#[must_use]
pub fn ours(wire: &Wire) -> String {
    let config = ServerConfig::builder("mx.example.net")
        .chunking(true)
        .binary_mime(true)
        .dsn(true)
        .smtputf8(true)
        // What is compared is the reading of SIZE, not a bound of this side's.
        .limits(Limits {
            message_size: None,
            ..Limits::default()
        })
        .faults(FaultPolicy::KEEP_ALL);
    let config = Arc::new(config.build().unwrap());
    let mut ours = Ours {
        session: ServerSession::new(config, Peer::at(b"192.0.2.7"), NOW),
        content: Vec::new(),
        understood: Understood::default(),
        told: false,
    };
    ours.read(&[]);
    for read in wire.state.before() {
        ours.read(read);
    }
    ours.understood = Understood::default();
    ours.read(&wire.octets);
    ours.understood.text()
}

impl Ours {
    fn read(&mut self, octets: &[u8]) {
        let mut input = Bytes::copy_from_slice(octets);
        loop {
            self.session.handle_input(NOW, &mut input);
            let event = self.session.poll_event();
            // Replies that were written before this event are to earlier commands.
            self.replies();
            match event {
                Some(event) => self.event(event),
                None if input.is_empty() || !self.session.wants_input() => return,
                None => {}
            }
        }
    }

    fn replies(&mut self) {
        let output = self.session.output().to_vec();
        self.session.transmitted(NOW, output.len()).unwrap();
        for line in lines(&output) {
            if line[3] == b'-' {
                continue;
            }
            match (&line[..3], std::mem::take(&mut self.told)) {
                (b"221", _) => self.understood.0.push("QUIT".into()),
                (b"354", _) => self.understood.0.push("DATA".into()),
                (b"421", _) => self.understood.0.push("refused".into()),
                (_, true) => {}
                (code, false) => self.understood.other(code[0] < b'4'),
            }
        }
    }

    fn event(&mut self, event: Event) {
        let smtp = &mut self.session;
        match event {
            Event::Mail(question) => {
                let mail = smtp.transaction().envelope().mail();
                let address = mail.reverse_path.mailbox();
                let address = address.map_or(Vec::new(), |mailbox| address_of(&mailbox));
                (self.understood).envelope("MAIL", &address, mail_parameters(&mail));
                self.told = true;
                let claim = match question.key() {
                    None => Claim::Unrecorded,
                    Some(_) => Claim::Claimed {
                        generation: Generation(1),
                        found: None,
                    },
                };
                let answer = MailAnswer::accept(claim);
                smtp.answer_mail(NOW, question, answer).unwrap();
            }
            Event::Rcpt(question) => {
                let rcpt = question.rcpt();
                let address = match rcpt.forward_path {
                    command::ForwardPath::Postmaster => b"Postmaster".to_vec(),
                    command::ForwardPath::Mailbox(mailbox) => address_of(&mailbox),
                };
                (self.understood).envelope("RCPT", &address, rcpt_parameters(&rcpt));
                self.told = true;
                (smtp.answer_rcpt(NOW, question, standard::RECIPIENT_OK)).unwrap();
            }
            Event::Data(question) => {
                smtp.answer_data(NOW, question, DataAnswer::Proceed)
                    .unwrap();
            }
            Event::Content => {
                smtp.poll_content(&mut self.content);
            }
            Event::EndOfData(question) => {
                self.understood.message(&self.content.concat());
                self.content.clear();
                self.told = true;
                let answer = EndOfDataAnswer::Decided(standard::MESSAGE_ACCEPTED.into());
                smtp.answer_end_of_data(NOW, question, answer).unwrap();
            }
            Event::Finished(ending) if ending != Ending::Quit => {
                self.understood.0.push("closed".into());
            }
            _ => {}
        }
        self.replies();
    }
}

fn address_of(mailbox: &command::Mailbox<'_>) -> Vec<u8> {
    [
        mailbox.local_part().as_bytes(),
        b"@",
        mailbox.domain().as_bytes(),
    ]
    .concat()
}

fn mail_parameters(mail: &command::Mail<'_>) -> Vec<String> {
    let mut parameters = Vec::new();
    parameters.extend(mail.size.map(|size| format!("SIZE={size}")));
    parameters.extend(mail.body.map(|body| format!("BODY={}", body.as_str())));
    parameters.extend(mail.smtputf8.then(|| "SMTPUTF8".into()));
    parameters.extend(mail.ret.map(|ret| format!("RET={}", ret.as_str())));
    let envid = mail.envid.map(|envid| escaped(envid.decoded()));
    parameters.extend(envid.map(|envid| format!("ENVID={envid}")));
    let transid = mail.transid_value.map(escape);
    parameters.extend(transid.map(|transid| format!("TRANSID={transid}")));
    parameters
}

fn rcpt_parameters(rcpt: &command::Rcpt<'_>) -> Vec<String> {
    let mut parameters = Vec::new();
    parameters.extend(rcpt.notify.map(|notify| {
        let named = |on: NotifyOn| {
            let all = [
                (NotifyOn::SUCCESS, "SUCCESS"),
                (NotifyOn::FAILURE, "FAILURE"),
                (NotifyOn::DELAY, "DELAY"),
            ];
            let names = all.into_iter().filter(|(one, _)| on.contains(*one));
            names.map(|(_, name)| name).collect::<Vec<_>>().join(",")
        };
        match notify {
            Notify::Never => "NOTIFY=NEVER".into(),
            Notify::On(on) => format!("NOTIFY={}", named(on)),
        }
    }));
    parameters.extend(rcpt.orcpt.map(|orcpt| {
        let address = escaped(orcpt.address.decoded());
        format!("ORCPT={};{address}", escape(orcpt.addr_type))
    }));
    parameters
}

// ---- smtp-proto ----

/// smtp-proto's parser and receivers; content and chunks end up in one message, as its caller would
/// have it.
#[must_use]
pub fn smtp_proto(wire: &Wire) -> String {
    let mut understood = Understood::default();
    let mut requests = RequestReceiver::default();
    let (mut data, mut chunk) = (None::<DataReceiver>, None::<BdatReceiver>);
    let mut content = Vec::new();
    let before = wire.state.before();
    for (index, read) in before.iter().chain([&&wire.octets[..]]).enumerate() {
        if index == before.len() {
            understood = Understood::default();
        }
        let mut octets = read.iter();
        loop {
            if let Some(receiver) = &mut data {
                if !receiver.ingest(&mut octets, &mut content) {
                    break;
                }
                understood.message(&content);
                content.clear();
                data = None;
            }
            if let Some(receiver) = &mut chunk {
                if !receiver.ingest(&mut octets, &mut content) {
                    break;
                }
                if receiver.is_last {
                    understood.message(&content);
                    content.clear();
                } else {
                    understood.other(true);
                }
                chunk = None;
            }
            match requests.ingest(&mut octets) {
                Err(Error::NeedsMoreData { .. }) => break,
                Ok(Request::Data) => {
                    understood.0.push("DATA".into());
                    data = Some(DataReceiver::new());
                    if octets.as_slice().is_empty() {
                        break;
                    }
                }
                Ok(Request::Bdat {
                    chunk_size,
                    is_last,
                }) => chunk = Some(BdatReceiver::new(chunk_size, is_last)),
                Ok(request) => smtp_proto_request(&mut understood, request),
                Err(_) => understood.other(false),
            }
        }
    }
    understood.text()
}

fn smtp_proto_request(understood: &mut Understood, request: Request<Cow<'_, str>>) {
    match request {
        Request::Mail { from } => {
            let mut parameters = Vec::new();
            if from.size > 0 {
                parameters.push(format!("SIZE={}", from.size));
            }
            for (flag, parameter) in [
                (
                    smtp_proto::MAIL_BODY_7BIT,
                    format!("BODY={}", Body::SevenBit.as_str()),
                ),
                (
                    smtp_proto::MAIL_BODY_8BITMIME,
                    format!("BODY={}", Body::EightBitMime.as_str()),
                ),
                (
                    smtp_proto::MAIL_BODY_BINARYMIME,
                    format!("BODY={}", Body::BinaryMime.as_str()),
                ),
                (
                    smtp_proto::MAIL_RET_FULL,
                    format!("RET={}", Ret::Full.as_str()),
                ),
                (
                    smtp_proto::MAIL_RET_HDRS,
                    format!("RET={}", Ret::Hdrs.as_str()),
                ),
                (smtp_proto::MAIL_SMTPUTF8, "SMTPUTF8".into()),
            ] {
                parameters.extend((from.flags & flag != 0).then_some(parameter));
            }
            let named = |name: &str, value: Option<Cow<'_, str>>| {
                value.map(|value| format!("{name}={}", escape(value.as_bytes())))
            };
            parameters.extend(named("ENVID", from.env_id));
            // It takes the brackets off.
            let transid = from.trans_id.map(|transid| format!("<{transid}>").into());
            parameters.extend(named("TRANSID", transid));
            understood.envelope("MAIL", from.address.as_bytes(), parameters);
        }
        Request::Rcpt { to } => {
            let on: Vec<_> = [
                (smtp_proto::RCPT_NOTIFY_NEVER, "NEVER"),
                (smtp_proto::RCPT_NOTIFY_SUCCESS, "SUCCESS"),
                (smtp_proto::RCPT_NOTIFY_FAILURE, "FAILURE"),
                (smtp_proto::RCPT_NOTIFY_DELAY, "DELAY"),
            ]
            .into_iter()
            .filter(|(flag, _)| to.flags & flag != 0)
            .map(|(_, name)| name)
            .collect();
            let mut parameters = Vec::new();
            if !on.is_empty() {
                parameters.push(format!("NOTIFY={}", on.join(",")));
            }
            let orcpt = to.orcpt.map(|orcpt| escape(orcpt.as_bytes()));
            parameters.extend(orcpt.map(|orcpt| format!("ORCPT={orcpt}")));
            understood.envelope("RCPT", to.address.as_bytes(), parameters);
        }
        Request::Quit => understood.0.push("QUIT".into()),
        _ => understood.other(true),
    }
}

// ---- mailrs-smtp-proto ----

/// mailrs's session, with lines cut at LF and CR and LF taken from their ends.
#[must_use]
pub fn mailrs(wire: &Wire) -> String {
    use mailrs_smtp_proto::{
        Command, Event, ForwardPath, ReversePath, Session, SessionConfig, unstuff_line,
    };

    let mut understood = Understood::default();
    let mut session = Session::new("mx.example.net", SessionConfig::default());
    let mut content = None::<Vec<u8>>;
    let before = wire.state.before();
    for (index, read) in before.iter().chain([&&wire.octets[..]]).enumerate() {
        if index == before.len() {
            understood = Understood::default();
        }
        for line in lines(read).filter(|line| line.ends_with(b"\n")) {
            if let Some(octets) = &mut content {
                match unstuff_line(line) {
                    Some(unstuffed) => octets.extend_from_slice(unstuffed),
                    None => {
                        understood.message(octets);
                        content = None;
                    }
                }
                continue;
            }
            let end = line
                .iter()
                .rposition(|octet| !matches!(octet, b'\r' | b'\n'));
            let Ok(command) = mailrs::command(&line[..end.map_or(0, |at| at + 1)]) else {
                understood.other(false);
                continue;
            };
            let accepted = match session.handle_command(&command) {
                Event::Reply(reply) => reply.code < 400,
                Event::NeedData { .. } => {
                    content = Some(Vec::new());
                    understood.0.push("DATA".into());
                    continue;
                }
                Event::Shutdown(_) => {
                    understood.0.push("QUIT".into());
                    continue;
                }
                _ => false,
            };
            match &command {
                Command::MailFrom { path, params } if accepted => {
                    let address = match path {
                        ReversePath::Null => "",
                        ReversePath::Path(path) => path,
                    };
                    understood.envelope("MAIL", address.as_bytes(), mailrs_parameters(params));
                }
                Command::RcptTo { path, params } if accepted => {
                    let address = match path {
                        ForwardPath::Postmaster => "Postmaster",
                        ForwardPath::Path(path) => path,
                    };
                    understood.envelope("RCPT", address.as_bytes(), mailrs_parameters(params));
                }
                _ => understood.other(accepted),
            }
        }
    }
    understood.text()
}

/// It hands values on as they came. Those that can be read are written as the others write them.
fn mailrs_parameters(params: &[mailrs_smtp_proto::Param<'_>]) -> Vec<String> {
    let decoded = |text: &str| match command::XText::parse(text.as_bytes()) {
        Some(xtext) => escaped(xtext.decoded()),
        None => escape(text.as_bytes()),
    };
    let parameter = |param: &mailrs_smtp_proto::Param<'_>| {
        let key = escape(param.key.to_ascii_uppercase().as_bytes());
        let value = match &*key {
            "BODY" | "RET" | "NOTIFY" => param.value.to_ascii_uppercase(),
            "ENVID" => decoded(param.value),
            "ORCPT" => match param.value.split_once(';') {
                Some((kind, address)) => format!("{kind};{}", decoded(address)),
                None => escape(param.value.as_bytes()),
            },
            _ => escape(param.value.as_bytes()),
        };
        match &*value {
            "" => key,
            value => format!("{key}={value}"),
        }
    };
    params.iter().map(parameter).collect()
}
