//! The connections of one journal: few, never lent, opened when they are needed.

use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::error::PostgresError;
use crate::journal::postgres::link::Link;

/// A connection, as long as nobody else may use it.
pub(super) type Lane<'a> = MappedMutexGuard<'a, Link>;

/// Connections, each for one statement at a time.
pub(super) struct Lanes {
    connector: Connector,
    /// For what is written of projects: all that is of a project goes over the same one.
    writers: Vec<Mutex<Option<Link>>>,
    /// For everything else.
    reader: Mutex<Option<Link>>,
}

impl Lanes {
    pub(super) fn new(connector: Connector) -> Self {
        let count = connector.options().connections.get();
        let writers = (0..count).map(|_| Mutex::default()).collect();
        Self { connector, writers, reader: Mutex::default() }
    }

    /// That of the project with this key.
    pub(super) async fn writer(&self, key: i32) -> Result<Lane<'_>, PostgresError> {
        let place = usize::try_from(key).unwrap_or_default() % self.writers.len().max(1);
        self.connected(self.writers.get(place).unwrap_or(&self.reader)).await
    }

    /// That for what is of no project, and for reading.
    pub(super) async fn reader(&self) -> Result<Lane<'_>, PostgresError> {
        self.connected(&self.reader).await
    }

    /// Closes all of them.
    pub(super) async fn close(&self) {
        for lane in self.writers.iter().chain([&self.reader]) {
            drop(lane.lock().await.take());
        }
    }

    async fn connected<'a>(&self, lane: &'a Mutex<Option<Link>>) -> Result<Lane<'a>, PostgresError> {
        let mut lane = lane.lock().await;
        let link = match lane.take().filter(Link::is_usable) {
            Some(link) => link,
            None => self.connector.connect().await?,
        };
        Ok(MutexGuard::map(lane, |place| place.insert(link)))
    }
}
