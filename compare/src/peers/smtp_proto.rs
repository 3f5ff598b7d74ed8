//! smtp-proto: parsers and receivers. A session is its caller's to glue.

use std::borrow::Cow;

use bytes::Bytes;
pub use smtp_proto::request::receiver::{DataReceiver, DummyDataReceiver, RequestReceiver};
pub use smtp_proto::response::parser::ResponseReceiver;
use smtp_proto::{EXT_8BIT_MIME, EXT_ENHANCED_STATUS_CODES, EXT_PIPELINING, EXT_SMTP_UTF8};
pub use smtp_proto::{EhloResponse, Error, Request, Response};

/// Decodes the chunks into `out`, a copy of the content.
pub fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut receiver = DataReceiver::new();
    for chunk in chunks {
        receiver.ingest(&mut chunk.iter(), out);
    }
}

/// Looks for the end only.
pub fn discard<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut receiver = DummyDataReceiver::new_data(&DataReceiver::new());
    (chunks.into_iter()).any(|chunk| receiver.ingest(&mut chunk.iter()))
}

/// Reads one command line, with its CRLF.
///
/// # Errors
///
/// As the crate has it.
pub fn command(line: &[u8]) -> Result<Request<Cow<'_, str>>, Error> {
    Request::parse(&mut line.iter())
}

/// Reads a reply.
///
/// # Errors
///
/// As the crate has it.
pub fn reply(wire: &[u8]) -> Result<Response<String>, Error> {
    ResponseReceiver::default().parse(&mut wire.iter())
}

/// Reads the reply to EHLO.
///
/// # Errors
///
/// As the crate has it.
pub fn ehlo(wire: &[u8]) -> Result<EhloResponse<String>, Error> {
    EhloResponse::parse(&mut wire.iter())
}

/// A server glued together from the parts, that says yes to everything and keeps no state but
/// whether it reads commands or content.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct Server {
    requests: RequestReceiver,
    data: Option<DataReceiver>,
    content: Vec<u8>,
}

impl super::Server for Server {
    fn connect(&mut self, replies: &mut Vec<u8>) {
        self.data = None;
        self.content.clear();
        replies.extend_from_slice(b"220 mx.example.net ESMTP\r\n");
    }

    fn read(&mut self, read: &Bytes, replies: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])) {
        let mut octets = read.iter();
        while !octets.as_slice().is_empty() {
            if let Some(receiver) = &mut self.data {
                if receiver.ingest(&mut octets, &mut self.content) {
                    sink(&self.content);
                    self.content.clear();
                    self.data = None;
                    replies.extend_from_slice(b"250 2.0.0 Message accepted\r\n");
                }
                continue;
            }
            let reply: &[u8] = match self.requests.ingest(&mut octets) {
                Ok(Request::Ehlo { .. }) => {
                    let mut reply = EhloResponse::new("mx.example.net");
                    reply.capabilities =
                        EXT_PIPELINING | EXT_8BIT_MIME | EXT_ENHANCED_STATUS_CODES | EXT_SMTP_UTF8;
                    reply.write(&mut *replies).unwrap();
                    continue;
                }
                Ok(Request::Mail { .. }) => b"250 2.1.0 Sender ok\r\n",
                Ok(Request::Rcpt { .. }) => b"250 2.1.5 Recipient ok\r\n",
                Ok(Request::Data) => {
                    self.data = Some(DataReceiver::new());
                    b"354 Start mail input\r\n"
                }
                Ok(Request::Quit) => b"221 2.0.0 Bye\r\n",
                Err(Error::NeedsMoreData { .. }) => break,
                Ok(_) | Err(_) => b"500 5.5.1 Command not recognised\r\n",
            };
            replies.extend_from_slice(reply);
        }
    }
}
