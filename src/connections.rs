//! The next connection to a socket of ours: few at once, and a system without room for one is waited for.

use std::io;
use std::sync::Arc;
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

/// Places for so many connections at once; for fewer where descriptors are few.
pub fn places(usual: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(descriptors::connections(usual, descriptors::limit())))
}

/// The next connection, with one of the places, once there is one of each. `to`: to what, for the log. `None` at `stop`.
pub async fn next<L: Listen>(
    listener: &L,
    places: &Arc<Semaphore>,
    to: &str,
    stop: &CancellationToken,
) -> Option<(OwnedSemaphorePermit, L::Stream)> {
    let next = async {
        // It is never closed.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        let mut told = false;
        loop {
            match listener.take().await {
                Ok(stream) => {
                    if told {
                        info!("connections to {to} are taken again");
                    }
                    return Some((place, stream));
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
