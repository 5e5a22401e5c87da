//! `[policy.window]`: when a policy may act.

use jiff::{Timestamp, civil};
use serde_json::{Value, json};

use super::civil::{DateTime, Days, TimeOfDay};
use super::kind::{Kind, List, Word};
use super::schema::Key;
use super::section::Section;
use super::table::{Help, Of, table};
use crate::model::text::shown;
use crate::model::window::{self, DAY, Span, Window, minute_of_day};

/// More entries in one list are a mistake.
const MAX_ENTRIES: usize = 1_000;

table! {
    /// The keys, as the file has them.
    pub(super) struct Written {
        timezone: Zone,
        allow: List<Of<Allowed, InSpan>>,
        deny: List<Of<Denied>>,
    }
}

table! {
    /// A span of allowed times.
    pub(super) struct Allowed {
        days: List<Days>,
        from: TimeOfDay,
        to: TimeOfDay,
    }
}

table! {
    /// A span of denied times.
    pub(super) struct Denied {
        from: DateTime,
        to: DateTime,
    }
}

/// Returns the help for a span: `"22:00-06:00"` is written as a table.
pub(super) struct InSpan;

impl Help for InSpan {
    fn form(found: &Value, _: &[&str]) -> String {
        // Only times are repeated, never any other text.
        let times = found.as_str().and_then(|text| {
            let (from, to) = text.split_once(['-', '–'])?;
            let (from, to) = (from.trim(), to.trim());
            (minute_of_day(from).is_some() && minute_of_day(to).is_some()).then_some((from, to))
        });
        let (from, to) = times.unwrap_or(("22:00", "06:00"));
        format!("{{ from = \"{from}\", to = \"{to}\" }}")
    }
}

/// Returns the help for a window, which is more than a span.
pub(super) struct InWindow;

impl Help for InWindow {
    fn form(found: &Value, keys: &[&str]) -> String {
        format!("{{ timezone = \"Europe/Berlin\", allow = [{}] }}", InSpan::form(found, keys))
    }
}

/// A time zone that is known.
pub(super) struct Zone;

impl Kind for Zone {
    type Value = String;

    fn read(at: &Section<'_>) -> Option<String> {
        let name = Word::read(at)?;
        if window::zone(&name).is_some() {
            return Some(name);
        }
        let message = format!(
            "there is no time zone of the name \"{}\"; a name of the IANA database is needed, such as \"Europe/Berlin\"",
            shown(&name, 60)
        );
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let near = at.nearest(&name, known.iter().map(String::as_str));
        at.refuse(message, near.map(|near| format!("did you mean \"{near}\"?")));
        None
    }

    fn list(value: &String) -> Value {
        json!(value)
    }

    fn keys(path: &[&'static str]) -> Vec<Key> {
        Word::keys(path)
    }
}

fn minutes(time: &civil::DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M").to_string()
}

/// That entries of `deny` are over at this moment, where some are.
pub(super) fn over(window: &Window, now: Timestamp) -> Option<String> {
    let over = window.over(now);
    let (from, to) = over.first()?;
    let what = match over.len() {
        1 => "the entry is over and denies nothing any more:".to_owned(),
        more => format!("{more} entries are over and deny nothing any more, such as"),
    };
    Some(format!("{what} from {} to {}", minutes(from), minutes(to)))
}

/// The values of a window, as the configuration writes them.
pub(super) fn list(window: &Window) -> Vec<(&'static str, Value)> {
    let denied = window.denied().iter().map(|(from, to)| [minutes(from), minutes(to)]);
    vec![
        ("timezone", json!(window.timezone())),
        ("allow", json!(window.open().collect::<Vec<_>>())),
        ("deny", json!(denied.collect::<Vec<_>>())),
    ]
}

/// Checks the table; `section` is the window. Returns `None` also if it has problems: they are
/// reported.
pub(super) fn window(section: &Section<'_>, written: &Written) -> Option<Window> {
    if written.timezone.is_none() {
        section
            .missing("timezone", "missing; a window needs a time zone, such as \"Europe/Berlin\" or \"UTC\"");
    }
    let allow = written.allow.as_deref().map(|written| {
        if written.is_empty() {
            section.error_with_hint("allow", "an empty list is never open", "omit the key for: always");
        }
        entries(&section.child("allow"), written, allowed)
    });
    let deny = entries(&section.child("deny"), written.deny.as_deref().unwrap_or_default(), denied);
    if written.allow.is_none() && written.deny.is_none() && section.can_compare(&["allow", "deny"]) {
        section.warn_here("without allow and deny the window is always open");
    }
    Window::new(written.timezone.as_deref()?, allow.as_deref(), &deny)
}

fn entries<W, T>(
    section: &Section<'_>,
    written: &[Option<W>],
    read: impl Fn(&Section<'_>, &W) -> Option<T>,
) -> Vec<T> {
    if written.len() > MAX_ENTRIES {
        section.error_here(format!("found {} entries; at most {MAX_ENTRIES} are allowed", written.len()));
        return Vec::new();
    }
    let entry = |(index, entry): (usize, &Option<W>)| read(&section.element(index), entry.as_ref()?);
    written.iter().enumerate().filter_map(entry).collect()
}

/// `days` name the day on which the span starts; none: every day. Without `from` it starts with the
/// day, without `to` it ends with it.
fn allowed(section: &Section<'_>, written: &Allowed) -> Option<Span> {
    let mut days = [written.days.is_none(); 7];
    for some in written.days.iter().flatten().flatten() {
        for (day, more) in days.iter_mut().zip(some.0) {
            *day |= more;
        }
    }
    if written.days.as_ref().is_some_and(Vec::is_empty) {
        section.error_with_hint("days", "an empty list names no day", "omit the key for: every day");
    }
    let from = written.from.map_or(0, |from| from.0);
    let to = written.to.map_or(DAY, |to| to.0);
    if from == DAY {
        section.error_with_hint(
            "from",
            "found \"24:00\"; a span cannot start at the end of a day",
            "write \"00:00\", and the next day under days",
        );
        return None;
    }
    if from == to {
        if section.can_compare(&["from", "to"]) {
            section.error_with_hint(
                "to",
                "from and to are the same: the span is empty",
                "omit both for the whole day",
            );
        }
        return None;
    }
    Some(Span { days, from, to })
}

fn denied(section: &Section<'_>, written: &Denied) -> Option<(civil::DateTime, civil::DateTime)> {
    for (key, given) in [("from", written.from.is_some()), ("to", written.to.is_some())] {
        if !given {
            section.missing(key, "missing; an entry of deny needs from and to, such as \"2026-12-20T00:00\"");
        }
    }
    let (from, to) = (written.from?.0, written.to?.0);
    if from >= to {
        section.error("to", "to is not later than from, so the entry denies nothing");
        return None;
    }
    Some((from, to))
}
