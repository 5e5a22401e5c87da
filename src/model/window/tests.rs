use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;

const EVERY_DAY: [bool; 7] = [true; 7];

fn days(names: &str) -> [bool; 7] {
    DAYS.map(|day| names.contains(day))
}

fn at(text: &str) -> u16 {
    minute_of_day(text).unwrap()
}

fn span(names: &str, from: &str, to: &str) -> Span {
    Span { days: days(names), from: at(from), to: at(to) }
}

fn daily(from: &str, to: &str) -> Span {
    Span { days: EVERY_DAY, from: at(from), to: at(to) }
}

fn berlin(allow: &[Span], deny: &[(&str, &str)]) -> Window {
    let deny: Vec<_> = deny.iter().map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap())).collect();
    Window::new("Europe/Berlin", Some(allow), &deny).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn open(closes: &str) -> WindowState {
    WindowState::Open { closes: Some(time(closes)) }
}

fn closed(opens: &str) -> WindowState {
    WindowState::Closed { opens: Some(time(opens)) }
}

#[test]
fn a_night_belongs_to_the_day_on_which_it_starts() {
    let window =
        berlin(&[span("mon tue wed thu fri", "22:00", "06:00"), span("sat sun", "00:00", "24:00")], &[]);
    // 2026-11-23 is a Monday; Berlin is one hour ahead in winter.
    for (now, state) in [
        ("2026-11-23T20:59:59+00", closed("2026-11-23T21:00+00")),
        ("2026-11-23T21:00:00+00", open("2026-11-24T05:00+00")),
        ("2026-11-24T04:59:59.999+00", open("2026-11-24T05:00+00")),
        ("2026-11-24T05:00:00+00", closed("2026-11-24T21:00+00")),
        // Friday night, and the whole weekend, in one; it ends at Monday's midnight.
        ("2026-11-27T21:00+00", open("2026-11-29T23:00+00")),
        ("2026-11-29T12:00+00", open("2026-11-29T23:00+00")),
        ("2026-11-29T23:00+00", closed("2026-11-30T21:00+00")),
    ] {
        assert_eq!(window.at(time(now)), state, "{now}");
    }
}

#[test]
fn a_night_that_starts_on_sunday_runs_into_monday() {
    let window = berlin(&[span("sun", "22:00", "06:00")], &[]);
    assert_eq!(window.at(time("2026-11-29T21:30+00")), open("2026-11-30T05:00+00"));
    assert_eq!(window.at(time("2026-11-30T04:59+00")), open("2026-11-30T05:00+00"));
    assert_eq!(window.at(time("2026-11-30T05:00+00")), closed("2026-12-06T21:00+00"));
}

#[test]
fn what_is_denied_is_closed_whatever_is_allowed() {
    let window = berlin(
        &[daily("22:00", "06:00")],
        &[("2026-12-20T00:00", "2026-12-27T00:00"), ("2026-12-26T00:00", "2027-01-03T00:00")],
    );
    assert_eq!(window.denied().len(), 1, "they overlap");
    assert_eq!(window.at(time("2026-12-19T21:00+00")), open("2026-12-19T23:00+00"));
    assert_eq!(window.at(time("2026-12-24T21:00+00")), closed("2027-01-02T23:00+00"));
    assert_eq!(window.at(time("2027-01-02T23:00+00")), open("2027-01-03T05:00+00"));
}

#[test]
fn without_spans_it_is_always_open_but_for_what_is_denied() {
    let always = Window::new("UTC", None, &[]).unwrap();
    assert_eq!(always.at(time("2026-12-24T21:00+00")), WindowState::Open { closes: None });
    let deny = [("2027-01-01T00:00".parse().unwrap(), "9999-12-30T00:00".parse().unwrap())];
    let until = Window::new("UTC", None, &deny).unwrap();
    assert_eq!(until.at(time("2026-12-24T21:00+00")), open("2027-01-01T00:00+00"));
    assert_eq!(until.at(time("2027-01-01T00:00+00")), WindowState::Closed { opens: None });
    assert_eq!(until.at(Timestamp::MAX), WindowState::Open { closes: None }, "at the end of time");
}

#[test]
fn whole_days_are_open_without_an_end_between_them() {
    let all = berlin(&[daily("00:00", "12:00"), daily("12:00", "24:00")], &[]);
    assert_eq!(all.at(time("2026-11-23T12:00+00")), WindowState::Open { closes: None });
    assert_eq!(all, Window::new("Europe/Berlin", None, &[]).unwrap());
    let nights = berlin(&[daily("00:00", "06:00"), daily("22:00", "24:00")], &[]);
    assert_eq!(nights, berlin(&[daily("22:00", "06:00")], &[]));
    assert_eq!(
        nights.at(time("2026-11-29T22:00+00")),
        open("2026-11-30T05:00+00"),
        "over the end of the week"
    );
}

