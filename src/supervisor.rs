//! What the service manager is told (systemd, by `$NOTIFY_SOCKET`): ready, reloading, stopping, how it stands, and that
//! it is alive. Where there is no such socket, nobody is told.

use std::sync::Mutex;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Who is told.
#[derive(Debug, Default)]
pub struct Supervisor {
    /// There is a socket to tell it to.
    listens: bool,
    /// How long the service manager waits for a sign of life before it ends the process. `None`: for ever.
    patience: Option<Duration>,
    /// What was last told of how it stands.
    told: Mutex<String>,
}

impl Supervisor {
    /// Whoever the environment of the process names.
    pub fn of_the_process() -> Self {
        let listens = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
        Self { listens, patience: sd_notify::watchdog_enabled().filter(|_| listens), told: Mutex::default() }
    }

    /// Nobody.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Whether anybody is told.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// How long the service manager waits for a sign of life.
    pub fn patience(&self) -> Option<Duration> {
        self.patience
    }

    /// The journal is open and the settings are in force: after a start, and after every reload, taken or refused.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// A reload has begun; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        // With the time at which it began, without which newer service managers take no notice of it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
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
        if *told != line {
            self.tell(&[NotifyState::Status(line)]);
            line.clone_into(&mut told);
        }
    }

    fn tell(&self, what: &[NotifyState<'_>]) {
        if !self.listens {
            return;
        }
        // A service manager that does not hear must not hold the daemon back.
        if let Err(error) = sd_notify::notify(what) {
            debug!(%error, "the service manager could not be told");
        }
    }
}
