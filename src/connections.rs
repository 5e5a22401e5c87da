//! The next connection to a socket of ours: few at once, those that ask nothing or do not read make room for others, and a
//! system without room for one is waited for.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::descriptors;

/// Out of descriptors, most likely: the next connection waits until there are some.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_secs(1);
/// What has arrived is known by then. Also bounds how fast connections take each other's places.
const ON_ITS_WAY: Duration = Duration::from_millis(2);
/// Who has not read an answer this long after it no longer fits into the system's buffers makes room for others.
const UNREAD: Duration = Duration::from_millis(500);
/// And is ended by then, whether places are wanted or not.
const READING: Duration = Duration::from_secs(30);

/// What is listened at.
pub trait Listen: Sync {
    /// A connection.
    type Stream: Send;
    /// Takes one.
    fn take(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Who connects.
    fn peer(stream: &Self::Stream) -> Peer;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    fn peer(stream: &TcpStream) -> Peer {
        // One that is gone already has none, and ends by itself.
        stream.peer_addr().map_or(Peer(0), |address| Peer::at(address.ip()))
    }

    async fn take(&self) -> io::Result<TcpStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    fn peer(stream: &UnixStream) -> Peer {
        stream.peer_cred().map_or(Peer(0), |peer| Peer(peer.uid().into()))
    }

    async fn take(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

/// Who connects, as far as one peer is told from another: a user, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(u128);

impl Peer {
    fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into()),
            // One host has as many addresses of its network as it likes.
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64 | 1),
        }
    }
}

/// What keeps a connection in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was asked yet.
    Idle,
    /// The answer is being made, or read.
    Asked,
    /// The answer is there, and is not read.
    Unread,
    /// It is to make room for another one, unless what it asks is on its way already.
    GivenUp,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    peer: Peer,
    state: State,
    given_up: Arc<Notify>,
}

/// Places for connections. Where all are taken, one that asks nothing makes room, or else one that does not read its
/// answer: nobody who only holds a connection open keeps out an operator, or whoever asks whether the daemon lives. Of
/// several it is one of the peer that has most of them, and its oldest.
#[derive(Debug)]
pub struct Places {
    most: usize,
    /// The oldest first.
    taken: Mutex<Vec<Taken>>,
    next: AtomicU64,
    /// A place is free, or one may be had.
    changed: Notify,
}

/// How many connections there may be where usually so many may be: fewer where descriptors are few.
pub fn most(usual: usize) -> usize {
    descriptors::connections(usual, descriptors::limit())
}

impl Places {
    /// For so many connections at once; for fewer where descriptors are few.
    pub fn new(usual: usize) -> Arc<Self> {
        let (taken, next, changed) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        Arc::new(Self { most: most(usual), taken, next, changed })
    }

    /// A place, as soon as there is one.
    async fn take(self: &Arc<Self>, peer: Peer) -> Place {
        loop {
            if let Some(place) = self.try_take(peer) {
                return place;
            }
            self.changed.notified().await;
        }
    }

    /// A place, where there is one. Where there is none, and one may be had, it will be free soon.
    fn try_take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut taken = self.taken();
        if taken.len() < self.most {
            let (number, given_up) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::new(Notify::new()));
            taken.push(Taken { number, peer, state: State::Idle, given_up: Arc::clone(&given_up) });
            return Some(Place { number, given_up, places: Arc::clone(self) });
        }
        if taken.iter().all(|one| one.state != State::GivenUp) {
            let has = |peer| taken.iter().filter(|one| one.peer == peer).count();
            let of_state = |state| {
                let those = taken.iter().enumerate().filter(|(_, one)| one.state == state);
                those
                    .rev()
                    .max_by_key(|(_, one)| has(one.peer) + usize::from(one.peer == peer))
                    .map(|(at, _)| at)
            };
            let victim = of_state(State::Idle).or_else(|| of_state(State::Unread));
            if let Some(victim) = victim.and_then(|at| taken.get_mut(at)) {
                victim.state = State::GivenUp;
                victim.given_up.notify_one();
            }
        }
        None
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    given_up: Arc<Notify>,
    places: Arc<Places>,
}

impl Place {
    /// Something was asked: from here on it is left to end, for as long as its answer is read.
    pub fn asked(&self) {
        self.turn(State::Asked);
    }

    /// Ends once the connection has to make room for another one. Never while an answer is being made. To be polled after
    /// whatever reads: what has arrived was asked.
    pub async fn given_up(&self) {
        loop {
            self.given_up.notified().await;
            tokio::time::sleep(ON_ITS_WAY).await;
            if self.places.taken().iter().any(|one| one.number == self.number && one.state == State::GivenUp)
            {
                return;
            }
        }
    }

    fn turn(&self, state: State) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.iter_mut().find(|one| one.number == self.number) {
            own.state = state;
        }
        // Another one may have to make room in its stead.
        self.places.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().retain(|one| one.number != self.number);
        self.places.changed.notify_one();
    }
}

