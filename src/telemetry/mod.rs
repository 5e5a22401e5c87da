//! The log: to the journal of the system with its fields, as JSON for machines, or as text for people. Text and JSON go
//! to stderr.
//!
//! Nobody who logs ever waits for whoever reads: lines go through a bounded [`queue`] to a thread of its own. What finds
//! it full is lost, counted, and told of once there is room again.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use indicatif::MultiProgress;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::configuration::{Environment, LogFormat};

mod journald;
pub mod queue;

use journald::{Journald, Socket};
use queue::{Queue, Sink};

/// What is still to be written when the process ends is waited for no longer than this.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log, while it is kept. Dropped, it lets what is still in the queue be written, for a second at most.
#[must_use = "the last lines are written when this is dropped"]
#[derive(Debug)]
pub struct Log(Arc<Queue>);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.close(LAST_LINES);
    }
}

/// Sends what is logged from now on where the format says, once for the process.
///
/// # Errors
/// Where the filter is not one, or the system gives no thread. (A second call changes nothing.)
pub fn start(filter: &str, format: LogFormat, environment: &Environment) -> Result<Log, StartError> {
    let filter = EnvFilter::try_new(filter)?;
    let asked = match format {
        LogFormat::Auto => is_to_the_journal(environment),
        LogFormat::Journald => true,
        LogFormat::Json | LogFormat::Text => false,
    };
    let queue = Arc::new(Queue::default());
    let lost = match asked.then(Socket::of_the_system) {
        Some(Ok(socket)) => {
            write_by(&queue, socket)?;
            // Whoever set a subscriber before (a test, a second command) keeps it.
            let layer = Journald::new(Arc::clone(&queue));
            let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
            None
        }
        // No journal of the system in this container: its lines are better read than lost.
        Some(Err(error)) => {
            lines(filter, LogFormat::Text, &queue)?;
            Some(error)
        }
        None => {
            lines(filter, format, &queue)?;
            None
        }
    };
    if let Some(error) = lost {
        warn!(%error, "systemd's journal cannot be reached: the log is written to stderr as text");
    }
    tell_panics();
    Ok(Log(queue))
}

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages tell the fields")]
pub enum StartError {
    #[error("log.filter is not a valid filter")]
    Filter(#[from] ParseError),
    #[error("the system gives no thread to write the log")]
    Thread(#[source] io::Error),
}

/// To stderr.
fn lines(filter: EnvFilter, format: LogFormat, queue: &Arc<Queue>) -> Result<(), StartError> {
    // Not by the handle of this process: while a line waits there, whoever has a last word to say would wait too.
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => {
            let file = File::from(stderr);
            write_by(queue, Stderr { is_terminal: file.is_terminal(), file })?;
        }
        // It is closed. Whoever starts a daemon so wants no log.
        Err(_) => write_by(queue, io::sink())?,
    }
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(Arc::clone(queue)))
        .log_internal_errors(false);
    let _ = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journald => {
            subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
    Ok(())
}

/// Begins to write what comes into the queue, on a thread of its own.
fn write_by(queue: &Arc<Queue>, sink: impl Sink) -> Result<(), StartError> {
    let queue = Arc::clone(queue);
    let tell = |lost| {
        warn!(
            lost,
            "{lost} lines of the log were lost: the log could not be written, or its reader was too slow"
        );
    };
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || queue.write_to(sink, tell)).map_err(StartError::Thread)?;
    Ok(())
}

/// What shows progress on a terminal's stderr, so that the lines of the log stand above it.
pub fn bars() -> &'static MultiProgress {
    static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
    &BARS
}

/// Standard error, written line by line.
struct Stderr {
    file: File,
    is_terminal: bool,
}

impl Sink for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_terminal {
            return bars().suspend(|| queue::write_all(&mut self.file, line));
        }
        queue::write_all(&mut self.file, line)
    }
}

impl Sink for io::Sink {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Hands each line that is formatted to the queue.
#[derive(Clone)]
struct Lines(Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    /// A formatted line comes whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a last word to stderr. Where nobody reads it, the word is lost after a second, and the process ends all the
/// same.
pub fn last_word(text: String) {
    let queue = Arc::new(Queue::default());
    queue.push(text.into_bytes());
    let writing = Arc::clone(&queue);
    let write = move || writing.write_to(AtTheTerminal, |_| {});
    if std::thread::Builder::new().spawn(write).is_ok() {
        queue.close(LAST_LINES);
    }
}

/// Standard error, with its colours taken out where it is no terminal.
struct AtTheTerminal;

impl Sink for AtTheTerminal {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        anstream::stderr().write_all(text)
    }
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

/// A panic is a line of the log too, with the priority of one that an operator must see.
fn tell_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("of unknown kind");
        error!(place, "a part of the program panicked: {what}");
    }));
}
