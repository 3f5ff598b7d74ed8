//! A failure notification as a whole message (RFC 3464): the frame around the part that the crate
//! writes.
//!
//! It is sent with `MAIL FROM:<>` to the address in `To` (RFC 3461 §6.1). What RET wants returned is
//! left out: of a message that was refused nothing is kept, and the third part of a report is
//! optional (RFC 6522 §3).

use std::time::{SystemTime, UNIX_EPOCH};

use smtp_checkpoint::dsn::{Owed, RecipientResult, Report, Reporting};
use smtp_checkpoint::envelope::Envelope;

/// The notification that is owed for these results, if any. `hostname` is the server that tells.
#[must_use]
pub fn notification(
    envelope: &Envelope,
    results: &[RecipientResult],
    hostname: &str,
) -> Option<Vec<u8>> {
    let Ok(Owed::Report(report)) = Owed::by(envelope, results) else {
        return None;
    };
    let reporting = Reporting::new(hostname).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let (date, id) = (date(now.as_secs()), now.as_nanos());
    let to = report.to();
    let mut message = Vec::new();
    message.extend_from_slice(
        format!(
            "From: Mail Delivery System <postmaster@{hostname}>\r\n\
             To: <{}@{}>\r\n\
             Subject: Undelivered mail\r\n\
             Date: {date}\r\n\
             Message-ID: <dsn.{id}@{hostname}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n \
             boundary=\"{id}/{hostname}\"\r\n\
             \r\n\
             --{id}/{hostname}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\
             \r\n\
             {}\r\n\
             --{id}/{hostname}\r\n\
             Content-Type: message/delivery-status\r\n\
             \r\n",
            String::from_utf8_lossy(to.local_part().as_bytes()),
            String::from_utf8_lossy(to.domain().as_bytes()),
            text(&report, hostname),
        )
        .as_bytes(),
    );
    message.extend_from_slice(&report.delivery_status(&reporting));
    message.extend_from_slice(format!("\r\n--{id}/{hostname}--\r\n").as_bytes());
    Some(message)
}

/// For people.
fn text(report: &Report<'_>, hostname: &str) -> String {
    let mut text = format!(
        "The message that you left with {hostname} could not be delivered to\r\n\
         everybody. Nobody will try again for these addresses:\r\n\r\n"
    );
    for failed in report.failed() {
        let path = failed.recipient().rcpt().forward_path;
        let address = path.mailbox().map_or_else(
            || "Postmaster".into(),
            |mailbox| {
                let local = String::from_utf8_lossy(mailbox.local_part().as_bytes());
                let domain = String::from_utf8_lossy(mailbox.domain().as_bytes());
                format!("{local}@{domain}")
            },
        );
        let reply = failed.failure().reply();
        let reason = String::from_utf8_lossy(reply.first_line());
        let reason = reason.replace(char::is_control, " ");
        text.push_str(&format!("  <{address}>: {} {reason}\r\n", reply.code()));
    }
    text
}

/// A `date-time` of RFC 5322 §3.3, in UTC.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = seconds / 86_400;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let day_of_week = DAYS[usize::try_from(days % 7).unwrap_or(0)];
    format!(
        "{day_of_week}, {} {} {year} {hour:02}:{minute:02}:{second:02} +0000",
        left + 1,
        MONTHS[month],
    )
}
