//! The wire between a client and its host, which can be cut at any octet, and the loop that tries
//! again until the message is through.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use smtp_checkpoint::server::{self, ServerConfig};

use super::client::{Attempt, Caller, Client, Job};
use super::server::{Host, Manner};
use super::store::{Shared, Store};

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Towards the server?
    pub up: bool,
    /// Octets that get through in that direction.
    pub at: usize,
    pub loss: Loss,
}

/// How a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// What is under way in the other direction still gets through; the server hears of an end.
    End,
    /// Nothing more gets through, and both ends hear of an error.
    Reset,
    /// The server hears nothing: its session lives on.
    HalfOpen,
}

pub const LOSSES: [Loss; 3] = [Loss::End, Loss::Reset, Loss::HalfOpen];

/// What went over a connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Traffic {
    pub up: Vec<u8>,
    pub down: Vec<u8>,
}

pub fn config(lmtp: bool, checkpoint_every: Option<u64>) -> Arc<ServerConfig> {
    let mut builder = ServerConfig::builder("mx.example.net");
    if lmtp {
        builder = builder.protocol(server::Protocol::Lmtp);
    }
    if let Some(octets) = checkpoint_every {
        builder = builder.checkpoint_every(octets);
    }
    Arc::new(builder.build().expect("a configuration"))
}

/// Hosts over one shared store; most tests have one.
#[derive(Debug)]
pub struct World {
    pub shared: Rc<RefCell<Shared>>,
    pub hosts: Vec<Host>,
}

impl World {
    pub fn new(hosts: usize, config: &Arc<ServerConfig>, manner: &Manner) -> Self {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let hosts = (0..hosts)
            .map(|_| {
                let store = Store::new(Rc::clone(&shared));
                Host::new(store, Arc::clone(config), manner.clone())
            })
            .collect();
        Self { shared, hosts }
    }

    pub fn host(&mut self) -> &mut Host {
        &mut self.hosts[0]
    }
}

/// One connection of one attempt, as far as it goes.
pub fn converse(host: &mut Host, client: &mut dyn Client, cut: Option<Cut>) -> Traffic {
    let id = host.connect(b"192.0.2.7");
    let mut traffic = Traffic::default();
    let up_limit = cut.filter(|cut| cut.up).map_or(usize::MAX, |cut| cut.at);
    let down_limit = cut.filter(|cut| !cut.up).map_or(usize::MAX, |cut| cut.at);
    let mut cut_now = cut.is_some_and(|cut| cut.at == 0);
    host.pump(id);
    loop {
        let mut moved = false;
        if !cut_now {
            let octets = client.output();
            let through = octets.len().min(up_limit - traffic.up.len());
            traffic.up.extend_from_slice(&octets[..through]);
            if through > 0 {
                moved = true;
                host.input(id, &octets[..through]);
                host.pump(id);
            }
            cut_now = traffic.up.len() >= up_limit;
        }
        let resets = cut.is_some_and(|cut| cut.loss != Loss::End);
        if cut_now && resets || host.dead {
            break;
        }
        if let Some(conn) = host.conn(id) {
            let octets = std::mem::take(&mut conn.output);
            let through = octets.len().min(down_limit - traffic.down.len());
            traffic.down.extend_from_slice(&octets[..through]);
            if through > 0 {
                moved = true;
                client.input(&octets[..through]);
            }
            cut_now |= traffic.down.len() >= down_limit;
            if conn.finished {
                break;
            }
        }
        if client.is_over() {
            break;
        }
        if !moved {
            if !cut_now && host.is_deciding() {
                host.finish();
                continue;
            }
            break;
        }
    }
    client.lost();
    let loss = cut.map_or(Loss::End, |cut| cut.loss);
    if !host.dead && loss != Loss::HalfOpen {
        host.end(id, loss == Loss::Reset);
    }
    if !host.dead && host.conn(id).is_some_and(|conn| conn.finished) {
        host.forget(id);
    }
    traffic
}

/// What it took.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    pub attempts: u32,
    pub outcome: Vec<String>,
    pub offsets: Vec<Option<u64>>,
    pub traffic: Vec<Traffic>,
    pub journal_calls: u64,
}

/// One attempt; the host starts again where it is dead.
pub fn try_once(
    host: &mut Host,
    job: &Rc<Job>,
    caller: Caller,
    cut: Option<Cut>,
    report: &mut Report,
) -> Caller {
    host.restart();
    report.attempts += 1;
    let mut attempt: Attempt = caller.begin(job);
    let traffic = converse(host, attempt.client(), cut);
    assert!(attempt.client().end().is_some());
    report.offsets.push(attempt.client().offset());
    report.traffic.push(traffic);
    host.settle();
    attempt.into_caller()
}

/// Tries until the outcome is stored: the n-th attempt is cut as `cuts` says.
pub fn run(
    host: &mut Host,
    job: &Rc<Job>,
    mut caller: Caller,
    cuts: &[Option<Cut>],
    limit: u32,
) -> (Report, Caller) {
    let mut report = Report::default();
    loop {
        if let Some(outcome) = caller.outcome() {
            report.outcome = outcome;
            report.journal_calls = caller.calls();
            return (report, caller);
        }
        let last = report.traffic.last().map(|traffic| {
            String::from_utf8_lossy(&[&traffic.up[..], b"<<<", &traffic.down].concat()).into_owned()
        });
        assert!(
            report.attempts < limit,
            "not through after {limit} attempts, the last: {last:?}; {:?}, store: {:?}",
            host.manner,
            host.store.trace
        );
        let cut = cuts.get(report.attempts as usize).copied().flatten();
        caller = try_once(host, job, caller, cut, &mut report);
    }
}

/// Delivered once, whole, to these recipients, and the client knows.
#[track_caller]
pub fn assert_delivered(world: &World, job: &Job, expected: &[&str]) {
    let shared = world.shared.borrow();
    let mail = job.mail();
    let copies: Vec<_> = (shared.delivered.iter())
        .filter(|copy| copy.mail.starts_with(mail.as_bytes()))
        .collect();
    assert_eq!(
        copies.len(),
        usize::from(!expected.is_empty()),
        "copies of {mail}"
    );
    for copy in copies {
        let octets = job.canonical();
        assert!(
            copy.octets == octets,
            "altered: {:?} for {:?}",
            copy.octets.escape_ascii().to_string(),
            octets.escape_ascii().to_string()
        );
        let lines: Vec<String> = (copy.recipients.iter())
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|to| format!("RCPT TO:<{to}>"))
            .collect();
        assert_eq!(lines, expected);
    }
}
