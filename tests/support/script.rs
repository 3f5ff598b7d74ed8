//! Dialogues as data: the files in `tests/spec`.
//!
//! ```text
//! # a remark
//! S: what the server says, a line; lines that follow each other come in one write
//! C: what the client says, a line; lines that follow each other are one pipelined group
//! C> octets without CRLF; \r \n \t \0 \\ \xHH are escapes, in C: too
//! C* 0..6140            octets of a long message whose lines have 15 octets each
//! ! directive           what the caller's side does, or what must be true
//! ```
//!
//! `! config` lines come first. All other directives are in [`Script::directive`].

use std::fmt::Write as _;
use std::time::Duration;

use smtp_checkpoint::checkpoint::Verdict;
use smtp_checkpoint::dot::{FaultPolicy, Octets};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer, ServerSettings, Submission};
use smtp_checkpoint::server::{
    AbandonAnswer, AuthAnswer, AuthFailure, Protocol, ServerConfig, ServerConfigBuilder, Timeouts,
};

use super::{MailPolicy, World, reply};

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    Expect(String),
    Directive(String),
}

/// A dialogue.
#[derive(Debug)]
pub struct Script {
    config: Vec<String>,
    steps: Vec<(usize, Step)>,
}

/// The octets of the long message: lines of 15 octets, none with a dot at its start.
pub fn long_message(range: std::ops::Range<usize>) -> Vec<u8> {
    let mut message = String::new();
    for line in 0..range.end.div_ceil(15) {
        write!(message, "line {line:06} x\r\n").unwrap();
    }
    message.into_bytes()[range].to_vec()
}

pub fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        octets.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("escape {other:?}"),
        });
    }
    octets
}

/// A configuration that offers nothing, so that a dialogue says what it needs.
pub fn bare(hostname: &str) -> ServerConfigBuilder {
    ServerConfig::builder(hostname)
        .pipelining(false)
        .size(false)
        .eight_bit_mime(false)
        .smtputf8(false)
        .dsn(false)
        .enhanced_status_codes(false)
        .chunking(false)
        .binary_mime(false)
        .checkpoint(false)
}

impl Script {
    pub fn parse(text: &str) -> Self {
        let mut script = Self {
            config: Vec::new(),
            steps: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let last = script.steps.last_mut().map(|(_, step)| step);
            match (mark, last) {
                ("" | "# " | "#", _) => {}
                ("S:", Some(Step::Expect(lines))) => *lines += &format!("{rest}\r\n"),
                ("S:", _) => {
                    let lines = Step::Expect(format!("{rest}\r\n"));
                    script.steps.push((number, lines));
                }
                ("C:" | "C>" | "C*", last) => {
                    let mut octets = match mark {
                        "C*" => {
                            let (start, end) = rest.split_once("..").expect("a range");
                            long_message(start.parse().unwrap()..end.parse().unwrap())
                        }
                        _ => unescape(rest),
                    };
                    if mark == "C:" {
                        octets.extend(b"\r\n");
                    }
                    match last {
                        Some(Step::Send(group)) => group.extend(octets),
                        _ => script.steps.push((number, Step::Send(octets))),
                    }
                }
                ("! ", _) => match rest.strip_prefix("config ") {
                    Some(setting) => script.config.push(setting.into()),
                    None => {
                        let directive = Step::Directive(rest.into());
                        script.steps.push((number, directive));
                    }
                },
                _ => panic!("line {number}: {line}"),
            }
        }
        script
    }

