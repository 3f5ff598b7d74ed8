//! How a client speaks: built once, shared by all its sessions.
//!
//! Layer 4.

use core::time::Duration;

use thiserror::Error;

use crate::checkpoint::RestartPolicy;
use crate::command::{BuildError, ClientName};
use crate::dot::FaultPolicy;
use crate::limits::Limits;
use crate::protocol::Protocol;
use crate::rdlv::{ClientSettings, Policy};

/// Whether STARTTLS is used (RFC 3207). A connection that begins under TLS needs none.
///
/// There is no default: a caller that has TLS is not to send in clear by omission, and one that
/// has none is not to be left with a handshake that it cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// Never: for a caller without TLS, and for a connection that begins under TLS.
    Never,
    /// Where it is offered; a server that refuses it is spoken to in clear. The caller does the
    /// handshake at [`Event::TlsHandover`](super::Event::TlsHandover).
    IfOffered,
    /// Always: where it is not offered, or refused, the session ends without mail.
    Required,
}

/// What a client wants of RDLV and DETA, for all its transactions or for one.
///
/// ```
/// use core::time::Duration;
/// use smtp_checkpoint::client::RdlvRequest;
/// use smtp_checkpoint::rdlv::{Policy, Then};
///
/// // A server that says "still working on it" every ten minutes is waited for, an hour in all;
/// // then the message is left with it.
/// let hour = Policy { carry_on_for: Duration::from_secs(3600), then: Then::Detach };
/// let request = RdlvRequest::new(600).policy(hour);
/// assert_eq!(request.settings.maxtimer, 600);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RdlvRequest {
    /// `maxtimer`, its margin, when DETA may be used, and what a 250 to RSET says.
    pub settings: ClientSettings,
    /// Makes the choice for each 120; the caller is told of it by
    /// [`Event::Chosen`](super::Event::Chosen). `None`: the caller is asked, by
    /// [`Event::StillDeciding`](super::Event::StillDeciding).
    pub policy: Option<Policy>,
    /// What comes where RDLV is not to be had.
    pub otherwise: WithoutRdlv,
}

/// What comes where RDLV is not offered, is refused, or is not possible for the verb that ends the
/// message (520).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WithoutRdlv {
    /// The message goes without it, and [`Event::NoRdlv`](super::Event::NoRdlv) says so. After 520
    /// DATA or BURL is sent once more, or, for BDAT, RSET and the whole transaction.
    #[default]
    GoOn,
    /// The message is not sent: [`SendError::Rdlv`](super::SendError::Rdlv) where it is not
    /// offered, else [`Outcome::Declined`](crate::checkpoint::Outcome::Declined).
    Stop,
}

impl RdlvRequest {
    /// Waits up to `maxtimer` seconds for a reply, with the defaults of [`ClientSettings`]; asks
    /// the caller on 120, and goes without RDLV where it is not to be had.
    #[must_use]
    pub const fn new(maxtimer: u32) -> Self {
        Self {
            settings: ClientSettings::new(maxtimer),
            policy: None,
            otherwise: WithoutRdlv::GoOn,
        }
    }

    /// The same with a policy, so that no 120 is asked about.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }
}

/// How long the client waits for the server (RFC 5321 §4.5.3.2). CHECKPOINT changes none of them
/// (RFC 1845 §1); under RDLV the reply to the end of the data is waited for as long as `maxtimer`
/// and its margin say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For the greeting: 5 minutes.
    pub greeting: Duration,
    /// For the reply to a command that is not listed: 5 minutes.
    pub command: Duration,
    /// For the reply to MAIL: 5 minutes.
    pub mail: Duration,
    /// For the reply to RCPT: 5 minutes.
    pub rcpt: Duration,
    /// For the reply to DATA: 2 minutes.
    pub data_initiation: Duration,
    /// For the transport to take some of the data: 3 minutes.
    pub data_block: Duration,
    /// For the reply to the end of the data: 10 minutes.
    pub data_termination: Duration,
    /// For the TLS handshake: 2 minutes.
    pub handshake: Duration,
}

impl Timeouts {
    fn are_lasting(&self) -> bool {
        let all = [
            self.greeting,
            self.command,
            self.mail,
            self.rcpt,
            self.data_initiation,
            self.data_block,
            self.data_termination,
            self.handshake,
        ];
        all.iter().all(|timeout| !timeout.is_zero())
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            greeting: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data_initiation: minutes(2),
            data_block: minutes(3),
            data_termination: minutes(10),
            handshake: minutes(2),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The client name cannot stand in EHLO.
    #[error("client name: {0}")]
    Name(#[from] BuildError),
    /// A chunk of no octets, or an output bound too small to make progress.
    #[error("chunk size or output limit too small")]
    TooSmall,
    /// A time-out of 0: no reply could come in time.
    #[error("a time-out of 0")]
    ZeroTimeout,
}

/// The configuration of a client.
///
/// ```
/// use smtp_checkpoint::client::{ClientConfig, TlsPolicy};
///
/// let config = ClientConfig::builder("ymir.claremont.edu", TlsPolicy::Required).build()?;
/// assert_eq!(config.name().as_bytes(), b"ymir.claremont.edu");
/// let injected = ClientConfig::builder("c.example\r\nMAIL FROM:<x@y>", TlsPolicy::Never);
/// assert!(injected.build().is_err());
/// # Ok::<(), smtp_checkpoint::client::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub(super) name: ClientName,
    pub(super) protocol: Protocol,
    pub(super) tls: TlsPolicy,
    pub(super) auth_in_clear: bool,
    pub(super) pipelining: bool,
    pub(super) chunk_size: usize,
    pub(super) restart: RestartPolicy,
    pub(super) rdlv: Option<RdlvRequest>,
    pub(super) faults: FaultPolicy,
    pub(super) timeouts: Timeouts,
    pub(super) limits: Limits,
}

/// Builds a [`ClientConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientConfigBuilder {
    name: Result<ClientName, BuildError>,
    config: Settings,
}

