//! The ticks of the axis of time: at round times of UTC, few enough to be read on a phone.

use jiff::Timestamp;

use super::{Percent, Tick, utc_of_tick};

/// The distances between ticks, in seconds: minutes, hours, days, years.
const STEPS: [i64; 22] = [
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    60 * DAY,
    120 * DAY,
    365 * DAY,
    730 * DAY,
    3_650 * DAY,
    36_500 * DAY,
];
const DAY: i64 = 86_400;
/// This number of ticks fits on a phone.
const MOST: i64 = 6;

pub(super) fn ticks(from: Timestamp, to: Timestamp, x: impl Fn(Timestamp) -> f64) -> Vec<Tick> {
    let (first, last) = (from.as_second(), to.as_second());
    let whole = last.saturating_sub(first);
    let Some(step) = STEPS.into_iter().find(|step| whole / step <= MOST) else { return Vec::new() };
    let begin = first.div_euclid(step).saturating_add(1).saturating_mul(step);
    let times = (0..=MOST).filter_map(|n| {
        let second = begin.saturating_add(n.saturating_mul(step));
        (second <= last).then(|| Timestamp::from_second(second).ok()).flatten()
    });
    let mut before = String::new();
    let tick = |at: Timestamp| {
        let [time, day, year] = utc_of_tick(at);
        let (label, larger) = if step < DAY { (time, day) } else { (day, year) };
        let is_new = larger != before;
        before.clone_from(&larger);
        Tick { x: Percent(x(at)), label, larger: if is_new { larger } else { String::new() } }
    };
    times.map(tick).collect()
}