    fn config(&self) -> ServerConfig {
        let value = |name: &str| {
            (self.config.iter()).find_map(|setting| setting.strip_prefix(name)?.strip_prefix(' '))
        };
        let mut limits = Limits {
            message_size: None,
            ..Limits::default()
        };
        let mut rdlv: Option<ServerSettings> = None;
        let mut config = bare(value("hostname").unwrap_or("mx.example.net"));
        for setting in &self.config {
            let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
            let number = || value.parse::<u64>().expect("a number");
            let small = || value.parse::<u32>().expect("a number");
            config = match name {
                "hostname" => config,
                "greeting" => config.greeting(value),
                "hello" => config.hello(value),
                "quit" => config.quit(value),
                "offers" => value
                    .split(' ')
                    .fold(config, |config, keyword| match keyword {
                        "PIPELINING" => config.pipelining(true),
                        "SIZE" => config.size(true),
                        "8BITMIME" => config.eight_bit_mime(true),
                        "SMTPUTF8" => config.smtputf8(true),
                        "DSN" => config.dsn(true),
                        "ENHANCEDSTATUSCODES" => config.enhanced_status_codes(true),
                        "CHUNKING" => config.chunking(true),
                        "BINARYMIME" => config.binary_mime(true),
                        "CHECKPOINT" => config.checkpoint(true),
                        "STARTTLS" => config.starttls(true),
                        "BURL" => config.burl("imap"),
                        "HELP" => config.keyword("HELP", ""),
                        _ => panic!("{keyword}"),
                    }),
                "auth" => config.auth(value.split(' ')),
                "auth-in-clear" => config.auth_in_clear(true),
                "require-tls" => config.require_tls(true),
                "require-auth" => config.require_auth(true),
                "refuse-bare-paths" => config.refuse_bare_paths(true),
                "lmtp" => config.protocol(Protocol::Lmtp),
                "ask-connection" => config.ask_connection(true),
                "ask-hello" => config.ask_hello(true),
                "ask-data" => config.ask_data(true),
                "ask-commands" => config.ask_commands(true),
                "checkpoint-every" => config.checkpoint_every(number()),
                "keep-bare-lf" => config.faults(FaultPolicy {
                    bare_lf: Octets::Keep,
                    ..FaultPolicy::KEEP_NUL
                }),
                "mail-parameter" => config.mail_parameter(value),
                "message-size" => {
                    limits.message_size = Some(number());
                    config
                }
                "recipients" => {
                    limits.recipients = usize::try_from(number()).unwrap();
                    config
                }
                "errors" => {
                    limits.errors = small();
                    config
                }
                "idle-commands" => {
                    limits.idle_commands = small();
                    config
                }
                "auth-attempts" => {
                    limits.auth_attempts = small();
                    config
                }
                "batch" => {
                    limits.content_batch = usize::try_from(number()).unwrap();
                    config
                }
                "rdlv" => {
                    rdlv = Some(ServerSettings::new(small()).expect("a mintimer"));
                    config
                }
                "no-data-rate" => config.data_rate(None),
                "long-decision" => config.timeouts(Timeouts {
                    long_decision: Duration::from_secs(number()),
                    ..Timeouts::default()
                }),
                "rdlv-accepted" => config.rdlv_accepted(value),
                "in-progress" => config.in_progress(value),
                "cannot-delay" => config.cannot_delay(value),
                "rdlv-offers-deta"
                | "rdlv-accept-with-200"
                | "rdlv-honour-shorter"
                | "rdlv-late-reset-with-250"
                | "rdlv-verbs"
                | "rdlv-margin" => {
                    let settings = rdlv.expect("rdlv comes first");
                    rdlv = Some(match name {
                        "rdlv-offers-deta" => settings.deta(true),
                        "rdlv-accept-with-200" => settings.accept_with_200(true),
                        "rdlv-honour-shorter" => settings.honour_shorter(true),
                        "rdlv-late-reset-with-250" => settings.late_reset_with_250(true),
                        "rdlv-margin" => settings.margin(Duration::from_secs(number())),
                        _ => {
                            let verbs: Vec<_> = value
                                .split(' ')
                                .filter(|verb| !verb.is_empty())
                                .map(|verb| match verb {
                                    "DATA" => Submission::Data,
                                    "BDAT" => Submission::BdatLast,
                                    "BURL" => Submission::BurlLast,
                                    _ => panic!("{verb}"),
                                })
                                .collect();
                            settings.verbs(&verbs)
                        }
                    });
                    config
                }
                _ => panic!("setting {setting}"),
            };
        }
        if let Some(rdlv) = rdlv {
            config = config.rdlv(rdlv);
        }
        config.limits(limits).build().expect("a configuration")
    }

