//! The log: to the journal of the system with its fields, as JSON for machines, or as text for people. Text and JSON go
//! to stderr.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic;

use tracing::{error, warn};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Environment, LogFormat};

/// By which the journal of the system knows our lines, however the binary was called.
const IDENTIFIER: &str = "upgrade-remediator";

/// The levels as syslog's priorities: an error is what a human must see, trace is no less than debug.
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// Sends what is logged from now on where the format says, once for the process.
///
/// # Errors
/// Where the filter is not one. (A second call changes nothing.)
pub fn start(filter: &str, format: LogFormat, environment: &Environment) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter)?;
    let asked = match format {
        LogFormat::Auto => is_to_the_journal(environment),
        LogFormat::Journald => true,
        LogFormat::Json | LogFormat::Text => false,
    };
    let journald = if asked { Some(tracing_journald::layer()) } else { None };
    // Whoever set a subscriber before (a test, a second command) keeps it.
    let lost = match journald {
        Some(Ok(layer)) => {
            let layer = layer
                // CLUSTER=…, and not F_CLUSTER=….
                .with_field_prefix(None)
                .with_priority_mappings(PRIORITIES)
                .with_syslog_identifier(IDENTIFIER.to_owned());
            let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
            None
        }
        // No journal of the system in this container: its lines are better read than lost.
        Some(Err(error)) => {
            lines(filter, LogFormat::Text);
            Some(error)
        }
        None => {
            lines(filter, format);
            None
        }
    };
    if let Some(error) = lost {
        warn!(%error, "the journal of the system cannot be reached: the log is written to stderr as text");
    }
    tell_panics();
    Ok(())
}

/// To stderr. A line that cannot be written is lost: complaining about it to the same stderr would panic.
fn lines(filter: EnvFilter, format: LogFormat) {
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let _ = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journald => {
            subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
}

/// Whether stderr is the stream to the journal of the system that systemd has named (`DEVICE:INODE`), and nobody has sent
/// it elsewhere.
pub fn is_to_the_journal(environment: &Environment) -> bool {
    let Some(stream) = environment.get("JOURNAL_STREAM") else { return false };
    let Ok(stderr) =
        io::stderr().as_fd().try_clone_to_owned().and_then(|stderr| File::from(stderr).metadata())
    else {
        return false;
    };
    *stream == *format!("{}:{}", stderr.dev(), stderr.ino())
}

/// A panic is a line of the log too, with the priority of one that a human must see.
fn tell_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("of unknown kind");
        error!(place, "a part of the program panicked: {what}");
    }));
}
