//! When a policy may act: spans of the week in a time zone, without the denied times.
//!
//! The civil time of the zone decides: a moment is inside if the civil time then is. This has two
//! consequences when the clock is turned:
//!
//! - An hour that it shows twice is inside both times. An end within that hour closes at its first passing; once the
//!   clock is back before the end, the window is open again, until the second.
//! - A start or an end that it skips falls on the first moment after the gap, always forward. A span that lies within
//!   the gap as a whole does not take place that day.
//!
//! Windows are equal where they mean the same, however they were written: spans that touch or overlap are one.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The minutes of a day.
pub const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;
/// How far ahead a change is searched.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);

/// The days as the configuration writes them, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A span of time on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The days on which it starts, from Monday.
    pub days: [bool; 7],
    /// Its first minute of the day, before [`DAY`].
    pub from: u16,
    /// The minute at which it ends, at most [`DAY`]. Not later than `from`: on the next day.
    pub to: u16,
}

/// A minute of the week, from Monday 00:00; Sunday 24:00 is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Minute(u16);

/// When a policy may act.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Window {
    timezone: String,
    /// Absent if this machine does not know the zone any more: then the window is never open.
    zone: Option<TimeZone>,
    /// In order, apart from each other, none empty.
    open: Vec<(Minute, Minute)>,
    /// In order, apart from each other, none empty.
    denied: Vec<(DateTime, DateTime)>,
}

/// The state of a window at some moment. A change that is `None` does not come within [`HORIZON`],
/// if ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum WindowState {
    /// The policy may act, until it closes.
    Open { closes: Option<Timestamp> },
    /// It may not, until it opens.
    Closed { opens: Option<Timestamp> },
}

/// Returns the time zone of this name in the IANA database: the machine's, else the one in the
/// binary, read once for the process. `None` if there is no zone of exactly this name.
pub fn zone(name: &str) -> Option<TimeZone> {
    let zone = TimeZone::get(name).ok()?;
    // `Etc/Unknown` is a zone by name only; and names are searched in any case.
    (!zone.is_unknown() && zone.iana_name() == Some(name)).then_some(zone)
}

impl Window {
    /// Makes a window that is open in each of the spans (always, if there is none), but never in a
    /// denied time (civil time, from … to). `None` if there is no zone of this name.
    pub fn new(timezone: &str, allow: Option<&[Span]>, deny: &[(DateTime, DateTime)]) -> Option<Self> {
        let open = match allow {
            None => vec![(Minute(0), Minute(WEEK))],
            Some(spans) => spans.iter().flat_map(Span::of_the_week).collect(),
        };
        let zone = zone(timezone)?;
        let (open, denied) = (joined(open), joined(deny.to_vec()));
        Some(Self { timezone: timezone.to_owned(), zone: Some(zone), open, denied })
    }

    /// The name of its time zone.
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// Returns when it is open in a week, each from … to, such as `mon 22:00` and `tue 06:00`.
    pub fn open(&self) -> impl Iterator<Item = [String; 2]> {
        self.open.iter().map(|(from, to)| [from.to_string(), to.to_string()])
    }

    /// Returns the denied times: civil time, from … to.
    pub fn denied(&self) -> &[(DateTime, DateTime)] {
        &self.denied
    }

    /// What it is closed for no more, because it is over at this moment.
    pub fn over(&self, now: Timestamp) -> Vec<(DateTime, DateTime)> {
        let shown = now.to_zoned(self.zone.clone().unwrap_or(TimeZone::UTC)).datetime();
        self.denied.iter().filter(|(_, to)| *to <= shown).copied().collect()
    }

