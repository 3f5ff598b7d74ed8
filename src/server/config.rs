//! What a server offers, bounds and asks: built once, shared by all its sessions.
//!
//! Layer 4.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::dot::FaultPolicy;
use crate::ehlo::{EhloBuildError, EhloBuilder, SizeOffer};
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::rdlv;
use crate::reply::{Reply, ReplyCode, Severity, StaticReply, standard};

/// How long a session waits. RFC 5321 §4.5.3.2.7 asks for at least five minutes for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For the next command, or the next SASL response: 5 minutes.
    pub command: Duration,
    /// For the next octet of content: 3 minutes.
    pub content: Duration,
    /// For the answer to a question other than the decision: 5 minutes.
    pub question: Duration,
    /// For the decision on a whole message: 9 minutes, below the 10 that RFC 5321 §4.5.3.2.6 gives
    /// a client.
    pub decision: Duration,
    /// The same for a client whose RDLV was accepted, who is told that it goes on: 24 hours. A
    /// decision that is made by then, and whose reply waits for CONT, is waited for no longer.
    pub long_decision: Duration,
    /// For the answer to [`Event::Abandon`](super::Event::Abandon): 10 seconds.
    pub abandon: Duration,
    /// For the decision that is open at a shutdown: 30 seconds.
    pub shutdown: Duration,
    /// For the TLS handshake: 1 minute.
    pub handshake: Duration,
    /// For the transport to take the last reply: 30 seconds.
    pub closing: Duration,
}

impl Timeouts {
    fn are_lasting(&self) -> bool {
        let all = [
            self.command,
            self.content,
            self.question,
            self.decision,
            self.long_decision,
            self.abandon,
            self.shutdown,
            self.handshake,
            self.closing,
        ];
        all.iter().all(|timeout| !timeout.is_zero())
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            content: Duration::from_secs(180),
            question: Duration::from_secs(300),
            decision: Duration::from_secs(540),
            long_decision: Duration::from_secs(24 * 60 * 60),
            abandon: Duration::from_secs(10),
            shutdown: Duration::from_secs(30),
            handshake: Duration::from_secs(60),
            closing: Duration::from_secs(30),
        }
    }
}

/// The least rate at which content has to come; slower is answered 421.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataRate {
    /// Octets within each [`window`](Self::window).
    pub octets: u64,
    /// The time over which they are counted.
    pub window: Duration,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The host name, a mechanism or a keyword cannot stand in an EHLO reply.
    #[error("cannot be offered in an EHLO reply: {0}")]
    Ehlo(#[from] EhloBuildError),
    /// A text holds a control character.
    #[error("text with a control character")]
    Text,
    /// BINARYMIME without CHUNKING (RFC 3030 §3).
    #[error("BINARYMIME needs CHUNKING")]
    BinaryMimeWithoutChunking,
    /// DETA without DSN (draft-burger-smtp-deta-00 §2.2.1).
    #[error("DETA needs DSN")]
    DetaWithoutDsn,
    /// AUTH is required and no mechanism is offered, or TLS is required and not offered.
    #[error("required but not offered")]
    RequiredNotOffered,
    /// The reply to faulty content is not 4yz or 5yz, or is 421: the client would take the message
    /// for delivered, or wait for the end of the connection.
    #[error("the reply to faulty content is no refusal")]
    FaultReply,
    /// A time-out, or the window of a data rate, of 0: every session would end where it begins to
    /// wait.
    #[error("a time-out of 0")]
    ZeroTimeout,
}

