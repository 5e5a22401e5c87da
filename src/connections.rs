//! The next connection to a socket of ours: few at once, those that ask nothing make room for others, and a system without
//! room for one is waited for.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::descriptors;

/// Out of descriptors, most likely: the next connection waits until there are some.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_secs(1);

/// What is listened at.
pub trait Listen: Sync {
    /// A connection.
    type Stream: Send;
    /// Takes one.
    fn take(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn take(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn take(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// Places for connections. Where all are taken, the one that has been idle for longest makes room: nobody who only holds a
/// connection open keeps out an operator, or whoever asks whether the daemon lives.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    /// Those that have not asked anything yet, the oldest first.
    idle: Mutex<VecDeque<(u64, CancellationToken)>>,
    next: AtomicU64,
}

impl Places {
    /// For so many connections at once; for fewer where descriptors are few.
    pub fn new(usual: usize) -> Arc<Self> {
        let places = descriptors::connections(usual, descriptors::limit());
        let free = Arc::new(Semaphore::new(places));
        Arc::new(Self { free, idle: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// A place, as soon as there is one.
    async fn take(self: &Arc<Self>) -> Option<Place> {
        let permit = if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            permit
        } else {
            if let Some((_, oldest)) = self.idle().pop_front() {
                oldest.cancel();
            }
            // It is never closed.
            Arc::clone(&self.free).acquire_owned().await.ok()?
        };
        let (number, given_up) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.idle().push_back((number, given_up.clone()));
        Some(Place { number, given_up, places: Arc::clone(self), _permit: permit })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(u64, CancellationToken)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    given_up: CancellationToken,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Something was asked: from here on it is left to end.
    pub fn asked(&self) {
        self.places.idle().retain(|(number, _)| *number != self.number);
    }

    /// Ends once the connection has to make room for another one. Never after [`Self::asked`].
    pub async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.asked();
    }
}

/// The next connection, with one of the places, once there is one of each. `to`: to what, for the log. `None` at `stop`.
pub async fn next<L: Listen>(
    listener: &L,
    places: &Arc<Places>,
    to: &str,
    stop: &CancellationToken,
) -> Option<(Place, L::Stream)> {
    let next = async {
        let mut told = false;
        loop {
            match listener.take().await {
                Ok(stream) => {
                    if told {
                        info!("connections to {to} are taken again");
                    }
                    return Some((places.take().await?, stream));
                }
                Err(error) => {
                    if !told {
                        warn!(error = %error, "no connection to {to} can be taken: {error}; this is tried again");
                        told = true;
                    }
                    tokio::time::sleep(UNTIL_THERE_IS_ROOM).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await.flatten()
}