    /// Every place to cut at: in front of the octets `0..` of all that the client sends.
    pub fn octets(&self) -> usize {
        let sent = self.steps.iter().map(|(_, step)| match step {
            Step::Send(octets) => octets.len(),
            _ => 0,
        });
        sent.sum()
    }

    /// Replays the dialogue with the client's octets cut where `cut` says, and gives the state of
    /// the store and what was told at the end.
    pub fn replay(&self, name: &str, cut: &dyn Fn(usize) -> bool) -> String {
        let mut world = World::new(self.config());
        let mut current = String::from("1");
        let mut told = String::new();
        let mut before = 0;
        for (index, (line, step)) in self.steps.iter().enumerate() {
            let place = format!("{name}:{line}");
            match step {
                Step::Send(octets) => {
                    let cuts = (1..octets.len()).filter(|at| cut(before + at));
                    world.send_cut(&current, octets, cuts);
                    before += octets.len();
                }
                Step::Expect(lines) => assert_eq!(world.take(&current), *lines, "{place}"),
                Step::Directive(text) => {
                    if let Some(other) = text.strip_prefix("as ") {
                        other.clone_into(&mut current);
                    } else if let Some(other) = text.strip_prefix("connect") {
                        let other = other.trim();
                        if !other.is_empty() {
                            other.clone_into(&mut current);
                        }
                        if let Some(old) = world.drop_session(&current) {
                            told += &old.log.join(" ");
                        }
                        world.connect(&current);
                    } else {
                        Self::directive(&mut world, &current, text, &place);
                    }
                }
            }
            let next = self.steps.get(index + 1).map(|(_, step)| step);
            if world.links.contains_key(&current) && !matches!(next, Some(Step::Expect(_))) {
                let at_once = matches!(next, Some(Step::Directive(_)))
                    && matches!(step, Step::Directive(_) | Step::Send(_));
                if !at_once {
                    assert_eq!(world.take(&current), "", "{place}: not expected");
                }
            }
        }
        for (name, link) in &world.links {
            told += &format!("\n{name}: {}", link.log.join(" "));
            assert_eq!(link.received, b"", "{name}: left over");
        }
        assert!(world.verdicts.is_empty(), "a verdict that nobody asked for");
        format!("{}{told}", world.store.state())
    }

