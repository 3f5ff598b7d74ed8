//! A few servers to choose from, with bounds so narrow that a short input reaches them.

use std::sync::Arc;
use std::time::Duration;

use smtp_checkpoint::dot::FaultPolicy;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::ServerSettings;
use smtp_checkpoint::server::{DataRate, Protocol, ServerConfig};

use super::driver::Mode;

pub fn is_lmtp(pick: u8) -> bool {
    pick & 1 != 0
}

/// The server of this choice: 0 is the default one, with narrow bounds.
pub fn config(pick: u8, mode: Mode) -> Arc<ServerConfig> {
    let on = |bit: u8| pick & bit != 0;
    let limits = Limits {
        command_line: 512,
        auth_line: 512,
        recipients: 8,
        message_size: on(4).then_some(300),
        open_questions: 4,
        output: 1024,
        content_batch: if on(8) { 7 } else { 1024 },
        ..Limits::default()
    };
    let mut builder = ServerConfig::builder("mx.fuzz.example")
        .smtputf8(true)
        .dsn(true)
        .limits(limits)
        .protocol(if on(1) {
            Protocol::Lmtp
        } else {
            Protocol::Smtp
        })
        .starttls(on(2))
        .auth_in_clear(!on(64))
        .ask_connection(on(16))
        .ask_hello(on(16))
        .ask_data(on(16))
        .ask_commands(on(32))
        .faults(if on(32) {
            FaultPolicy::KEEP_ALL
        } else {
            FaultPolicy::KEEP_NUL
        })
        .enhanced_status_codes(!on(64))
        .chunking(!on(128))
        .binary_mime(!on(128))
        .data_rate(on(64).then_some(DataRate {
            octets: 60,
            window: Duration::from_secs(60),
        }));
    if !on(128) {
        let rdlv = ServerSettings::new(1).expect("a mintimer").deta(true);
        builder = builder.rdlv(rdlv);
    }
    if on(2) {
        builder = builder.auth(["PLAIN", "LOGIN"]).burl("imap");
    }
    // Where a record is due depends on the batches that the content comes in.
    if mode == Mode::Free && on(8) {
        builder = builder.checkpoint_every(16);
    }
    Arc::new(builder.build().expect("settings that fit"))
}
