//! What the client must not forget: a directory with one small file for each message.
//!
//! ```text
//! smtp-checkpoint journal 1
//! delivered 0 250 2.0.0 Message accepted
//! refused 1 550 5.1.1 No such mailbox here
//! transaction 0153...
//! ```
//!
//! The others are `detached` (left with the server by DETA) and `aborted` (given up), which are as
//! final as these; `unknown` stands for all recipients without a line.
//!
//! Recipients are counted from zero, in the order of the command line. Those without a line are
//! still to be served; `transaction` is the one under way for them. A file appears whole or not at
//! all (written aside, synced, renamed, its directory synced), and stays when everybody is served:
//! a program that died before it could tell is run again, and must not send again. Remove the file
//! to send the same message once more.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use smtp_checkpoint::checkpoint::UnfinishedTransaction;

use self::lock::Lock;

const FIRST_LINE: &str = "smtp-checkpoint journal 1";

/// What became of a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Still to be served.
    Pending,
    /// Has the message. With the reply that says so.
    Delivered(String),
    /// The message was left with the server (DETA), which reports a failure. It is never sent
    /// again. With the reply that says so.
    Detached(String),
    /// The message was given up while the server was deciding on it, and nothing was delivered. It
    /// is never sent again. With the reply that says so.
    Aborted(String),
    /// Will not get it. With the reply that says so.
    Refused(String),
}

/// One message for one set of recipients. Nobody else has it open.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
    pub fates: Vec<Fate>,
    /// Under way for all pending recipients.
    pub transaction: Option<UnfinishedTransaction>,
    /// Why nobody can tell any more whether the pending recipients have the message.
    pub unknown: Option<String>,
    _lock: Lock,
}

impl Entry {
    /// Opens an entry, or begins one. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where another process has it open: two sessions must never
    /// speak for one TRANSID at the same time. [`io::ErrorKind::InvalidData`] where it is damaged.
    pub fn open(folder: &Path, name: &str, recipients: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.canonicalize()?.join(name);
        // Before it is read: whoever had it may have been writing.
        let lock = Lock::take(&path)?;
        let mut entry = Self {
            path,
            fates: vec![Fate::Pending; recipients],
            transaction: None,
            unknown: None,
            _lock: lock,
        };
        match fs::read_to_string(&entry.path) {
            Ok(text) => entry.read(&text).ok_or(io::ErrorKind::InvalidData)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(entry)
    }

    /// Makes the entry durable.
    ///
    /// # Errors
    ///
    /// Then the entry is as it was before, or as it is now.
    pub fn store(&self) -> io::Result<()> {
        let aside = self.path.with_extension("tmp");
        let mut file = File::create(&aside)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        // The new name is durable only once its directory is.
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// Recipients that are still to be served, by their place on the command line.
    pub fn pending(&self) -> impl Iterator<Item = usize> {
        let fates = self.fates.iter().enumerate();
        fates.filter_map(|(index, fate)| (*fate == Fate::Pending).then_some(index))
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (index, fate) in self.fates.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = match fate {
                Fate::Pending => Ok(()),
                Fate::Delivered(reply) => writeln!(text, "delivered {index} {reply}"),
                Fate::Detached(reply) => writeln!(text, "detached {index} {reply}"),
                Fate::Aborted(reply) => writeln!(text, "aborted {index} {reply}"),
                Fate::Refused(reply) => writeln!(text, "refused {index} {reply}"),
            };
        }
        if let Some(cause) = &self.unknown {
            let _ = writeln!(text, "unknown {cause}");
        }
        if let Some(transaction) = &self.transaction {
            text.push_str("transaction ");
            for octet in transaction.encode() {
                let _ = write!(text, "{octet:02x}");
            }
            text.push('\n');
        }
        text
    }

    fn read(&mut self, text: &str) -> Option<()> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        for line in lines {
            let (verb, rest) = line.split_once(' ')?;
            match verb {
                "delivered" | "detached" | "aborted" | "refused" => {
                    let (index, reply) = rest.split_once(' ')?;
                    let fate = self.fates.get_mut(index.parse::<usize>().ok()?)?;
                    *fate = match verb {
                        "delivered" => Fate::Delivered(reply.into()),
                        "detached" => Fate::Detached(reply.into()),
                        "aborted" => Fate::Aborted(reply.into()),
                        _ => Fate::Refused(reply.into()),
                    };
                }
                "unknown" => self.unknown = Some(rest.into()),
                "transaction" => {
                    let octets = from_hex(rest)?;
                    self.transaction = Some(UnfinishedTransaction::decode(&octets).ok()?);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(octet).collect()
}

/// On Linux an abstract socket has the name: the kernel gives it to one process only, and takes it
/// back however that process ends, so that no crash leaves a lock behind. It does not reach another
/// host or container: a journal belongs to one of them.
/// From Rust 1.89 on, `File::try_lock` does the same everywhere.
#[cfg(target_os = "linux")]
mod lock {
    use std::io;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::path::Path;

    use sha2::{Digest, Sha256};

    #[derive(Debug)]
    pub(super) struct Lock(#[allow(dead_code)] UnixListener);

    impl Lock {
        pub(super) fn take(path: &Path) -> io::Result<Self> {
            let digest = Sha256::digest(path.as_os_str().as_bytes());
            let name = format!("smtp-checkpoint journal {digest:x}");
            let address = SocketAddr::from_abstract_name(name)?;
            match UnixListener::bind_addr(&address) {
                Ok(socket) => Ok(Self(socket)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// Elsewhere a file is the lock. One that a crash has left is for a person to remove: nothing here
/// can tell for certain that its owner is gone.
#[cfg(not(target_os = "linux"))]
mod lock {
    use std::fs::{self, File};
    use std::io;
    use std::path::{Path, PathBuf};

    #[derive(Debug)]
    pub(super) struct Lock(PathBuf);

    impl Lock {
        pub(super) fn take(path: &Path) -> io::Result<Self> {
            let lock = path.with_extension("lock");
            match File::create_new(&lock) {
                Ok(_) => Ok(Self(lock)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    eprintln!("if no other process is at work, remove {}", lock.display());
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            }
        }
    }

    impl Drop for Lock {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
