//! The journal of the system, in its native protocol: one datagram for each line, with its fields.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::{Queue, Sink};

const SOCKET: &str = "/run/systemd/journal/socket";
/// By which the journal of the system knows our lines, however the binary was called.
const IDENTIFIER: &str = "upgrade-remediator";
/// No value of a line is longer, in bytes: so that a line, with all its fields, is one datagram.
const LONGEST: usize = 16 << 10;

/// Where the journal of the system listens.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Socket {
    /// The one that there is on a machine with systemd.
    ///
    /// # Errors
    /// Where nobody listens.
    pub(super) fn of_the_system() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // An empty line, which is not kept. A queue that is full shows that there is somebody.
        socket.set_nonblocking(true)?;
        match socket.send_to(&[], path) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        socket.set_nonblocking(false)?;
        Ok(Self { socket, path: path.to_owned() })
    }
}

impl Sink for Socket {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.socket.send_to(line, &self.path).map(drop)
    }
}

/// Makes a line with its fields of each event.
pub(super) struct Journald {
    queue: Arc<Queue>,
}

impl Journald {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }
}

impl<S: Subscriber> Layer<S> for Journald {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::about(event.metadata());
        event.record(&mut line);
        self.queue.push(line.bytes);
    }
}

/// The levels as syslog's priorities: an error is what an operator must see, trace is no less than debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A line in the form in which it is sent.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
}

impl Line {
    fn about(metadata: &Metadata<'_>) -> Self {
        let mut line = Self::default();
        line.put("PRIORITY", priority(*metadata.level()));
        line.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        line.put("TARGET", metadata.target());
        if let Some(file) = metadata.file() {
            line.put("CODE_FILE", file);
        }
        if let Some(number) = metadata.line() {
            line.put("CODE_LINE", &number.to_string());
        }
        line
    }

    /// A field: its name, and its value with its length before it, so that it may hold any line break.
    fn put(&mut self, name: &str, value: &str) {
        let value = value.get(..value.floor_char_boundary(LONGEST)).unwrap_or_default();
        let before = self.bytes.len();
        // Upper case, digits and '_', which must not stand first: those are the journal's own.
        let letters = name.bytes().map(|letter| if letter == b'.' { b'_' } else { letter });
        let letters = letters.filter(|letter| letter.is_ascii_alphanumeric() || *letter == b'_');
        self.bytes
            .extend(letters.skip_while(|letter| *letter == b'_').map(|letter| letter.to_ascii_uppercase()));
        if self.bytes.len() == before {
            return;
        }
        self.bytes.push(b'\n');
        self.bytes.extend((value.len() as u64).to_le_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tracing::{debug, error, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The fields of a line, as the journal of the system reads them.
    fn fields(mut line: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !line.is_empty() {
            let end = line.iter().position(|byte| *byte == b'\n').unwrap();
            let name = std::str::from_utf8(&line[..end]).unwrap().to_owned();
            let (length, rest) = line[end + 1..].split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            fields.insert(name, std::str::from_utf8(&rest[..length]).unwrap().to_owned());
            assert_eq!(rest[length], b'\n');
            line = &rest[length + 1..];
        }
        fields
    }

    #[test]
    fn a_line_has_its_fields_its_priority_and_its_message_whatever_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let queue = Arc::new(Queue::default());
        let socket = Socket::at(&path).unwrap();
        let mut buffer = vec![0; 1 << 20];
        assert_eq!(journal.recv(&mut buffer).unwrap(), 0, "asks whether somebody listens");
        let writing = Arc::clone(&queue);
        let writer = std::thread::spawn(move || writing.write_to(socket, |_| {}));
        let subscriber = tracing_subscriber::registry().with(Journald::new(Arc::clone(&queue)));
        tracing::subscriber::with_default(subscriber, || {
            error!(cluster = "ea24", n = 3, "two\nlines");
            warn!(error = %"why", "b");
            info!(_private.name = ?Some(1), "c");
            debug!(long = "ü".repeat(LONGEST), "d");
        });
        queue.close(Duration::from_mins(1));
        writer.join().unwrap();
        let mut next = || {
            let length = journal.recv(&mut buffer).unwrap();
            fields(&buffer[..length])
        };
        let (a, b, c, d) = (next(), next(), next(), next());
        assert_eq!(
            (&*a["PRIORITY"], &*a["CLUSTER"], &*a["N"], &*a["MESSAGE"]),
            ("3", "ea24", "3", "two\nlines")
        );
        assert_eq!((&*a["SYSLOG_IDENTIFIER"], &*a["TARGET"]), (IDENTIFIER, module_path!()));
        assert!(a["CODE_FILE"].ends_with("journald.rs") && a["CODE_LINE"].parse::<u32>().is_ok());
        assert_eq!((&*b["PRIORITY"], &*b["ERROR"]), ("4", "why"));
        assert_eq!((&*c["PRIORITY"], &*c["PRIVATE_NAME"]), ("6", "Some(1)"));
        assert_eq!((&*d["PRIORITY"], d["LONG"].len()), ("7", LONGEST));
    }

    #[test]
    fn a_journal_that_reads_nothing_is_there_and_one_that_is_not_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert_eq!(Socket::at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let journal = UnixDatagram::bind(&path).unwrap();
        let full = UnixDatagram::unbound().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.send_to(&[0; 10], &path).is_ok() {}
        assert!(Socket::at(&path).is_ok(), "it does not wait, and somebody listens");
        drop(journal);
        assert_eq!(Socket::at(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