#[derive(Debug, Clone)]
struct Settings {
    protocol: Protocol,
    tls: TlsPolicy,
    auth_in_clear: bool,
    pipelining: bool,
    chunk_size: usize,
    restart: RestartPolicy,
    rdlv: Option<RdlvRequest>,
    faults: FaultPolicy,
    timeouts: Timeouts,
    limits: Limits,
}

impl ClientConfig {
    /// Begins a configuration. `name` is the argument of EHLO: the client's domain name, or an
    /// address literal (RFC 5321 §4.1.1.1). `tls` says whether STARTTLS is used.
    pub fn builder(name: impl AsRef<[u8]>, tls: TlsPolicy) -> ClientConfigBuilder {
        ClientConfigBuilder {
            name: ClientName::parse(name.as_ref()),
            config: Settings {
                protocol: Protocol::Smtp,
                tls,
                auth_in_clear: false,
                pipelining: true,
                chunk_size: 64 * 1024,
                restart: RestartPolicy::default(),
                rdlv: None,
                faults: FaultPolicy::REFUSE_ALL,
                timeouts: Timeouts::default(),
                limits: Limits::default(),
            },
        }
    }

    /// The argument of EHLO.
    #[must_use]
    pub fn name(&self) -> &ClientName {
        &self.name
    }

    /// SMTP or LMTP.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How long to go on restarting, for
    /// [`next_step`](crate::checkpoint::UnfinishedTransaction::next_step).
    #[must_use]
    pub fn restart_policy(&self) -> &RestartPolicy {
        &self.restart
    }
}

impl ClientConfigBuilder {
    /// SMTP (the default) or LMTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// Whether STARTTLS is used, where it is another than the builder began with.
    pub fn tls(mut self, tls: TlsPolicy) -> Self {
        self.config.tls = tls;
        self
    }

    /// Allows AUTH without TLS. Not by default.
    pub fn auth_in_clear(mut self, allowed: bool) -> Self {
        self.config.auth_in_clear = allowed;
        self
    }

    /// Whether commands are sent in groups where PIPELINING is offered (RFC 2920). By default.
    pub fn pipelining(mut self, wanted: bool) -> Self {
        self.config.pipelining = wanted;
        self
    }

    /// The size of a BDAT chunk in octets; one chunk is held in memory. 64 KiB by default.
    pub fn chunk_size(mut self, octets: usize) -> Self {
        self.config.chunk_size = octets;
        self
    }

    /// How long to go on restarting. A transaction whose end was sent is
    /// [unknown](crate::checkpoint::Outcome::Unknown) instead of interrupted after
    /// [`RestartPolicy::attempts`]; for the age, which no session knows, ask
    /// [`next_step`](crate::checkpoint::UnfinishedTransaction::next_step) before each attempt.
    pub fn restart_policy(mut self, policy: RestartPolicy) -> Self {
        self.config.restart = policy;
        self
    }

    /// Asks for RDLV in every transaction that [`send`](super::ClientSession::send) begins
    /// (draft-burger-smtp-rdlv-01). Not by default.
    pub fn rdlv(mut self, request: RdlvRequest) -> Self {
        self.config.rdlv = Some(request);
        self
    }

    /// What becomes of bare CR, bare LF and NUL in content: refused by default. Content with
    /// BODY=BINARYMIME is not looked at.
    pub fn faults(mut self, faults: FaultPolicy) -> Self {
        self.config.faults = faults;
        self
    }

    /// How long the client waits.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// The bounds of a session. [`Limits::output`] is the high-water mark of
    /// [`wants_content`](super::ClientSession::wants_content).
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn build(self) -> Result<ClientConfig, ConfigError> {
        let Settings {
            protocol,
            tls,
            auth_in_clear,
            pipelining,
            chunk_size,
            restart,
            rdlv,
            faults,
            timeouts,
            limits,
        } = self.config;
        if chunk_size == 0 || limits.output < 16 {
            return Err(ConfigError::TooSmall);
        }
        if !timeouts.are_lasting() {
            return Err(ConfigError::ZeroTimeout);
        }
        Ok(ClientConfig {
            name: self.name?,
            protocol,
            tls,
            auth_in_clear,
            pipelining,
            chunk_size,
            restart,
            rdlv,
            faults,
            timeouts,
            limits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_out_can_be_zero() {
        let timeouts: [fn(&mut Timeouts) -> &mut Duration; 8] = [
            |all| &mut all.greeting,
            |all| &mut all.command,
            |all| &mut all.mail,
            |all| &mut all.rcpt,
            |all| &mut all.data_initiation,
            |all| &mut all.data_block,
            |all| &mut all.data_termination,
            |all| &mut all.handshake,
        ];
        for timeout in timeouts {
            let mut all = Timeouts::default();
            *timeout(&mut all) = Duration::ZERO;
            let builder = ClientConfig::builder("c.example", TlsPolicy::Never).timeouts(all);
            assert_eq!(builder.build().err(), Some(ConfigError::ZeroTimeout));
        }
    }
}
