//! How journaled times are tied to the monotonic clock, and when they are tied again.
//!
//! Entries of an earlier process have wall time only. If the wall clock is wrong when they are read
//! (a hardware clock in local time, say), everything looks too old or too young. So these times are
//! tied again when an answer of the CSS API shows that the clock is right; until then nothing is
//! sent (`Preconditions`). While an answer shows that the clock is wrong, everything journaled
//! before counts as just journaled, so that no wait ends and no task is escalated. Entries of this
//! process keep their monotonic time.

use std::time::Duration;

use jiff::SignedDuration;

use super::{ReconcileError, Reconciler};
use crate::clock::Clock;
use crate::cloud::Css;
use crate::model::event::{Entry, StoredEntry};
use crate::model::moment::{Moment, Mono};
use crate::model::project::is_clock_off;
use crate::model::project_state::ProjectState;

/// A wall clock that moved against the monotonic one by more than this was set.
const SET: Duration = Duration::from_secs(1);

/// What the present tie is based on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Trust {
    /// The wall clock as it was at the start; no answer has confirmed it.
    #[default]
    Found,
    /// An answer showed that the clock is wrong: earlier times count as just journaled.
    Young,
    /// An answer showed that the clock is right.
    Proven,
}

/// How earlier entries are tied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anew {
    ByWall,
    AsNow,
}

/// The tie of one project's entries.
#[derive(Debug)]
pub(super) struct Tie {
    trust: Trust,
    /// Wall minus monotonic time, in milliseconds, when earlier entries were last tied.
    at: i64,
    /// Of this process's own entries: the first number from which wall minus monotonic time had
    /// this value. Ascending.
    own: Vec<(u64, i64)>,
    /// The number of the last of them.
    last: u64,
}

fn tie(at: Moment) -> i64 {
    at.wall.as_millisecond().saturating_sub(at.mono.0)
}

fn differ(one: i64, other: i64) -> bool {
    u128::from(one.abs_diff(other)) > SET.as_millis()
}

impl Tie {
    pub(super) fn new(now: Moment) -> Self {
        Self { trust: Trust::default(), at: tie(now), own: Vec::new(), last: 0 }
    }

    /// Returns whether an answer has shown that the clock is right, and the clock was not set
    /// since.
    pub(super) fn is_proven(&self, now: Moment) -> bool {
        self.trust == Trust::Proven && self.is_kept(now)
    }

    /// Returns whether the clock was not set since the journaled times were tied.
    pub(super) fn is_kept(&self, now: Moment) -> bool {
        !differ(self.at, tie(now))
    }

    /// Keeps by which clocks an entry of this process was journaled. Two polls may add their
    /// entries in another order than they were journaled in.
    pub(super) fn journaled(&mut self, entry: &Entry) {
        let (number, own) = (entry.number, tie(entry.at));
        let later = self.own.partition_point(|(from, _)| *from <= number);
        let before = later.checked_sub(1).and_then(|before| self.own.get(before)).map(|(_, known)| *known);
        if before.is_none_or(|known| differ(known, own)) {
            let goes_on = before.filter(|_| number < self.last);
            self.own.splice(
                later..later,
                [(number, own)].into_iter().chain(goes_on.map(|own| (number + 1, own))),
            );
        }
        self.last = self.last.max(number);
    }

    /// Returns what is to be tied again, as the latest answers show the clock.
    fn judge(&mut self, now: Moment, offset: Option<SignedDuration>) -> Option<Anew> {
        let set = !self.is_kept(now);
        if is_clock_off(offset) {
            return (self.trust == Trust::Found).then_some(Anew::AsNow);
        }
        if offset.is_some() {
            if self.trust == Trust::Young || set {
                return Some(Anew::ByWall);
            }
            self.trust = Trust::Proven;
            return None;
        }
        // No answer shows whether the clock is right. If it was set back, entries look younger,
        // which sends nothing early.
        if set && tie(now) < self.at {
            return Some(Anew::ByWall);
        }
        if set {
            self.at = tie(now);
        }
        None
    }

    fn tied(&mut self, now: Moment, anew: Anew, offset: Option<SignedDuration>) {
        self.at = tie(now);
        self.trust = match anew {
            Anew::AsNow => Trust::Young,
            Anew::ByWall if offset.is_some() => Trust::Proven,
            Anew::ByWall => Trust::Found,
        };
    }

    /// Returns the time of a journaled entry by this process's clocks.
    fn recall(&self, entry: StoredEntry, now: Moment, anew: Anew) -> Entry {
        let later = self.own.partition_point(|(from, _)| *from <= entry.number);
        match later.checked_sub(1).and_then(|own| self.own.get(own)) {
            Some((_, own)) => {
                let mono = Mono(entry.at.as_millisecond().saturating_sub(*own));
                let at = Moment { wall: entry.at, mono };
                Entry { number: entry.number, at, subject: entry.subject, event: entry.event }
            }
            None if anew == Anew::AsNow => {
                Entry { number: entry.number, at: now, subject: entry.subject, event: entry.event }
            }
            None => entry.recall(now),
        }
    }
}

impl<S: Css, C: Clock> Reconciler<S, C> {
    /// Returns the present. If our clock is behind the API's by too much, wall time is the API's:
    /// entries journaled now must not look old when the clock is right.
    pub fn now(&self) -> Moment {
        self.stamp(self.clock.now())
    }

    pub(super) fn stamp(&self, at: Moment) -> Moment {
        let behind =
            self.css().clock_offset().filter(|offset| offset.is_negative() && is_clock_off(Some(*offset)));
        let wall = behind.and_then(|behind| at.wall.checked_sub(behind).ok());
        Moment { wall: wall.unwrap_or(at.wall), ..at }
    }

