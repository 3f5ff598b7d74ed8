//! How a server offers RDLV and DETA.

use core::time::Duration;

use thiserror::Error;

use super::DEFAULT_MARGIN;
use super::outcome::Submission;
use crate::command::MAX_TIMER;
use crate::reply::{ReplyCode, StaticReply, standard};

/// 200 2.0.0, as all examples of both drafts have it, in place of the 250 of the normative text.
const ACCEPTED_AS_200: StaticReply = match ReplyCode::new(200) {
    Some(code) => match StaticReply::new(code, standard::OK.enhanced_code(), "OK") {
        Ok(reply) => reply,
        Err(_) => standard::OK,
    },
    None => standard::OK,
};

/// How a server offers RDLV and DETA.
///
/// ```
/// use smtp_checkpoint::rdlv::ServerSettings;
///
/// let settings = ServerSettings::new(30)?.deta(true);
/// assert_eq!(settings.mintimer(), 30);
/// assert!(ServerSettings::new(0).is_err());
/// # Ok::<(), smtp_checkpoint::rdlv::SettingsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    pub(super) mintimer: u32,
    pub(super) margin: Duration,
    pub(super) honour_shorter: bool,
    accept_with_200: bool,
    pub(super) late_reset_with_250: bool,
    deta: bool,
    data: bool,
    bdat: bool,
    burl: bool,
}

/// Why the settings of a server cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// `mintimer` is not in 1 to 2^31 - 1 (draft-burger-smtp-rdlv-01 §4).
    #[error("mintimer is not in 1 to 2147483647 seconds")]
    MinTimer,
}

impl ServerSettings {
    /// For sessions that do not offer RDLV.
    #[cfg(feature = "session")]
    pub(crate) const LEAST: Self = Self::with_mintimer(1);

    /// RDLV with this `mintimer` in seconds, for all verbs, without DETA.
    ///
    /// # Errors
    ///
    /// [`SettingsError::MinTimer`] outside of 1 to 2^31 - 1.
    pub const fn new(mintimer: u32) -> Result<Self, SettingsError> {
        if mintimer == 0 || mintimer > MAX_TIMER {
            return Err(SettingsError::MinTimer);
        }
        Ok(Self::with_mintimer(mintimer))
    }

    const fn with_mintimer(mintimer: u32) -> Self {
        Self {
            mintimer,
            margin: DEFAULT_MARGIN,
            honour_shorter: false,
            accept_with_200: false,
            late_reset_with_250: false,
            deta: false,
            data: true,
            bdat: true,
            burl: true,
        }
    }

    /// How long before `maxtimer` has run out a 120 is sent, and how long after it CONT is still
    /// waited for. 7 seconds by default; never more than half of `maxtimer`.
    #[must_use]
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Honours a `maxtimer` below `mintimer` instead of refusing it (draft-burger-smtp-rdlv-01
    /// §3.2.1). Off by default: §7 warns of unduly short times.
    #[must_use]
    pub const fn honour_shorter(mut self, on: bool) -> Self {
        self.honour_shorter = on;
        self
    }

    /// Answers RDLV with 200, as the examples of the drafts have it, instead of 250, as their
    /// normative text has it.
    #[must_use]
    pub const fn accept_with_200(mut self, on: bool) -> Self {
        self.accept_with_200 = on;
        self
    }

    /// Answers a RSET that came too late with 250 (RFC 5321 §4.1.1.5) instead of 554. The client
    /// then cannot tell an aborted message from one that stands.
    #[must_use]
    pub const fn late_reset_with_250(mut self, on: bool) -> Self {
        self.late_reset_with_250 = on;
        self
    }

    /// Offers DETA. Whoever does offers DSN too (draft-burger-smtp-deta-00 §2.2.1), which
    /// [`EhloBuilder`](crate::ehlo::EhloBuilder) checks.
    #[must_use]
    pub const fn deta(mut self, on: bool) -> Self {
        self.deta = on;
        self
    }

    /// The verbs for which a 120 can be sent; the others are answered 520 under RDLV. All by
    /// default.
    #[must_use]
    pub fn verbs(mut self, verbs: &[Submission]) -> Self {
        self.data = verbs.contains(&Submission::Data);
        self.bdat = verbs.contains(&Submission::BdatLast);
        self.burl = verbs.contains(&Submission::BurlLast);
        self
    }

    /// The least `maxtimer` that is accepted, in seconds: what `RDLV mintimer=` advertises.
    #[must_use]
    pub const fn mintimer(&self) -> u32 {
        self.mintimer
    }

    /// Whether DETA is offered.
    #[must_use]
    pub const fn offers_deta(&self) -> bool {
        self.deta
    }

    /// The reply to an RDLV that is accepted: 250, or 200.
    #[must_use]
    pub const fn accepted(&self) -> StaticReply {
        if self.accept_with_200 {
            ACCEPTED_AS_200
        } else {
            standard::OK
        }
    }

    pub(super) const fn can(&self, submission: Submission) -> bool {
        match submission {
            Submission::Data => self.data,
            Submission::BdatLast => self.bdat,
            Submission::BurlLast => self.burl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mintimer_is_1_to_2_31_less_1() {
        for (mintimer, known) in [
            (0, false),
            (1, true),
            (2, true),
            (2_147_483_647, true),
            (2_147_483_648, false),
            (u32::MAX, false),
        ] {
            let settings = ServerSettings::new(mintimer);
            let expected = known.then_some(mintimer).ok_or(SettingsError::MinTimer);
            assert_eq!(settings.map(|settings| settings.mintimer()), expected);
        }
    }

    #[test]
    fn each_verb_is_chosen_for_itself() {
        use Submission::{BdatLast, BurlLast, Data};
        let settings = ServerSettings::new(1).unwrap();
        for (verbs, data, bdat, burl) in [
            (&[][..], false, false, false),
            (&[Data], true, false, false),
            (&[BdatLast], false, true, false),
            (&[BurlLast, Data], true, false, true),
        ] {
            let settings = settings.verbs(verbs);
            let can = [Data, BdatLast, BurlLast].map(|verb| settings.can(verb));
            assert_eq!(can, [data, bdat, burl], "{verbs:?}");
        }
        assert!(
            [Data, BdatLast, BurlLast]
                .iter()
                .all(|verb| settings.can(*verb))
        );
    }

    #[test]
    fn rdlv_is_accepted_with_250_or_as_the_examples_have_it() {
        let settings = ServerSettings::new(1).unwrap();
        assert_eq!(settings.accepted().code().get(), 250);
        let settings = settings.accept_with_200(true);
        assert_eq!(settings.accepted().code().get(), 200);
        assert!(!settings.offers_deta() && settings.deta(true).offers_deta());
    }
}