#[test]
fn an_edge_in_the_skipped_hour_falls_on_the_first_moment_after_it() {
    // In Berlin, 2027-03-28 02:00 is followed by 03:00: at 01:00 UTC.
    let gap = "2027-03-28T01:00+00";
    let ends = berlin(&[daily("00:00", "02:30")], &[]);
    assert_eq!(ends.at(time("2027-03-28T00:30+00")), open(gap));
    let starts = berlin(&[daily("02:30", "05:00")], &[]);
    assert_eq!(starts.at(time("2027-03-28T00:30+00")), closed(gap));
    assert_eq!(starts.at(time(gap)), open("2027-03-28T03:00+00"));
    let within = berlin(&[daily("02:10", "02:50")], &[]);
    assert_eq!(within.at(time("2027-03-28T00:30+00")), closed("2027-03-29T00:10+00"));
    let denied = berlin(&[daily("00:00", "24:00")], &[("2027-03-28T00:00", "2027-03-28T02:30")]);
    assert_eq!(denied.at(time("2027-03-27T23:30+00")), closed(gap));
}

#[test]
fn the_hour_that_is_shown_twice_is_inside_twice() {
    // In Berlin, 2026-10-25 03:00 is followed by 02:00: at 01:00 UTC.
    let around = berlin(&[daily("01:30", "03:30")], &[]);
    assert_eq!(around.at(time("2026-10-24T23:30+00")), open("2026-10-25T02:30+00"), "three hours long");
    let ends = berlin(&[daily("01:00", "02:30")], &[]);
    assert_eq!(ends.at(time("2026-10-25T00:00+00")), open("2026-10-25T00:30+00"));
    assert_eq!(ends.at(time("2026-10-25T00:30+00")), closed("2026-10-25T01:00+00"));
    assert_eq!(ends.at(time("2026-10-25T01:00+00")), open("2026-10-25T01:30+00"));
    let starts = berlin(&[daily("02:30", "04:00")], &[]);
    assert_eq!(starts.at(time("2026-10-25T00:30+00")), open("2026-10-25T01:00+00"));
    assert_eq!(starts.at(time("2026-10-25T01:00+00")), closed("2026-10-25T01:30+00"));
}

#[test]
fn a_day_that_a_country_skipped_did_not_take_place() {
    // Samoa had no 30 December 2011: at 10:00 UTC of that day, the 31st followed the 29th.
    let window = Window::new("Pacific/Apia", Some(&[span("fri", "00:00", "24:00")]), &[]).unwrap();
    assert_eq!(window.at(time("2011-12-29T12:00+00")), closed("2012-01-05T10:00+00"));
}

#[test]
fn zones_are_known_by_their_exact_names() {
    for name in ["Europe/Berlin", "UTC", "Etc/UTC", "Asia/Shanghai", "Africa/Johannesburg"] {
        assert!(zone(name).is_some(), "{name}");
    }
    for name in ["Europe/Berln", "europe/berlin", "", "CEST", "+02:00", "Etc/Unknown", "../UTC"] {
        assert!(zone(name).is_none(), "{name}");
    }
}

