//! Lines between those who log, who never wait, and whoever writes, who may wait for as long as the reader likes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So much waits to be written, in bytes; what comes on top of it is lost.
const MOST: usize = 1 << 20;
/// What a waiting line takes beside its text.
const EACH: usize = 64;
/// A reader that lets nobody wait at the other end of its pipe is asked this often whether there is room again.
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_millis(100);

/// Where lines go.
pub trait Sink: Send + 'static {
    /// Writes a line, however long that takes.
    ///
    /// # Errors
    /// Where it cannot be written: it is lost then.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;
}

/// The lines that wait.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    /// A line came, was written, or the end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that were lost and not told of yet.
    lost: u64,
    /// A line, or what is to be told of lost ones, is on its way.
    writing: bool,
    closed: bool,
}

impl Queue {
    /// Takes a line, or counts it as lost. Never waits for whoever writes.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.state();
        let size = line.len().saturating_add(EACH);
        if state.bytes.saturating_add(size) > MOST {
            state.lost = state.lost.saturating_add(1);
            return;
        }
        state.bytes += size;
        state.lines.push_back(line);
        self.changed.notify_all();
    }

    /// Writes what comes, until the queue is closed and empty. `tell` is called with the number of lines that were lost,
    /// once there is room again; what it logs comes here.
    pub fn write_to(&self, mut sink: impl Sink, tell: impl Fn(u64)) {
        while let Some(line) = self.next() {
            let is_written = sink.write(&line).is_ok();
            if let Some(lost) = self.lost_before(is_written) {
                tell(lost);
            }
            self.done();
        }
    }

    /// Lets what waits be written, for so long at most. What comes later is written as long as the process lasts.
    pub fn close(&self, patience: Duration) {
        let mut state = self.state();
        state.closed = true;
        self.changed.notify_all();
        let busy = |state: &mut State| state.writing || !state.lines.is_empty();
        // What is not written by then is lost, and there is nobody left to be told.
        drop(self.changed.wait_timeout_while(state, patience, busy));
    }

    /// Waits for a line.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes = state.bytes.saturating_sub(line.len().saturating_add(EACH));
                state.writing = true;
                return Some(line);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A line was written, or was not. Where there is room again, how many were lost before.
    fn lost_before(&self, is_written: bool) -> Option<u64> {
        let mut state = self.state();
        if !is_written {
            state.lost = state.lost.saturating_add(1);
            return None;
        }
        let is_roomy = state.lost > 0 && state.bytes < MOST / 2;
        is_roomy.then(|| std::mem::take(&mut state.lost))
    }

    fn done(&self) {
        self.state().writing = false;
        self.changed.notify_all();
    }

    /// Nothing here can panic while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of it, also where the other end lets nobody wait.
///
/// # Errors
/// As the system says.
pub(super) fn write_all(to: &mut impl io::Write, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match to.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => text = text.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::park_timeout(UNTIL_THERE_IS_ROOM);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use super::*;

    /// A reader that reads only when it is let.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<bool>, Condvar, Mutex<Vec<String>>)>);

    impl Gate {
        fn open(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
        }

        fn read(&self) -> Vec<String> {
            self.0.2.lock().unwrap().clone()
        }
    }

    impl Sink for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            let shut = self.0.0.lock().unwrap();
            drop(self.0.1.wait_while(shut, |open| !*open).unwrap());
            self.0.2.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        }
    }

    fn writer(queue: &Arc<Queue>, sink: impl Sink) -> mpsc::Receiver<u64> {
        let (tell, told) = mpsc::channel();
        let queue = Arc::clone(queue);
        std::thread::spawn(move || queue.write_to(sink, |lost| tell.send(lost).unwrap()));
        told
    }

    #[test]
    fn nobody_who_logs_waits_and_what_was_lost_is_counted_and_told_once() {
        let (queue, gate) = (Arc::new(Queue::default()), Gate::default());
        let told = writer(&queue, gate.clone());
        let line = "x".repeat(1_000 - EACH);
        let fit = MOST / 1_000;
        for _ in 0..3 * fit {
            queue.push(line.clone().into_bytes());
        }
        // Shut, it is given up after the patience, and nothing has come through.
        queue.close(Duration::from_millis(10));
        assert_eq!(gate.read().len(), 0);
        gate.open();
        let lost = told.recv().unwrap();
        queue.close(Duration::from_mins(1));
        let read = gate.read().len();
        assert_eq!(usize::try_from(lost).unwrap() + read, 3 * fit);
        assert!((fit..=fit + 1).contains(&read), "{read}");
        assert!(told.recv().is_err(), "it is told once");
    }

    #[test]
    fn the_last_lines_are_written_before_the_end_in_their_order() {
        let (queue, gate) = (Arc::new(Queue::default()), Gate::default());
        gate.open();
        let told = writer(&queue, gate.clone());
        for n in 0..1_000 {
            queue.push(n.to_string().into_bytes());
        }
        queue.close(Duration::from_mins(1));
        assert_eq!(gate.read(), (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(told.recv().is_err(), "nothing was lost");
    }

    #[test]
    fn what_cannot_be_written_is_told_of_once_something_can() {
        struct Twice(u32);
        impl Sink for Twice {
            fn write(&mut self, _: &[u8]) -> io::Result<()> {
                self.0 += 1;
                if self.0 <= 2 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
            }
        }
        let queue = Arc::new(Queue::default());
        for _ in 0..5 {
            queue.push(Vec::new());
        }
        let told = writer(&queue, Twice(0));
        assert_eq!(told.recv().unwrap(), 2);
        queue.close(Duration::from_mins(1));
        assert!(told.recv().is_err());
    }

    #[test]
    fn a_pipe_that_lets_nobody_wait_is_asked_again() {
        struct Full(u32, Vec<u8>);
        impl io::Write for Full {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 % 2 == 1 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                self.1.extend(&text[..text.len().min(2)]);
                Ok(text.len().min(2))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut full = Full(0, Vec::new());
        write_all(&mut full, b"hello").unwrap();
        assert_eq!(full.1, b"hello");
    }
}
