//! The client's unfinished transaction as octets, for the caller's journal.

use alloc::vec::Vec;

use super::client::{ClientScope, Content, Sent, Server, UnfinishedTransaction};
use super::plan::{ContentCommand, Used};
use crate::command::{Burl, CommandLine};
use crate::encoding::{Reader, Writer};
use crate::envelope::Envelope;
use crate::error::DecodeError;
use crate::transid::TransId;

pub(super) const KIND: [u8; 3] = *b"UNF";
pub(super) const VERSION: u8 = 1;

/// Whether a BURL command can be written with it.
pub(super) fn is_url(url: &[u8]) -> bool {
    CommandLine::burl(Burl { url, last: true }).is_ok()
}

impl UnfinishedTransaction {
    /// The versioned byte encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND, VERSION);
        writer.octets(
            self.transid
                .as_ref()
                .map_or(&[], |transid| transid.as_bytes()),
        );
        writer.flag(self.lmtp);
        self.envelope.encode(&mut writer);
        writer
            .u64(self.content.octets)
            .flag(self.content.unfinished_last_line)
            .octets(&self.content.fingerprint)
            .u8(match self.wanted {
                ContentCommand::Data => 0,
                ContentCommand::Bdat => 1,
                ContentCommand::Burl => 2,
            })
            .octets(&self.url)
            .u8(self.used.map_or(0, Used::to_bits))
            .u8(match self.sent {
                Sent::Nothing => 0,
                Sent::Data => 1,
                Sent::EndOfData => 2,
            })
            .u32(self.attempts)
            .u32(self.mails_accepted)
            .u64(self.began)
            .flag(self.scope.is_some());
        if let Some(scope) = &self.scope {
            writer.octets(&scope.name).flag(scope.identity.is_some());
            if let Some(identity) = &scope.identity {
                writer.octets(identity);
            }
            writer.flag(scope.tls).octets(&scope.local_address);
        }
        writer.flag(self.last_server.is_some());
        if let Some(server) = &self.last_server {
            writer.octets(&server.host).octets(&server.address);
        }
        writer.flag(self.doubling_allowed);
        writer.finish()
    }

    /// A transaction from what [`encode`](Self::encode) gave.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]: nothing is known then of whether the message was delivered.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let damaged = DecodeError::Damaged;
        let mut reader = Reader::new(octets, KIND, VERSION)?;
        let transid = match reader.octets()? {
            [] => None,
            value => Some(TransId::parse(value).map_err(|_| damaged)?),
        };
        let lmtp = reader.flag()?;
        let envelope = Envelope::decode(&mut reader)?;
        let content = Content {
            octets: reader.u64()?,
            unfinished_last_line: reader.flag()?,
            fingerprint: reader.octets()?.to_vec(),
        };
        let wanted = match reader.u8()? {
            0 => ContentCommand::Data,
            1 => ContentCommand::Bdat,
            2 => ContentCommand::Burl,
            _ => return Err(damaged),
        };
        let url = reader.octets()?.to_vec();
        if (wanted == ContentCommand::Burl) != is_url(&url) {
            return Err(damaged);
        }
        let used = match reader.u8()? {
            0 => None,
            bits => Some(Used::from_bits(bits).ok_or(damaged)?),
        };
        let sent = match reader.u8()? {
            0 => Sent::Nothing,
            1 => Sent::Data,
            2 => Sent::EndOfData,
            _ => return Err(damaged),
        };
        let (attempts, mails_accepted) = (reader.u32()?, reader.u32()?);
        let began = reader.u64()?;
        let scope = if reader.flag()? {
            let name = reader.octets()?.to_vec();
            let identity = if reader.flag()? {
                Some(reader.octets()?.to_vec())
            } else {
                None
            };
            Some(ClientScope {
                name,
                identity,
                tls: reader.flag()?,
                local_address: reader.octets()?.to_vec(),
            })
        } else {
            None
        };
        let last_server = if reader.flag()? {
            Some(Server {
                host: reader.octets()?.to_vec(),
                address: reader.octets()?.to_vec(),
            })
        } else {
            None
        };
        let doubling_allowed = reader.flag()?;
        reader.finish()?;
        if envelope.recipients().len() == 0 || (sent > Sent::Nothing && used.is_none()) {
            return Err(damaged);
        }
        Ok(Self {
            transid,
            lmtp,
            envelope,
            content,
            wanted,
            url,
            used,
            sent,
            attempts,
            mails_accepted,
            began,
            scope,
            last_server,
            doubling_allowed,
        })
    }
}

#[cfg(feature = "serde")]
crate::encoding::serde_as_octets!(UnfinishedTransaction);