#[test]
fn the_journal_gives_back_what_it_was_given() {
    let window = berlin(&[daily("22:00", "06:00")], &[("2026-12-20T00:00", "2027-01-03T00:00")]);
    let text = serde_json::to_string(&window).unwrap();
    assert!(text.contains(r#"["mon 22:00","tue 06:00"]"#) && text.contains("sun 24:00"), "{text}");
    assert_eq!(serde_json::from_str::<Window>(&text).unwrap(), window);
    assert!(serde_json::from_str::<Window>(&text.replace("22:00", "25:00")).is_err());
}

#[test]
fn a_zone_that_the_machine_has_forgotten_never_opens() {
    let text = r#"{"timezone":"Atlantis/Harbour","open":[["mon 00:00","sun 24:00"]]}"#;
    let window: Window = serde_json::from_str(text).unwrap();
    assert_eq!(window.at(time("2026-11-23T12:00+00")), WindowState::Closed { opens: None });
    assert_eq!(serde_json::to_string(&window).unwrap(), text);
}

#[test]
fn a_time_of_day_is_two_digits_and_two() {
    assert_eq!(minute_of_day("00:00"), Some(0));
    assert_eq!(minute_of_day("24:00"), Some(DAY));
    for text in ["24:01", "25:00", "12:60", "9:00", "09:0", "+9:00", "0900", "", ":", "09:00:00", "١٢:٠٠"]
    {
        assert_eq!(minute_of_day(text), None, "{text}");
    }
}

/// The same by the words of the configuration: day by day, and nothing joined.
fn by_the_book(
    zone: &TimeZone,
    allow: Option<&[Span]>,
    deny: &[(DateTime, DateTime)],
    now: Timestamp,
) -> bool {
    let shown = zone.to_datetime(now);
    let minute = u16::try_from(shown.hour()).unwrap() * 60 + u16::try_from(shown.minute()).unwrap();
    let today = usize::from(shown.date().weekday().to_monday_zero_offset().unsigned_abs());
    let yesterday = (today + 6) % 7;
    let inside = |span: &Span| {
        let over_midnight = span.to <= span.from;
        if over_midnight {
            (span.days[today] && minute >= span.from) || (span.days[yesterday] && minute < span.to)
        } else {
            span.days[today] && (span.from..span.to).contains(&minute)
        }
    };
    allow.is_none_or(|spans| spans.iter().any(inside))
        && !deny.iter().any(|(from, to)| *from <= shown && shown < *to)
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let minute = prop_oneof![(0..24_u16).prop_map(|hour| hour * 60), 0..DAY];
    let span = (any::<[bool; 7]>(), minute.clone(), minute).prop_map(|(days, from, to)| Span {
        days,
        from,
        to: if to == 0 { DAY } else { to },
    });
    proptest::collection::vec(span, 1..4)
}

fn denials(around: DateTime) -> impl Strategy<Value = Vec<(DateTime, DateTime)>> {
    let denial = (-6_000_i64..6_000, 1_i64..4_000).prop_map(move |(start, length)| {
        let from = around + SignedDuration::from_mins(start);
        (from, from + SignedDuration::from_mins(length))
    });
    proptest::collection::vec(denial, 0..3)
}

/// Around turns of the clock, of every size: an hour, half an hour, a day; and none.
const TURNS: [(&str, &str); 7] = [
    ("Europe/Berlin", "2026-10-25T00:00"),
    ("Europe/Berlin", "2027-03-28T00:00"),
    ("Australia/Lord_Howe", "2026-10-04T00:00"),
    ("America/New_York", "2026-11-01T00:00"),
    ("Pacific/Apia", "2011-12-30T00:00"),
    ("America/Santiago", "2026-09-06T00:00"),
    ("UTC", "2026-12-31T00:00"),
];

/// A zone, a moment, and a window's allow and deny.
type Case = (&'static str, Timestamp, Option<Vec<Span>>, Vec<(DateTime, DateTime)>);

fn cases() -> impl Strategy<Value = Case> {
    (0..TURNS.len()).prop_flat_map(|case| {
        let (name, around) = TURNS[case];
        let around: DateTime = around.parse().unwrap();
        let start = zone(name).unwrap().to_timestamp(around).unwrap() - 24.hours();
        (
            Just(name),
            (0_i64..2_880).prop_map(move |minutes| start + minutes.minutes()),
            proptest::option::of(spans()),
            denials(around),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_the_words_of_the_configuration_minute_by_minute((name, start, allow, deny) in cases()) {
        let zone = zone(name).unwrap();
        let window = Window::new(name, allow.as_deref(), &deny).unwrap();
        let by_the_book = |now| by_the_book(&zone, allow.as_deref(), &deny, now);
        // From the first answer on, every minute is as it said until the change that it named, and not after.
        let (is_open, change) = match window.at(start) {
            WindowState::Open { closes } => (true, closes),
            WindowState::Closed { opens } => (false, opens),
        };
        let mut now = start;
        let end = start + SignedDuration::from_hours(24 * 10);
        while now < change.unwrap_or(end).min(end) {
            prop_assert_eq!(by_the_book(now), is_open, "{}", now);
            now += 1.minute();
        }
        if let Some(change) = change {
            prop_assert!(change > start);
            prop_assert_eq!(by_the_book(change), !is_open, "{}", change);
            prop_assert_eq!(by_the_book(change - 1.minute()) , is_open);
            let there = matches!(window.at(change), WindowState::Open { .. });
            prop_assert_eq!(there, !is_open);
        }
    }
}