    /// Returns whether an answer has shown that our clock is right, and it was not set since.
    pub fn is_clock_proven(&self) -> bool {
        self.state().tie.is_proven(self.clock.now())
    }

    /// Ties journaled times again if the answers of this poll require it. The caller holds no lock
    /// and has not used the poll yet.
    pub(super) async fn tie_anew(&self) -> Result<(), ReconcileError> {
        let offset = self.css().clock_offset();
        if self.state().tie.judge(self.clock.now(), offset).is_none() {
            return Ok(());
        }
        let _alone = self.commit_lock.write().await;
        let now = self.clock.now();
        // Another reconcile may have done this meanwhile.
        let Some(anew) = self.state().tie.judge(now, offset) else { return Ok(()) };
        let entries = self.journal.read_project(&self.project).await?;
        let mut state = self.state();
        let mut project_state = ProjectState::default();
        for entry in entries {
            project_state.apply(&state.tie.recall(entry, now, anew));
        }
        project_state.wake(now);
        project_state.take_shown(&state.project);
        state.project = project_state;
        state.tie.tied(now, anew, offset);
        drop(state);
        if anew == Anew::ByWall {
            self.holds.write().unwrap_or_else(std::sync::PoisonError::into_inner).tie_anew(now);
        }
        tracing::info!(
            project = %self.project,
            "{}",
            match anew {
                Anew::ByWall => "this machine's clock was corrected: the daemon computes all waits again from its journal",
                Anew::AsNow => "this machine's clock is wrong: waits in the daemon's journal do not end until it is correct",
            }
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Event, Subject};
    use crate::model::id::{ClusterId, ProjectName, TaskId};

    fn at(wall: i64, mono: i64) -> Moment {
        Moment { wall: jiff::Timestamp::from_second(1_000_000 + wall).unwrap(), mono: Mono(mono * 1_000) }
    }

    fn entry(number: u64, at: Moment) -> Entry {
        let subject = Subject {
            project: ProjectName::new("p").unwrap(),
            cluster: ClusterId::new("c").unwrap(),
            task: TaskId::new("t").unwrap(),
        };
        Entry { number, at, subject, event: Event::Missing }
    }

    fn stored(entry: &Entry) -> StoredEntry {
        let Entry { number, at, subject, event } = entry.clone();
        StoredEntry { number, at: at.wall, subject, event }
    }

    const RIGHT: Option<SignedDuration> = Some(SignedDuration::ZERO);
    const WRONG: Option<SignedDuration> = Some(SignedDuration::from_hours(-8));

    #[test]
    fn what_an_answer_shows_of_the_clock_decides_what_is_tied_anew() {
        let mut tie = Tie::new(at(0, 0));
        assert_eq!(tie.judge(at(1, 1), None), None);
        assert!(!tie.is_proven(at(1, 1)), "nothing was compared yet");
        assert_eq!(tie.judge(at(2, 2), WRONG), Some(Anew::AsNow));
        tie.tied(at(2, 2), Anew::AsNow, WRONG);
        assert_eq!(tie.judge(at(3, 3), WRONG), None, "once");
        assert!(!tie.is_kept(at(8 * 3600, 4)), "it was set, and nothing tied anew");
        assert_eq!(tie.judge(at(8 * 3600, 4), RIGHT), Some(Anew::ByWall));
        tie.tied(at(8 * 3600, 4), Anew::ByWall, RIGHT);
        assert!(tie.is_proven(at(8 * 3600 + 1, 5)) && tie.is_kept(at(8 * 3600 + 1, 5)));
        assert_eq!(tie.judge(at(8 * 3600 + 1, 5), RIGHT), None);
        // A credential that was proven stays proven while the clock is wrong for a time.
        assert_eq!(tie.judge(at(0, 6), WRONG), None);
        assert_eq!(tie.judge(at(8 * 3600 + 5, 6), RIGHT), Some(Anew::ByWall), "by however little it was set");
    }

    #[test]
    fn a_clock_that_nothing_shows_right_makes_nothing_early() {
        let mut tie = Tie::new(at(0, 0));
        assert_eq!(tie.judge(at(-50, 10), None), Some(Anew::ByWall), "set back: all is younger");
        let mut tie = Tie::new(at(0, 0));
        assert_eq!(tie.judge(at(70, 10), None), None, "set forward: nothing gets older by it");
        assert!(tie.is_kept(at(80, 20)), "and what is due is sent all the same");
    }

    #[test]
    fn what_this_process_journaled_keeps_its_monotonic_time_however_the_clock_was_set() {
        let mut tie = Tie::new(at(0, 0));
        let (earlier, first) = (entry(1, at(-100, 0)), entry(5, at(10, 10)));
        let (later, last) = (entry(8, at(520, 20)), entry(9, at(30, 30)));
        for entry in [&first, &last, &later] {
            tie.journaled(entry);
        }
        let now = at(40, 40);
        for own in [&first, &later, &last] {
            assert_eq!(tie.recall(stored(own), now, Anew::ByWall).at.mono, own.at.mono);
            assert_eq!(tie.recall(stored(own), now, Anew::AsNow).at.mono, own.at.mono);
        }
        assert_eq!(tie.recall(stored(&earlier), now, Anew::ByWall).at, now.recall(earlier.at.wall));
        assert_eq!(tie.recall(stored(&earlier), now, Anew::AsNow).at, now);
    }
}