/// The configuration of a server. See [`ServerConfig::builder`].
#[derive(Debug)]
pub struct ServerConfig {
    pub(super) protocol: Protocol,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) data_rate: Option<DataRate>,
    pub(super) offers: Offers,
    pub(super) require_tls: bool,
    pub(super) require_auth: bool,
    pub(super) refuse_bare_paths: bool,
    pub(super) faults: FaultPolicy,
    pub(super) fault_reply: Reply,
    pub(super) checkpoint_every: Option<u64>,
    pub(super) ask_connection: bool,
    pub(super) ask_hello: bool,
    pub(super) ask_data: bool,
    pub(super) ask_commands: bool,
    pub(super) mail_parameters: Vec<Bytes>,
    pub(super) rcpt_parameters: Vec<Bytes>,
    /// These replies, and those to a hello, as octets: no session says anything else.
    pub(super) greeting: Bytes,
    pub(super) start_mail_input: Bytes,
    pub(super) quit: Bytes,
    pub(super) detached: Reply,
    pub(super) rdlv_accepted: Reply,
    pub(super) in_progress: Reply,
    pub(super) cannot_delay: Reply,
    /// EHLO replies as octets: in clear or under TLS, before or after AUTH.
    ehlo: [[Bytes; 2]; 2],
    helo: Bytes,
}

/// What is offered in the EHLO reply.
#[derive(Debug, Clone)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) size: bool,
    pub(super) eight_bit_mime: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) enhanced_status_codes: bool,
    pub(super) chunking: bool,
    pub(super) binary_mime: bool,
    pub(super) checkpoint: bool,
    pub(super) rdlv: Option<rdlv::ServerSettings>,
    pub(super) starttls: bool,
    pub(super) burl: Option<String>,
    pub(super) auth: Vec<String>,
    pub(super) auth_in_clear: bool,
    pub(super) keywords: Vec<(String, String)>,
}

/// Builds a [`ServerConfig`]. See [`ServerConfig::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ServerConfigBuilder {
    hostname: String,
    protocol: Protocol,
    limits: Limits,
    timeouts: Timeouts,
    data_rate: Option<DataRate>,
    offers: Offers,
    require_tls: bool,
    require_auth: bool,
    refuse_bare_paths: bool,
    faults: FaultPolicy,
    fault_reply: Reply,
    checkpoint_every: Option<u64>,
    ask_connection: bool,
    ask_hello: bool,
    ask_data: bool,
    ask_commands: bool,
    mail_parameters: Vec<Bytes>,
    rcpt_parameters: Vec<Bytes>,
    greeting: String,
    hello: String,
    quit: Option<String>,
    rdlv_accepted: Option<String>,
    in_progress: Option<String>,
    cannot_delay: Option<String>,
}

impl ServerConfig {
    /// A configuration for the server of this name, a domain or an address literal.
    ///
    /// It offers PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES, CHUNKING and CHECKPOINT. The rest
    /// asks something of you, and is offered only when told to: [`smtputf8`], [`dsn`] and
    /// [`binary_mime`], with what they promise; [`starttls`], [`auth`], [`burl`] and [`rdlv`].
    /// CHECKPOINT is a promise that the store fences (see the
    /// [store's part](crate::checkpoint::transaction#what-the-store-promises)); without such a
    /// store switch it off.
    ///
    /// Messages are taken up to 64 MiB, which SIZE tells the client: see
    /// [`Limits::message_size`].
    ///
    /// [`smtputf8`]: ServerConfigBuilder::smtputf8
    /// [`dsn`]: ServerConfigBuilder::dsn
    /// [`binary_mime`]: ServerConfigBuilder::binary_mime
    /// [`starttls`]: ServerConfigBuilder::starttls
    /// [`auth`]: ServerConfigBuilder::auth
    /// [`burl`]: ServerConfigBuilder::burl
    /// [`rdlv`]: ServerConfigBuilder::rdlv
    ///
    /// ```
    /// use smtp_checkpoint::limits::Limits;
    /// use smtp_checkpoint::server::ServerConfig;
    ///
    /// let config = ServerConfig::builder("mx.example.net")
    ///     .limits(Limits { message_size: Some(50 << 20), ..Limits::default() })
    ///     .build()?;
    /// # Ok::<(), smtp_checkpoint::server::ConfigError>(())
    /// ```
    pub fn builder(hostname: &str) -> ServerConfigBuilder {
        ServerConfigBuilder {
            hostname: hostname.into(),
            protocol: Protocol::Smtp,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            data_rate: Some(DataRate {
                octets: 500 * 60,
                window: Duration::from_secs(60),
            }),
            offers: Offers {
                pipelining: true,
                size: true,
                eight_bit_mime: true,
                smtputf8: false,
                dsn: false,
                enhanced_status_codes: true,
                chunking: true,
                binary_mime: false,
                checkpoint: true,
                rdlv: None,
                starttls: false,
                burl: None,
                auth: Vec::new(),
                auth_in_clear: false,
                keywords: Vec::new(),
            },
            require_tls: false,
            require_auth: false,
            refuse_bare_paths: false,
            faults: FaultPolicy::KEEP_NUL,
            fault_reply: standard::BAD_CONTENT.into(),
            checkpoint_every: None,
            ask_connection: false,
            ask_hello: false,
            ask_data: false,
            ask_commands: false,
            mail_parameters: Vec::new(),
            rcpt_parameters: Vec::new(),
            greeting: "SMTP service ready".into(),
            hello: "says hello".into(),
            quit: None,
            rdlv_accepted: None,
            in_progress: None,
            cannot_delay: None,
        }
    }