    fn directive(world: &mut World, current: &str, text: &str, place: &str) {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let verdict = |text: &str| {
            let (text, dsn) = match text.strip_suffix(" (DSN issued)") {
                Some(text) => (text, true),
                None => (text, false),
            };
            let verdict = Verdict::for_each_recipient(text.split(" | ").map(reply));
            if dsn {
                verdict.with_dsn_issued()
            } else {
                verdict
            }
        };
        match verb {
            // The caller's answers to the questions to come.
            "mail" if rest == "unrecorded" => world.mail.push_back(MailPolicy::Unrecorded),
            "mail" => world.mail.push_back(MailPolicy::Reply(reply(rest))),
            "rcpt" => world.rcpt.push_back(reply(rest)),
            "data" => world.data.push_back(reply(rest)),
            "verdict" => world.verdicts.push_back(verdict(rest)),
            "hello" => world.hello.push_back(reply(rest)),
            "command" => world.commands.push_back(reply(rest)),
            "burl" => world.burl.push_back(Ok(unescape(rest))),
            "burl-refused" => world.burl.push_back(Err(reply(rest))),
            "challenge" => {
                let challenge = unescape(rest).into();
                world.auth.push_back(AuthAnswer::Challenge(challenge));
            }
            "identity" => world.auth.push_back(AuthAnswer::Success {
                identity: unescape(rest).into(),
            }),
            "auth-fails" => world.auth.push_back(AuthAnswer::Failure(match rest {
                "credentials" => AuthFailure::InvalidCredentials,
                "temporary" => AuthFailure::Temporary,
                "weak" => AuthFailure::TooWeak,
                _ => panic!("{place}"),
            })),
            "refuse-tls" => world.refuse_tls = true,
            "too-late" => world.abandon = AbandonAnswer::TooLate,
            "abort" => world.abort.push_back(match rest {
                "aborted" => ResetAnswer::Aborted,
                "too-late" => ResetAnswer::TooLate,
                "outdated" => ResetAnswer::Outdated,
                _ => panic!("{place}"),
            }),
            "detach" => world.detach.push_back(match rest {
                "owned" => DetachAnswer::Owned,
                "over-limit" => DetachAnswer::OverLimit,
                "failed" => DetachAnswer::Failed,
                "outdated" => DetachAnswer::Outdated,
                _ => panic!("{place}"),
            }),
            // The decision of a message that its client has left, after a crash.
            "decide" => world.decide(&verdict(rest)),
            // Questions of a kind stay open, until they are released.
            "hold" => world.hold.push(rest.into()),
            "release" => world.release(rest),
            // The world.
            "eof" => world.eof(current),
            "cut" => {
                world.eof(current);
                let ending = world.link(current).finished;
                assert!(ending.is_some(), "{place}: not over");
            }
            "disconnect" => world.disconnect(current),
            "stuck" => world.link(current).stuck = rest != "no more",
            "transmit" => {
                world.link(current).stuck = false;
                world.run(current);
            }
            "drop" => {
                world.drop_session(current);
            }
            "crash" => world.crash(),
            "wait" => {
                let seconds = rest.parse().expect("seconds");
                world.wait(current, Duration::from_secs(seconds));
            }
            "time-out" => world.time_out(current),
            "shutdown" => world.shutdown(current),
            "supersede" => world.supersede(current),
            "withdraw" => world.withdraw(),
            "tls" => world.tls(current),
            "fail-content" => {
                let now = world.now;
                let failed = world.link(current).session.fail_content(now, reply(rest));
                assert_eq!(failed, Ok(()), "{place}");
                // The octets since the last good sync are gone.
                for held in world.store.held.values_mut() {
                    held.content.truncate(held.synced);
                }
            }
            "unreadable" => world.store.held.values_mut().for_each(|held| {
                held.unreadable = rest != "no more";
            }),
            "octets-lost" => world.store.held.values_mut().for_each(|held| {
                held.lost_octets = true;
            }),
            // What must be true.
            "held" => assert_eq!(world.store.outline(), rest, "{place}"),
            "delivered" => {
                let delivered: Vec<_> = (world.store.delivered.iter())
                    .map(|message| message.content.escape_ascii().to_string())
                    .collect();
                assert_eq!(delivered.join(" | "), rest, "{place}");
            }
            "delivered-long" => {
                let delivered = &world.store.delivered;
                assert_eq!(delivered.len(), 1, "{place}");
                let whole = long_message(0..rest.parse().unwrap());
                assert!(delivered[0].content == whole, "{place}: other content");
            }
            "reported" => assert_eq!(world.store.reports.join(" | "), rest, "{place}"),
            // Seconds until something is due.
            "deadline" => {
                let now = world.now;
                let deadline = world.link(current).session.poll_timeout();
                let left = deadline.expect("a deadline").since(now);
                assert_eq!(left.as_secs_f64().to_string(), rest, "{place}");
            }
            "told" => {
                assert!(
                    world.told(current, rest),
                    "{place}: {:?}",
                    world.link(current).log
                );
            }
            "not-told" => assert!(!world.told(current, rest), "{place}"),
            "open" => {
                let open: Vec<_> = (world.link(current).questions.iter())
                    .map(|question| question.kind())
                    .collect();
                assert_eq!(open.join(" "), rest, "{place}");
            }
            "over" => {
                let ending = world.link(current).finished.expect("over");
                assert_eq!(format!("{ending:?}"), rest, "{place}");
            }
            _ => panic!("{place}: {text}"),
        }
    }
}
