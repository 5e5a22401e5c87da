//! Texts for people: durations, and texts from outside made safe to show.

use std::time::Duration;

use jiff::Timestamp;

/// A duration as people say it: `2m`, `1h 30m`, `45s`, `1.5s`, `200ms`. At most the two largest units.
pub fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    if millis < 10_000 && !millis.is_multiple_of(1_000) {
        let tenths = millis / 100;
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    units(Duration::from_secs(duration.as_secs()), 2)
}

/// Returns a name from outside, at most this long, or that there is none.
pub fn named(name: &str, most: usize) -> String {
    if name.is_empty() { "(no name)".to_owned() } else { shown(name, most) }
}

/// Returns a time relative to `now`: `in 14m`, `3h 20m ago`, `now`.
pub fn away(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs();
    let distance = units(Duration::from_secs(seconds.unsigned_abs()), 2);
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {distance}"),
        _ => format!("{distance} ago"),
    }
}

/// A duration as the configuration writes it: all of it, to the millisecond.
pub fn exact_span(duration: Duration) -> String {
    if duration.as_millis() == 0 { "0s".to_owned() } else { units(duration, usize::MAX) }
}

/// Returns at most this number of units, from the largest one that is not zero.
fn units(duration: Duration, most: usize) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let from_the_largest = parts.iter().skip_while(|(n, _)| *n == 0).take(most);
    let shown: Vec<String> =
        from_the_largest.filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    shown.join(" ")
}

/// A duration that is longer than another one, and reads so: rounded up, to tenths of a second where it is short.
pub fn longer_span(duration: Duration) -> String {
    let grain: u128 = if duration < Duration::from_secs(10) { 100 } else { 1_000 };
    let millis = duration.as_millis().div_ceil(grain) * grain;
    span(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// A time as people read it: UTC, to the second.
pub fn utc(time: Timestamp) -> String {
    time.strftime("%F %T UTC").to_string()
}

/// The same for a time within a day: hours and minutes.
pub fn utc_of_day(time: Timestamp) -> String {
    time.strftime("%H:%M UTC").to_string()
}

/// The parts of a time, for the ticks of an axis: `14:05`, `30 Nov`, `2026`.
pub fn utc_of_tick(time: Timestamp) -> [String; 3] {
    ["%H:%M", "%-d %b", "%Y"].map(|part| time.strftime(part).to_string())
}

/// A time as programs read it: UTC, to the second, by RFC 3339.
pub fn utc_for_programs(time: Timestamp) -> String {
    time.strftime("%FT%TZ").to_string()
}

/// Returns a count of something: `no retries`, `1 retry`, `2 retries`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{n} {many}"),
    }
}

/// Returns a text from outside, made safe for a terminal, a log and a message: control and format
/// characters are escaped, and at most `limit` characters are kept.
pub fn shown(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == limit {
            out.push('…');
            break;
        }
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A nearest word is searched among at most this number of words: it bounds the cost of many wrong
/// words.
const MAX_COMPARED: usize = 1_000;

/// Returns the known word that is nearest to this one, if one is near enough.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    let length = written.chars().count();
    let allowed = |word: &str| (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .take(MAX_COMPARED)
        // Each additional or missing character is a step.
        .filter(|word| word.chars().count().abs_diff(length) <= allowed(word))
        .map(|word| (strsim::damerau_levenshtein(&written, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= allowed(word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Returns the question whether this word was meant, for the end of a message about an unknown one;
/// empty without one.
pub fn did_you_mean(word: Option<&str>) -> String {
    word.map_or_else(String::new, |word| format!("; did you mean \"{}\"?", shown(word, 80)))
}

/// Returns an error with its causes, once each: many libraries repeat the text of a cause.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if text != told && !text.ends_with(&format!(": {told}")) {
            text = format!("{text}: {told}");
        }
        source = cause.source();
    }
    text
}

/// Returns whether a text is the whole name of a host: two labels or more, of letters, digits and
/// hyphens.
pub fn is_full_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn a_cause_that_its_error_tells_of_already_is_told_once() {
        for (texts, told) in [
            (["cannot send", "no connection", "refused"], "cannot send: no connection: refused"),
            (["no connection: refused", "refused", "refused"], "no connection: refused"),
            (
                ["cannot send: no connection: refused", "no connection: refused", "refused"],
                "cannot send: no connection: refused",
            ),
            (["cannot be refused", "refused", "by a rule"], "cannot be refused: refused: by a rule"),
        ] {
            let mut error = None;
            for text in texts.into_iter().rev() {
                error = Some(Box::new(Link { text, source: error }));
            }
            assert_eq!(chain(&*error.unwrap()), told);
        }
    }

    #[test]
    fn spans_read_as_people_say_them() {
        for (millis, text) in [
            (0, "0ms"),
            (200, "200ms"),
            (1_500, "1.5s"),
            (2_000, "2s"),
            (45_000, "45s"),
            (120_000, "2m"),
            (5_400_000, "1h 30m"),
            (90_061_000, "1d 1h"),
            (86_400_000 * 7, "7d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn what_is_longer_reads_longer() {
        for millis in [1_000, 2_000, 2_500, 9_700, 10_000, 59_000, 600_000, 86_400_000, 86_400_000 * 7] {
            let (wanted, actual) = (Duration::from_millis(millis), Duration::from_millis(millis * 21 / 20));
            assert_ne!(span(wanted), longer_span(actual));
        }
        assert_eq!(longer_span(Duration::from_millis(2_110)), "2.2s");
        assert_eq!(longer_span(Duration::from_secs(1_111)), "18m 31s");
    }

    #[test]
    fn a_time_is_told_with_its_zone() {
        assert_eq!(utc("2026-01-02T03:04:05.678Z".parse().unwrap()), "2026-01-02 03:04:05 UTC");
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(shown("a\u{1b}[31m\nb", 80), "a\\u{1b}[31m\\u{a}b");
        assert_eq!(shown("abcdef", 3), "abc…");
    }
}
