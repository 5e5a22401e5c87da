//! What the service manager is told (systemd, by `$NOTIFY_SOCKET`): ready, reloading, stopping, how it stands, and that
//! it is alive. Where there is no such socket, nobody is told.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Who is told.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// Where to tell it. Kept open: a process without a descriptor left must still show that it lives.
    socket: Option<UnixDatagram>,
    /// How long the service manager waits for a sign of life before it ends the process. `None`: for ever.
    patience: Option<Duration>,
    /// What was last told of how it stands.
    told: Mutex<String>,
}

impl Supervisor {
    /// Whoever the environment of the process names.
    pub fn of_the_process() -> Self {
        let path = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        let socket = path.and_then(|path| {
            connected(&path).inspect_err(|error| debug!(%error, "the service manager cannot be reached")).ok()
        });
        let patience = sd_notify::watchdog_enabled().filter(|_| socket.is_some());
        Self { socket, patience, told: Mutex::default() }
    }

    /// Nobody.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Whether anybody is told.
    pub fn listens(&self) -> bool {
        self.socket.is_some()
    }

    /// How long the service manager waits for a sign of life.
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// The journal is open and the configuration is in force: after a start, and after every reload, taken or refused.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A reload has begun; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        // With the time at which it began, without which newer service managers take no notice of it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                self.tell(&[NotifyState::Reloading, now]);
            }
            Err(error) => debug!(%error, "the monotonic clock cannot be read for the service manager"),
        }
    }

    /// No further PUT is sent, and the process ends once what is under way is over.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Everything that works has just shown that it does.
    pub fn alive(&self) {
        if self.patience.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// How the daemon stands, in one line.
    pub fn status(&self, line: &str) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *told != line && self.tell(&[NotifyState::Status(line)]) {
            line.clone_into(&mut told);
        }
    }

    /// Whether it was told.
    fn tell(&self, what: &[NotifyState<'_>]) -> bool {
        let Some(socket) = &self.socket else { return false };
        let message = what.iter().fold(String::new(), |mut message, state| {
            let _ = writeln!(message, "{state}");
            message
        });
        // A service manager that does not hear must not hold the daemon back.
        let sent = socket.send(message.as_bytes());
        sent.inspect_err(|error| debug!(%error, "the service manager could not be notified")).is_ok()
    }
}

/// A socket that leads there, and on which nobody waits. A name that begins with `@` is no path.
fn connected(to: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match to.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(to)?,
    }
    Ok(socket)
}