/// A connection whose answers have to be read: one that is not, within `UNREAD`, makes room for another one where places
/// are wanted, and is ended after `READING`.
#[derive(Debug)]
pub struct Read<S> {
    stream: S,
    place: Arc<Place>,
    /// What was written does not fit, and that for so long.
    waiting: Option<(Pin<Box<Sleep>>, bool)>,
}

impl<S> Read<S> {
    /// This connection, in this place.
    pub fn new(stream: S, place: Arc<Place>) -> Self {
        Self { stream, place, waiting: None }
    }

    /// Something could not be written yet.
    fn waits(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (sleep, told) = self.waiting.get_or_insert_with(|| (Box::pin(tokio::time::sleep(UNREAD)), false));
        while sleep.as_mut().poll(cx).is_ready() {
            if *told {
                return Poll::Ready(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer did not read the response",
                ));
            }
            *told = true;
            let end = sleep.deadline() + READING.saturating_sub(UNREAD);
            sleep.as_mut().reset(end);
            self.place.turn(State::Unread);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Read<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Read<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        // Also where a little is read now and then.
        if (written.is_pending() || self.waiting.is_some())
            && let Poll::Ready(error) = self.waits(cx)
        {
            return Poll::Ready(Err(error));
        }
        written
    }

    /// Whoever writes does this once all was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.take().is_some() {
            self.place.turn(State::Asked);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
                        info!("connections to {to} are accepted again");
                    }
                    return Some((places.take(L::peer(&stream)).await, stream));
                }
                Err(error) => {
                    if !told {
                        warn!(error = %error, "no connection to {to} can be accepted: {error}; the daemon tries again");
                        told = true;
                    }
                    tokio::time::sleep(UNTIL_THERE_IS_ROOM).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await.flatten()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn places(most: usize) -> Arc<Places> {
        let (taken, next, changed) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        Arc::new(Places { most, taken, next, changed })
    }

    const ONE: Peer = Peer(1);
    const OTHER: Peer = Peer(2);

    /// Those of them that are to make room.
    fn given_up(all: &[Place]) -> Vec<usize> {
        (0..all.len()).filter(|at| is_given_up(&all[*at])).collect()
    }

    fn is_given_up(place: &Place) -> bool {
        place.places.taken().iter().any(|one| one.number == place.number && one.state == State::GivenUp)
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_that_asked_nothing_makes_room_and_none_that_asked_something() {
        let places = places(3);
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(places.take(ONE).await);
        }
        all[0].asked();
        assert!(places.try_take(ONE).is_none(), "the place is free once the connection has ended");
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [1], "one for one");
        all[1].given_up().await;
        all.remove(1);
        all.push(places.take(ONE).await);
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [1]);
        // What it asks arrives just then: it is not cut off, and the next one makes room.
        all[1].asked();
        assert!(tokio::time::timeout(READING, all[1].given_up()).await.is_err());
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [2]);
        all[2].asked();
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [0; 0]);
        let (waits, ()) = tokio::join!(tokio::time::timeout(READING, places.take(ONE)), async {
            tokio::time::sleep(UNREAD).await;
            drop(all.pop());
        });
        assert!(waits.is_ok());
    }

    #[tokio::test]
    async fn a_peer_with_many_connections_takes_no_place_from_another_one() {
        let places = places(4);
        let mut all = vec![places.take(OTHER).await];
        for _ in 0..3 {
            all.push(places.take(ONE).await);
        }
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [1]);
        all.remove(1);
        all.push(places.take(OTHER).await);
        // Two of each: whoever comes is of those who have more then.
        assert!(places.try_take(ONE).is_none());
        assert_eq!(given_up(&all), [1]);
    }

    #[test]
    fn a_network_of_one_host_is_one_peer() {
        let at = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_makes_room_where_it_is_wanted_and_is_ended_later() {
        let places = places(1);
        let place = Arc::new(places.take(ONE).await);
        place.asked();
        let (near, mut far) = tokio::io::duplex(8);
        let mut read = Read::new(near, Arc::clone(&place));
        assert!(tokio::time::timeout(UNREAD / 2, read.write_all(&[0; 9])).await.is_err());
        assert!(places.try_take(ONE).is_none());
        assert!(!is_given_up(&place), "it may still be read");
        // Read after all, and flushed: as if nothing had been.
        far.read_exact(&mut [0; 8]).await.unwrap();
        read.write_all(&[0; 1]).await.unwrap();
        read.flush().await.unwrap();
        far.read_exact(&mut [0; 1]).await.unwrap();
        assert!(tokio::time::timeout(UNREAD * 2, read.write_all(&[0; 9])).await.is_err());
        assert!(places.try_take(ONE).is_none());
        assert!(is_given_up(&place));
        assert_eq!(read.write_all(&[0; 9]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A little of it now and then is not reading it.
        far.read_exact(&mut [0; 4]).await.unwrap();
        assert!(read.write_all(&[0; 9]).await.is_err());
    }
}
