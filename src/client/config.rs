//! How a client speaks: built once, shared by all its sessions.
//!
//! Layer 4.

use core::time::Duration;

use thiserror::Error;

use crate::command::{BuildError, ClientName};
use crate::dot::FaultPolicy;
use crate::limits::Limits;
use crate::protocol::Protocol;

/// Whether STARTTLS is used (RFC 3207). A connection that begins under TLS needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// Never.
    Never,
    /// Where it is offered; a server that refuses it is spoken to in clear.
    #[default]
    IfOffered,
    /// Always: where it is not offered, or refused, the session ends without mail.
    Required,
}

/// How long the client waits for the server (RFC 5321 §4.5.3.2). The extension changes none of
/// them (RFC 1845 §1).
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
}

/// The configuration of a client.
///
/// ```
/// use smtp_checkpoint::client::{ClientConfig, TlsPolicy};
///
/// let config = ClientConfig::builder("ymir.claremont.edu").tls(TlsPolicy::Required).build()?;
/// assert_eq!(config.name().as_bytes(), b"ymir.claremont.edu");
/// assert!(ClientConfig::builder("c.example\r\nMAIL FROM:<x@y>").build().is_err());
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
    pub(super) max_attempts: u32,
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
    max_attempts: u32,
    faults: FaultPolicy,
    timeouts: Timeouts,
    limits: Limits,
}

impl ClientConfig {
    /// Begins a configuration. `name` is the argument of EHLO: the client's domain name, or an
    /// address literal (RFC 5321 §4.1.1.1).
    pub fn builder(name: impl AsRef<[u8]>) -> ClientConfigBuilder {
        ClientConfigBuilder {
            name: ClientName::parse(name.as_ref()),
            config: Settings {
                protocol: Protocol::Smtp,
                tls: TlsPolicy::IfOffered,
                auth_in_clear: false,
                pipelining: true,
                chunk_size: 64 * 1024,
                max_attempts: 100,
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
}

impl ClientConfigBuilder {
    /// SMTP (the default) or LMTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// Whether STARTTLS is used.
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

    /// Attempts after which a transaction whose end was sent is
    /// [unknown](crate::checkpoint::Outcome::Unknown) instead of interrupted. 100 by default.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.config.max_attempts = attempts;
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
            max_attempts,
            faults,
            timeouts,
            limits,
        } = self.config;
        if chunk_size == 0 || limits.output < 16 {
            return Err(ConfigError::TooSmall);
        }
        Ok(ClientConfig {
            name: self.name?,
            protocol,
            tls,
            auth_in_clear,
            pipelining,
            chunk_size,
            max_attempts,
            faults,
            timeouts,
            limits,
        })
    }
}