    /// What RDLV goes by; settings of no account where it is not offered.
    pub(super) fn rdlv(&self) -> rdlv::ServerSettings {
        self.offers.rdlv.unwrap_or(rdlv::ServerSettings::LEAST)
    }

    pub(super) fn offers_deta(&self) -> bool {
        self.offers.rdlv.is_some_and(|rdlv| rdlv.offers_deta())
    }

    pub(super) fn ehlo_reply(&self, tls: bool, authenticated: bool) -> &Bytes {
        let [clear, protected] = &self.ehlo;
        let [before, after] = if tls { protected } else { clear };
        if authenticated { after } else { before }
    }

    pub(super) fn helo_reply(&self) -> &Bytes {
        &self.helo
    }
}

macro_rules! switches {
    ($($(#[$meta:meta])* $name:ident => $($field:ident).+;)*) => {
        $(
            $(#[$meta])*
            pub fn $name(mut self, on: bool) -> Self {
                self.$($field).+ = on;
                self
            }
        )*
    };
}

impl ServerConfigBuilder {
    switches! {
        /// Offers PIPELINING (RFC 2920). On by default.
        pipelining => offers.pipelining;
        /// Offers SIZE (RFC 1870). On by default.
        size => offers.size;
        /// Offers 8BITMIME (RFC 6152). On by default.
        eight_bit_mime => offers.eight_bit_mime;
        /// Offers SMTPUTF8 (RFC 6531). Off by default: whoever takes such a message can deliver to
        /// mailboxes beyond ASCII, and relays only where SMTPUTF8 is offered too, or reports.
        smtputf8 => offers.smtputf8;
        /// Offers DSN (RFC 3461). Off by default: whoever takes the parameters acts on NOTIFY, RET,
        /// ENVID and ORCPT, with reports of its own or by handing them on. [`dsn`](crate::dsn) reads
        /// them.
        dsn => offers.dsn;
        /// Offers ENHANCEDSTATUSCODES (RFC 2034) and writes them. On by default.
        enhanced_status_codes => offers.enhanced_status_codes;
        /// Offers CHUNKING (RFC 3030). On by default.
        chunking => offers.chunking;
        /// Offers BINARYMIME (RFC 3030). Off by default: such content has no lines and any octets,
        /// and is relayed only where BINARYMIME is offered too, or converted. Needs CHUNKING.
        binary_mime => offers.binary_mime;
        /// Offers CHECKPOINT (RFC 1845). On by default.
        checkpoint => offers.checkpoint;
        /// Offers STARTTLS (RFC 3207).
        starttls => offers.starttls;
        /// Offers AUTH in clear too. By default the mechanisms are shown under TLS only.
        auth_in_clear => offers.auth_in_clear;
        /// Answers MAIL before STARTTLS with 530 5.7.0.
        require_tls => require_tls;
        /// Answers MAIL before AUTH with 530 5.7.0.
        require_auth => require_auth;
        /// Refuses paths without angle brackets (RFC 5321 §4.1.2), which are read by default.
        refuse_bare_paths => refuse_bare_paths;
        /// Asks [`Event::Connection`](super::Event::Connection) before the greeting.
        ask_connection => ask_connection;
        /// Asks [`Event::Hello`](super::Event::Hello) at EHLO, HELO and LHLO.
        ask_hello => ask_hello;
        /// Asks [`Event::Data`](super::Event::Data) also where no record is kept.
        ask_data => ask_data;
        /// Asks [`Event::Command`](super::Event::Command) for commands that the session does not
        /// know, and for VRFY, EXPN and HELP, in place of its own replies.
        ask_commands => ask_commands;
    }

    /// SMTP (the default) or LMTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The bounds. Messages have one too, which SIZE tells: [`Limits::message_size`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The time-outs.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The least rate of content; `None` for none. 500 octets a second over a minute by default.
    pub fn data_rate(mut self, rate: Option<DataRate>) -> Self {
        self.data_rate = rate;
        self
    }

    /// Offers AUTH with these mechanisms (RFC 4954).
    pub fn auth<M: Into<String>>(mut self, mechanisms: impl IntoIterator<Item = M>) -> Self {
        self.offers.auth = mechanisms.into_iter().map(Into::into).collect();
        self
    }

    /// Offers BURL with these parameters, for instance `imap` (RFC 4468).
    pub fn burl(mut self, parameters: &str) -> Self {
        self.offers.burl = Some(parameters.into());
        self
    }

    /// Offers RDLV (draft-burger-smtp-rdlv-01), and DETA where the settings say so, which needs
    /// [`dsn`](Self::dsn): a client may then be told that the decision takes its time, and hang up without losing the message. See
    /// [the module](crate::rdlv).
    ///
    /// ```
    /// use smtp_checkpoint::rdlv::ServerSettings;
    /// use smtp_checkpoint::server::{ConfigError, ServerConfig};
    ///
    /// let long = ServerSettings::new(30)?.deta(true);
    /// let builder = || ServerConfig::builder("mx.example.net").rdlv(long);
    /// assert!(builder().dsn(true).build().is_ok());
    /// // A client that hangs up hears of a failure by a DSN alone.
    /// assert_eq!(builder().build().err(), Some(ConfigError::DetaWithoutDsn));
    /// # Ok::<(), smtp_checkpoint::rdlv::SettingsError>(())
    /// ```
    pub fn rdlv(mut self, settings: rdlv::ServerSettings) -> Self {
        self.offers.rdlv = Some(settings);
        self
    }

    /// Offers a keyword of your own.
    pub fn keyword(mut self, keyword: &str, parameters: &str) -> Self {
        self.offers
            .keywords
            .push((keyword.into(), parameters.into()));
        self
    }

    /// Takes a MAIL parameter of your own in place of 555; its value is in
    /// [`Mail::unknown_parameters`](crate::command::Mail::unknown_parameters).
    pub fn mail_parameter(mut self, keyword: &str) -> Self {
        let keyword = Bytes::copy_from_slice(keyword.as_bytes());
        self.mail_parameters.push(keyword);
        self
    }

    /// Takes an RCPT parameter of your own in place of 555.
    pub fn rcpt_parameter(mut self, keyword: &str) -> Self {
        let keyword = Bytes::copy_from_slice(keyword.as_bytes());
        self.rcpt_parameters.push(keyword);
        self
    }

    /// What becomes of bare CR, bare LF and NUL in content: [`FaultPolicy::KEEP_NUL`] by default.
    pub fn faults(mut self, policy: FaultPolicy) -> Self {
        self.faults = policy;
        self
    }

    /// The final reply to content that the policy refuses, 4yz or 5yz: 550 5.6.0 by default.
    pub fn fault_reply(mut self, reply: impl Into<Reply>) -> Self {
        self.fault_reply = reply.into();
        self
    }

    /// Octets after which the record of a growing transaction is due
    /// ([`Event::CheckpointDue`](super::Event::CheckpointDue)). By default it is due only when the
    /// transaction is interrupted: a crash of the server then costs the whole message.
    pub fn checkpoint_every(mut self, octets: u64) -> Self {
        self.checkpoint_every = Some(octets.max(1));
        self
    }

    /// The text of the greeting behind the host name.
    pub fn greeting(mut self, text: &str) -> Self {
        self.greeting = text.into();
        self
    }

    /// The text of the EHLO reply behind the host name.
    pub fn hello(mut self, text: &str) -> Self {
        self.hello = text.into();
        self
    }

    /// The text of the reply to QUIT, and to a DETA that is granted.
    pub fn quit(mut self, text: &str) -> Self {
        self.quit = Some(text.into());
        self
    }

    /// The text of the reply to an RDLV that is accepted. It may begin with an enhanced code.
    pub fn rdlv_accepted(mut self, text: &str) -> Self {
        self.rdlv_accepted = Some(text.into());
        self
    }

    /// The text of the 120.
    pub fn in_progress(mut self, text: &str) -> Self {
        self.in_progress = Some(text.into());
        self
    }

    /// The text of the 520 to a verb for which no 120 can be sent. It may begin with an enhanced
    /// code.
    pub fn cannot_delay(mut self, text: &str) -> Self {
        self.cannot_delay = Some(text.into());
        self
    }

    /// Checks it all and prepares the EHLO replies.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a configuration that could not keep what it offers.
    pub fn build(self) -> Result<ServerConfig, ConfigError> {
        let offers = &self.offers;
        if offers.binary_mime && !offers.chunking {
            return Err(ConfigError::BinaryMimeWithoutChunking);
        }
        if offers.rdlv.is_some_and(|rdlv| rdlv.offers_deta()) && !offers.dsn {
            return Err(ConfigError::DetaWithoutDsn);
        }
        if (self.require_tls && !offers.starttls) || (self.require_auth && offers.auth.is_empty()) {
            return Err(ConfigError::RequiredNotOffered);
        }
        let refuses = matches!(
            self.fault_reply.severity(),
            Severity::TransientFailure | Severity::PermanentFailure
        );
        if !refuses || self.fault_reply.code() == ReplyCode::SERVICE_NOT_AVAILABLE {
            return Err(ConfigError::FaultReply);
        }
        if !self.timeouts.are_lasting() || self.data_rate.is_some_and(|it| it.window.is_zero()) {
            return Err(ConfigError::ZeroTimeout);
        }
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let one_line = |code: ReplyCode, line: &str| {
            Reply::with_text(code, None, text(line)).map_err(|_| ConfigError::Text)
        };
        let encoded = |reply: &Reply, enhanced: bool| {
            let mut octets = BytesMut::new();
            reply.encode(enhanced, &mut octets);
            octets.freeze()
        };
        let ehlo = |tls: bool, authenticated: bool| -> Result<Bytes, ConfigError> {
            Ok(encoded(&self.ehlo(tls, authenticated)?, false))
        };
        let enhanced = offers.enhanced_status_codes;
        let quit = reworded(standard::CLOSING, self.quit.as_deref())?;
        let first_line = join(&self.hostname, &self.hello);
        let accepted = offers
            .rdlv
            .map_or(standard::OK, |settings| settings.accepted());
        Ok(ServerConfig {
            ehlo: [
                [ehlo(false, false)?, ehlo(false, true)?],
                [ehlo(true, false)?, ehlo(true, true)?],
            ],
            helo: encoded(&one_line(ReplyCode::OK, &first_line)?, false),
            greeting: encoded(
                &one_line(
                    ReplyCode::SERVICE_READY,
                    &join(&self.hostname, &self.greeting),
                )?,
                false,
            ),
            start_mail_input: encoded(&standard::START_MAIL_INPUT.reply(), enhanced),
            quit: encoded(&quit, enhanced),
            detached: reworded(standard::DETACHED, self.quit.as_deref())?,
            rdlv_accepted: reworded(accepted, self.rdlv_accepted.as_deref())?,
            in_progress: reworded(standard::IN_PROGRESS, self.in_progress.as_deref())?,
            cannot_delay: reworded(standard::CANNOT_DELAY, self.cannot_delay.as_deref())?,
            protocol: self.protocol,
            limits: self.limits,
            timeouts: self.timeouts,
            data_rate: self.data_rate,
            offers: self.offers,
            require_tls: self.require_tls,
            require_auth: self.require_auth,
            refuse_bare_paths: self.refuse_bare_paths,
            faults: self.faults,
            fault_reply: self.fault_reply,
            checkpoint_every: self.checkpoint_every,
            ask_connection: self.ask_connection,
            ask_hello: self.ask_hello,
            ask_data: self.ask_data,
            ask_commands: self.ask_commands,
            mail_parameters: self.mail_parameters,
            rcpt_parameters: self.rcpt_parameters,
        })
    }

    fn ehlo(&self, tls: bool, authenticated: bool) -> Result<Reply, EhloBuildError> {
        type Switch = fn(EhloBuilder) -> EhloBuilder;
        let offers = &self.offers;
        let mut reply = EhloBuilder::new(&self.hostname)?.greeting(&self.hello)?;
        // The order of the dialogues in the drafts of RDLV and DETA.
        if offers.eight_bit_mime {
            reply = reply.eight_bit_mime();
        }
        if offers.pipelining {
            reply = reply.pipelining();
        }
        if let Some(parameters) = &offers.burl {
            reply = reply.burl(parameters)?;
        }
        if let Some(settings) = &offers.rdlv {
            reply = reply.rdlv(settings.mintimer())?;
            if settings.offers_deta() {
                reply = reply.deta();
            }
        }
        let switches: [(bool, Switch); 7] = [
            (offers.smtputf8, EhloBuilder::smtputf8),
            (offers.dsn, EhloBuilder::dsn),
            (
                offers.enhanced_status_codes,
                EhloBuilder::enhanced_status_codes,
            ),
            (offers.chunking, EhloBuilder::chunking),
            (offers.binary_mime, EhloBuilder::binary_mime),
            (offers.starttls && !tls, EhloBuilder::starttls),
            (offers.checkpoint, EhloBuilder::checkpoint),
        ];
        for (_, switch) in switches.into_iter().filter(|(on, _)| *on) {
            reply = switch(reply);
        }
        if offers.size {
            reply = reply.size(match self.limits.message_size {
                Some(limit) => SizeOffer::Limit(limit),
                None => SizeOffer::NoFixedLimit,
            });
        }
        if !offers.auth.is_empty() && !authenticated && (tls || offers.auth_in_clear) {
            reply = reply.auth(&offers.auth)?;
        }
        for (keyword, parameters) in &offers.keywords {
            reply = reply.keyword(keyword, parameters)?;
        }
        reply.build()
    }
}

/// A standard reply with a text, and maybe an enhanced code, of the caller's.
fn reworded(standard: StaticReply, text: Option<&str>) -> Result<Reply, ConfigError> {
    let Some(text) = text else {
        return Ok(standard.into());
    };
    let reply = |enhanced, text: &str| {
        Reply::with_text(standard.code(), enhanced, String::from(text))
            .map_err(|_| ConfigError::Text)
    };
    let own = reply(None, text)?.with_enhanced_from_text();
    match own.enhanced_code() {
        Some(_) => Ok(own),
        None => reply(standard.enhanced_code(), text),
    }
}

fn join(hostname: &str, text: &str) -> String {
    let mut line = String::from(hostname);
    if !text.is_empty() {
        line.push(' ');
        line.push_str(text);
    }
    line
}