    /// What the clock on the wall shows at a moment: `2026-11-24 22:00 CET`.
    pub fn shown(&self, at: Timestamp) -> String {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        at.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// Returns its state at this moment, and when that changes.
    pub fn at(&self, now: Timestamp) -> WindowState {
        let Some(zone) = &self.zone else { return WindowState::Closed { opens: None } };
        if self.covers(zone.to_datetime(now)) {
            WindowState::Open { closes: self.change(zone, now, true) }
        } else {
            WindowState::Closed { opens: self.change(zone, now, false) }
        }
    }

    /// Returns whether it is open at this civil time.
    fn covers(&self, shown: DateTime) -> bool {
        self.denial(shown).is_none() && self.span(minute_of_week(shown)).is_some()
    }

    fn denial(&self, shown: DateTime) -> Option<&(DateTime, DateTime)> {
        let before = self.denied.partition_point(|(from, _)| *from <= shown);
        self.denied[..before].last().filter(|(_, to)| shown < *to)
    }

    fn span(&self, minute: Minute) -> Option<&(Minute, Minute)> {
        let before = self.open.partition_point(|(from, _)| *from <= minute);
        self.open[..before].last().filter(|(_, to)| minute < *to)
    }

    /// Returns the first moment after `now` at which its state changes: in steps from one possible
    /// change to the next. Between two turns of the zone's clock, civil time runs like any other.
    fn change(&self, zone: &TimeZone, now: Timestamp, open: bool) -> Option<Timestamp> {
        let end = now.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        let mut at = now;
        loop {
            let shown = zone.to_datetime(at);
            let edge = self.edge(shown).and_then(|edge| at.checked_add(edge.duration_since(shown)).ok());
            let turn = zone.following(at).next().map(|turn| turn.timestamp());
            at = edge.into_iter().chain(turn).min().filter(|next| *next <= end)?;
            if self.covers(zone.to_datetime(at)) != open {
                return Some(at);
            }
        }
    }

    /// The first civil time after this one at which it could open or close.
    fn edge(&self, shown: DateTime) -> Option<DateTime> {
        // Nothing opens within a denied time.
        if let Some((_, end)) = self.denial(shown) {
            return Some(*end);
        }
        let denial = self.denied.iter().map(|(from, _)| *from).find(|from| *from > shown);
        let minute = minute_of_week(shown);
        let edge = match (self.span(minute), self.open.as_slice()) {
            (_, [] | [(Minute(0), Minute(WEEK))]) => None,
            (Some((_, to)), _) => Some(to.0),
            (None, [first, ..]) => {
                let later = self.open.iter().map(|(from, _)| *from).find(|from| *from > minute);
                Some(later.map_or(WEEK + first.0.0, |from| from.0))
            }
        };
        let week = edge.and_then(|edge| {
            let today = shown.date().to_datetime(jiff::civil::Time::midnight());
            let ahead = i64::from(edge) - i64::from(day_of_week(shown) * DAY);
            today.checked_add(SignedDuration::from_mins(ahead)).ok()
        });
        week.into_iter().chain(denial).min()
    }
}

/// Compares the meaning; not the rules of the zone, which an update of the machine may change.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.timezone == other.timezone && self.open == other.open && self.denied == other.denied
    }
}

impl Eq for Window {}

impl Span {
    /// Returns its parts in a week, one or two for each day.
    fn of_the_week(&self) -> impl Iterator<Item = (Minute, Minute)> {
        let length = if self.to > self.from { self.to - self.from } else { DAY - self.from + self.to };
        let starts = (0_u16..).zip(self.days).filter(|(_, starts)| *starts).map(|(day, _)| day * DAY);
        let from = self.from;
        starts.flat_map(move |start| {
            let (from, to) = (start + from, start + from + length);
            let rest = to.saturating_sub(WEEK);
            [(Minute(from), Minute(to - rest)), (Minute(0), Minute(rest))]
        })
    }
}

/// Returns them in order, with touching or overlapping ones joined.
fn joined<T: Ord + Copy>(mut spans: Vec<(T, T)>) -> Vec<(T, T)> {
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut all: Vec<(T, T)> = Vec::new();
    for (from, to) in spans {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => all.push((from, to)),
        }
    }
    all
}

fn day_of_week(shown: DateTime) -> u16 {
    match shown.date().weekday() {
        Weekday::Monday => 0,
        Weekday::Tuesday => 1,
        Weekday::Wednesday => 2,
        Weekday::Thursday => 3,
        Weekday::Friday => 4,
        Weekday::Saturday => 5,
        Weekday::Sunday => 6,
    }
}

fn minute_of_week(shown: DateTime) -> Minute {
    let part = |number: i8| u16::try_from(number).unwrap_or(0);
    Minute(day_of_week(shown) * DAY + part(shown.hour()) * 60 + part(shown.minute()))
}

/// A minute of the day from `HH:MM`, up to `24:00`.
pub fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

/// `mon 22:00`.
impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, minute) = if self.0 >= WEEK { (6, DAY) } else { (self.0 / DAY, self.0 % DAY) };
        let day = DAYS.get(usize::from(day)).copied().unwrap_or_default();
        write!(f, "{day} {:02}:{:02}", minute / 60, minute % 60)
    }
}

impl FromStr for Minute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (day, time) = text.split_once(' ')?;
            let day = (0_u16..).zip(DAYS).find(|(_, name)| *name == day)?.0;
            Some(Self(day * DAY + minute_of_day(time)?))
        };
        read().ok_or_else(|| format!("{text:?} is no minute of a week"))
    }
}

impl TryFrom<String> for Minute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Minute> for String {
    fn from(minute: Minute) -> Self {
        minute.to_string()
    }
}

/// A window as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Stored {
    timezone: String,
    open: Vec<(Minute, Minute)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    denied: Vec<(DateTime, DateTime)>,
}

impl From<Stored> for Window {
    fn from(stored: Stored) -> Self {
        let zone = zone(&stored.timezone);
        Self { timezone: stored.timezone, zone, open: joined(stored.open), denied: joined(stored.denied) }
    }
}

impl From<Window> for Stored {
    fn from(window: Window) -> Self {
        Self { timezone: window.timezone, open: window.open, denied: window.denied }
    }
}

#[cfg(test)]
mod tests;
