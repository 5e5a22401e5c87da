//! `[policy.window]`: when a policy may act.

use super::super::written::{self, Table};
use super::section::Section;
use crate::model::text::shown;
use crate::model::window::{self, DAY, Span, Window};
use crate::settings::scalar::Strict;

/// More entries than this in one list are a slip.
const MAX_ENTRIES: usize = 1_000;

/// Checks the table; `section` is the window. `None` also where it has problems: they are told.
pub(super) fn window(section: &Section<'_>, written: &written::Window) -> Option<Window> {
    let timezone = timezone(section, written.timezone.as_ref());
    let allow = written.allow.as_deref().map(|written| {
        if written.is_empty() {
            section.error_with_hint("allow", "an empty list is never open", "leave the key away for: always");
        }
        entries(&section.child("allow"), written, allowed)
    });
    let deny = entries(&section.child("deny"), written.deny.as_deref().unwrap_or_default(), denied);
    if written.allow.is_none() && written.deny.is_none() {
        section.warn_here("without allow and deny it is always open, as if it were not there");
    }
    Window::new(&timezone?, allow.as_deref(), &deny)
}

fn timezone(section: &Section<'_>, written: Option<&Strict<String>>) -> Option<String> {
    let Some(Strict(name)) = written else {
        section
            .missing("timezone", "missing; a window needs a time zone, such as \"Europe/Berlin\" or \"UTC\"");
        return None;
    };
    if window::zone(name).is_some() {
        return Some(name.clone());
    }
    let message = format!(
        "there is no time zone of the name \"{}\"; a name of the IANA database is needed, such as \"Europe/Berlin\"",
        shown(name, 60)
    );
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    match section.nearest(name, known.iter().map(String::as_str)) {
        Some(near) => section.error_with_hint("timezone", message, format!("did you mean \"{near}\"?")),
        None => section.error("timezone", message),
    }
    None
}

fn entries<W, T>(
    section: &Section<'_>,
    written: &[Option<Table<W>>],
    read: impl Fn(&Section<'_>, &W) -> Option<T>,
) -> Vec<T> {
    if written.len() > MAX_ENTRIES {
        section.error_here(format!("found {} entries; at most {MAX_ENTRIES} are allowed", written.len()));
        return Vec::new();
    }
    let entry =
        |(index, entry): (usize, &Option<Table<W>>)| read(&section.element(index), &entry.as_ref()?.0);
    written.iter().enumerate().filter_map(entry).collect()
}

/// `days` name the day on which the span starts; none: every day. Without `from` it starts with the day, without `to`
/// it ends with it.
fn allowed(section: &Section<'_>, written: &written::Allowed) -> Option<Span> {
    let mut days = [written.days.is_none(); 7];
    for Strict(some) in written.days.iter().flatten().flatten() {
        for (day, more) in days.iter_mut().zip(some.0) {
            *day |= more;
        }
    }
    if written.days.as_ref().is_some_and(Vec::is_empty) {
        section.error_with_hint("days", "an empty list names no day", "leave the key away for: every day");
    }
    let from = written.from.as_ref().map_or(0, |from| from.0.0);
    let to = written.to.as_ref().map_or(DAY, |to| to.0.0);
    if from == DAY {
        section.error_with_hint(
            "from",
            "found \"24:00\"; a span cannot start at the end of a day",
            "write \"00:00\", and the next day under days",
        );
        return None;
    }
    if from == to {
        section.error_with_hint(
            "to",
            "from and to are the same: the span is empty",
            "leave both away for the whole day",
        );
        return None;
    }
    Some(Span { days, from, to })
}

fn denied(
    section: &Section<'_>,
    written: &written::Denied,
) -> Option<(jiff::civil::DateTime, jiff::civil::DateTime)> {
    for (key, given) in [("from", written.from.is_some()), ("to", written.to.is_some())] {
        if !given {
            section.missing(key, "missing; what is denied has a from and a to, such as \"2026-12-20T00:00\"");
        }
    }
    let (from, to) = (written.from.as_ref()?.0.0, written.to.as_ref()?.0.0);
    if from >= to {
        section.error("to", "it is not later than from: nothing is denied");
        return None;
    }
    Some((from, to))
}
