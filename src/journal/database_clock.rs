//! The clock of the database beside that of this process: times in the journal are the database's.

use jiff::Timestamp;

use crate::model::moment::{Moment, Mono};

/// One instant by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseClock {
    /// By this process's monotonic clock.
    pub mono: Mono,
    /// By the database's.
    pub wall: Timestamp,
}

impl DatabaseClock {
    /// What the database calls this moment: by the monotonic clock, so that the wall clock here may say anything.
    pub(super) fn wall_of(self, moment: Moment) -> Timestamp {
        let here = Moment { wall: self.wall, mono: self.mono };
        moment.wall_by(here)
    }

    /// What a time of the database is by this process's wall clock as it stands now.
    pub(super) fn here(self, time: Timestamp, now: Moment) -> Timestamp {
        let database = self.wall_of(now);
        now.wall.checked_sub(database.duration_since(time)).unwrap_or(time)
    }
}
