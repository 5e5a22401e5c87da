//! The timeline of one task as a drawing: the positions in percent of the width, and the same in
//! words. This module makes no markup; the template writes its texts and numbers.

use std::fmt::{self, Write as _};

use askama::Template;
use jiff::Timestamp;

use self::story::{Fate, Request, Span, State, Story};
use super::{ClusterView, texts};
use crate::model::action::Action;
use crate::model::text::{away, named, utc, utc_of_tick};

mod axis;
mod story;
#[cfg(test)]
mod tests;

/// The height above the lanes, of a lane, and below the lanes, in pixels.
const TOP: u32 = 18;
const LANE: u32 = 40;
const BELOW: u32 = 34;
/// A narrower piece is drawn together with the next one.
const NARROWEST: f64 = 0.4;
/// Marks that are nearer to each other than this become one with a number: the second distance
/// applies if a number has several digits. On the narrowest screen a mark is 4 % wide, and a number
/// of three digits 10 %.
const DISTANCES: [f64; 2] = [4.5, 11.0];
/// A number of more digits than this would not fit.
const MOST_COUNTED: usize = 999;

/// A place on the axis of time, in percent of the width.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}%", self.0)
    }
}

/// The drawing.
#[derive(Debug, Template)]
#[template(path = "picture.html")]
pub(super) struct Picture {
    title: String,
    /// The whole drawing, in words.
    description: String,
    height: u32,
    lanes: Vec<Lane>,
    ticks: Vec<Tick>,
    now: Option<Percent>,
    keys: Vec<(&'static str, &'static str)>,
    /// Some marks stand for several events.
    is_counted: bool,
    is_cut: bool,
}

/// A row of the drawing, with its label above it.
#[derive(Debug)]
struct Lane {
    label: String,
    top: u32,
    pieces: Vec<Piece>,
    marks: Vec<Mark>,
}

/// A state with a duration.
#[derive(Debug)]
struct Piece {
    x: Percent,
    width: Percent,
    /// Of the height of a lane, in pixels.
    height: u32,
    class: &'static str,
    words: String,
}

/// An event.
#[derive(Debug)]
struct Mark {
    x: Percent,
    shape: Shape,
    class: &'static str,
    count: usize,
    words: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Circle,
    Square,
    Cross,
}

/// A place on the axis with its labels.
#[derive(Debug)]
struct Tick {
    x: Percent,
    label: String,
    /// The day, or the year, if it differs from that of the tick before.
    larger: String,
}

impl Lane {
    fn of(label: String, pieces: Vec<Piece>, marks: Vec<Mark>) -> Option<Self> {
        let is_empty = pieces.is_empty() && marks.is_empty();
        (!is_empty).then_some(Self { label, top: 0, pieces, marks })
    }

    /// Returns the whole lane in words.
    fn words(&self) -> String {
        let pieces = self.pieces.iter().map(|piece| piece.words.as_str());
        let all: Vec<&str> = pieces.chain(self.marks.iter().map(|mark| mark.words.as_str())).collect();
        format!("{}: {}.", self.label, all.join("; "))
    }
}

impl Mark {
    /// Returns the number in the mark, if it stands for several events.
    fn number(&self) -> Option<String> {
        match self.count {
            0 | 1 => None,
            count if count > MOST_COUNTED => Some(format!("{MOST_COUNTED}+")),
            count => Some(count.to_string()),
        }
    }

    /// Returns the width of the shape with that number.
    fn pill(&self) -> u32 {
        let digits = self.number().map_or(0, |number| number.len());
        8 + 7 * u32::try_from(digits).unwrap_or(0)
    }

    fn half(&self) -> String {
        format!("-{}", f64::from(self.pill()) / 2.0)
    }
}

/// The position of a moment.
#[derive(Debug, Clone, Copy)]
struct Scale {
    from: Timestamp,
    seconds: f64,
}

impl Scale {
    fn new(story: &Story) -> Self {
        Self { from: story.from, seconds: story.to.duration_since(story.from).as_secs_f64().max(1.0) }
    }

    fn x(self, at: Timestamp) -> f64 {
        (at.duration_since(self.from).as_secs_f64() / self.seconds * 100.0).clamp(0.0, 100.0)
    }
}

impl Picture {
    /// Makes the drawing of the task of the explanation, if the journal has entries of it.
    pub(super) fn new(view: &ClusterView) -> Option<Self> {
        let story = Story::new(view)?;
        let known = &view.explanation;
        let task = &known.lifecycle.as_ref()?.task;
        let title = texts::title(task.as_str(), &named(&known.cluster_name, 200));
        Some(Self::of(&story, title, view.cut))
    }

    fn of(story: &Story, title: String, is_cut: bool) -> Self {
        let scale = Scale::new(story);
        let mut lanes: Vec<Lane> = [
            states(story, scale),
            failures(story, scale),
            nodes(story, scale),
            requests(story, scale, Action::Retry),
            requests(story, scale, Action::Abort),
            next(story, scale),
        ]
        .into_iter()
        .flatten()
        .chain(blocks(story, scale))
        .collect();
        let mut top = TOP;
        for lane in &mut lanes {
            lane.top = top;
            top += LANE;
        }
        let is_in_it = story.from <= story.now && story.now <= story.to;
        let marks = || lanes.iter().flat_map(|lane| &lane.marks);
        Self {
            description: described(story, &lanes, is_cut),
            height: top + BELOW,
            keys: keys(&lanes),
            ticks: axis::ticks(story.from, story.to, |at| scale.x(at)),
            now: is_in_it.then(|| Percent(scale.x(story.now))),
            is_counted: marks().any(|mark| mark.count > 1),
            lanes,
            title,
            is_cut,
        }
    }

    /// Returns the lower end of the lanes.
    fn bottom(&self) -> u32 {
        self.height - BELOW
    }

    fn axis_label(&self) -> u32 {
        self.bottom() + 14
    }

    fn axis_larger(&self) -> u32 {
        self.bottom() + 28
    }
}

/// Returns the drawing in words.
fn described(story: &Story, lanes: &[Lane], is_cut: bool) -> String {
    let mut words = texts::range(&utc(story.from), &utc(story.to), &utc(story.now));
    if is_cut {
        let _ = write!(words, " {}", texts::CUT_IN_WORDS);
    }
    for lane in lanes {
        let _ = write!(words, " {}", lane.words());
    }
    words
}

/// Returns the meaning of the classes and shapes of this drawing.
fn keys(lanes: &[Lane]) -> Vec<(&'static str, &'static str)> {
    let mut used: Vec<&str> = Vec::new();
    for lane in lanes {
        used.extend(lane.pieces.iter().map(|piece| piece.class));
        used.extend(lane.marks.iter().map(|mark| mark.class));
    }
    let states = [State::Running, State::Waiting, State::Confirming, State::Operator];
    let states = states.map(|state| (state.class(), state.words()));
    let fates = Fate::ALL.map(|fate| (fate.class(), fate.words()));
    let all = states.into_iter().chain([("several", texts::SEVERAL)]).chain(fates);
    all.chain([("mixed", texts::MIXED)]).filter(|(class, _)| used.contains(class)).collect()
}

fn from_to<T>(span: &Span<T>) -> String {
    match span.to {
        Some(to) => texts::from_to(&utc(span.from), &utc(to)),
        None => texts::from_on(&utc(span.from)),
    }
}

/// Returns the pieces of these spans. Spans that are too narrow to be seen become one with the next
/// ones.
fn pieces<T>(
    story: &Story,
    scale: Scale,
    spans: &[Span<T>],
    class: impl Fn(&T) -> &'static str,
    height: impl Fn(&T) -> u32,
    words: impl Fn(&T) -> String,
) -> Vec<Piece> {
    let place = |span: &Span<T>| {
        let (x, to) = (scale.x(span.from), span.to.map_or(100.0, |to| scale.x(to.min(story.to))));
        (x, to.max(x))
    };
    let is_narrow = |(x, to): (f64, f64)| to - x < NARROWEST;
    let mut pieces = Vec::new();
    let mut left = spans;
    while let Some((first, rest)) = left.split_first() {
        let (x, mut to) = place(first);
        let mut together = 1;
        if is_narrow((x, to)) {
            let near = |next: &&Span<T>| {
                let (next_x, next_to) = place(next);
                is_narrow((next_x, next_to)) && next_x >= x && next_to - x < NARROWEST
            };
            for next in rest.iter().take_while(near) {
                to = to.max(place(next).1);
                together += 1;
            }
        }
        let (all, others) = left.split_at(together);
        left = others;
        let (piece_class, words) = match all.last() {
            Some(last) if together > 1 => {
                let is_one = all.iter().all(|span| class(&span.what) == class(&first.what));
                let mut what: Vec<String> = all.iter().map(|span| words(&span.what)).collect();
                what.sort();
                what.dedup();
                what.truncate(6);
                let over = Span { what: (), from: first.from, to: last.to.map(|to| to.max(first.from)) };
                let words = texts::together(together, &from_to(&over), &what.join(", "));
                (if is_one { class(&first.what) } else { "several" }, words)
            }
            _ => (class(&first.what), format!("{} {}", words(&first.what), from_to(first))),
        };
        let width = (to - x).max(NARROWEST);
        let highest = all.iter().map(|span| height(&span.what)).max().unwrap_or(0);
        let x = x.min(100.0 - width);
        pieces.push(Piece {
            x: Percent(x),
            width: Percent(width),
            height: highest,
            class: piece_class,
            words,
        });
    }
    pieces
}

/// Groups those that are too near to each other to be distinguished, with the place of the first.
fn grouped<T>(mut all: Vec<(f64, T)>) -> Vec<(f64, Vec<T>)> {
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = |distance: f64| {
        let (mut most, mut group, mut begin) = (0_usize, 0, f64::NEG_INFINITY);
        for (x, _) in &all {
            if x - begin < distance {
                group += 1;
            } else {
                (group, begin) = (1, *x);
            }
            most = most.max(group);
        }
        most
    };
    let [near, far] = DISTANCES;
    let distance = if count(near) > 9 { far } else { near };
    let mut groups: Vec<(f64, Vec<T>)> = Vec::new();
    for (x, one) in all {
        match groups.last_mut() {
            Some((begin, group)) if x - *begin < distance => group.push(one),
            _ => groups.push((x, vec![one])),
        }
    }
    groups
}

/// As [`from_to`], for the first and the last of a group.
fn between(times: impl Iterator<Item = Timestamp> + Clone) -> String {
    let ends = times.clone().min().zip(times.max());
    ends.map_or_else(String::new, |(from, to)| texts::from_to(&utc(from), &utc(to)))
}

const FULL: u32 = 16;

fn states(story: &Story, scale: Scale) -> Option<Lane> {
    let class = |state: &State| state.class();
    let pieces = pieces(story, scale, &story.spans, class, |_| FULL, |state| state.words().to_owned());
    let label = match story.ended {
        Some((_, outcome)) => texts::task_ended(outcome),
        None => texts::TASK.to_owned(),
    };
    let end = story.ended.map(|(at, outcome)| Mark {
        x: Percent(scale.x(at)),
        shape: Shape::Square,
        class: "end",
        count: 1,
        words: texts::ended(&utc(at), outcome),
    });
    Lane::of(label, pieces, end.into_iter().collect())
}

fn failures(story: &Story, scale: Scale) -> Option<Lane> {
    let all = story.failures.iter().map(|failure| (scale.x(failure.0), *failure)).collect();
    let mark = |(x, group): (f64, Vec<(Timestamp, u32)>)| {
        let words = match group.as_slice() {
            [(at, number)] => texts::failure(*number, &utc(*at)),
            many => texts::failures(many.len(), &between(many.iter().map(|failure| failure.0))),
        };
        Mark { x: Percent(x), shape: Shape::Cross, class: "failure", count: group.len(), words }
    };
    let marks = grouped(all).into_iter().map(mark).collect();
    Lane::of(texts::failures_label(story.failures.len() as u64), Vec::new(), marks)
}

fn nodes(story: &Story, scale: Scale) -> Option<Lane> {
    let done: Vec<Span<u32>> = story.nodes.iter().filter(|span| span.what > 0).cloned().collect();
    let most = done.iter().map(|span| span.what).max()?;
    let all = story.all_nodes.unwrap_or(most).max(most);
    let height =
        |done: &u32| u32::try_from(u64::from(FULL) * u64::from(*done) / u64::from(all)).unwrap_or(FULL);
    let words = |done: &u32| texts::nodes(*done);
    let label = texts::nodes_label(most, story.all_nodes.map(|_| all));
    Lane::of(label, pieces(story, scale, &done, |_| "nodes", |done| height(done).max(2), words), Vec::new())
}

fn shape(action: Action) -> Shape {
    match action {
        Action::Retry => Shape::Circle,
        Action::Abort => Shape::Square,
    }
}

fn requests(story: &Story, scale: Scale, action: Action) -> Option<Lane> {
    let of_it = || story.requests.iter().filter(|request| request.action == action);
    let all = of_it().map(|request| (scale.x(request.at), *request)).collect();
    let mark = |(x, group): (f64, Vec<Request>)| {
        let of = |fate: Fate| group.iter().filter(|request| request.fate == fate).count();
        let fates: Vec<Fate> = Fate::ALL.into_iter().filter(|fate| of(*fate) > 0).collect();
        let class = if let [fate] = fates.as_slice() { fate.class() } else { "mixed" };
        let words = match group.as_slice() {
            [request] => {
                let (id, at) = (request.id.to_string(), utc(request.at));
                texts::request(action.verb(), &id, &at, request.fate.words())
            }
            many => {
                let fates: Vec<String> =
                    fates.iter().map(|fate| format!("{} {}", of(*fate), fate.words())).collect();
                let when = between(many.iter().map(|request| request.at));
                texts::requests(action.verb(), many.len(), &when, &fates.join(", "))
            }
        };
        Mark { x: Percent(x), shape: shape(action), class, count: group.len(), words }
    };
    let marks = grouped(all).into_iter().map(mark).collect();
    let count = of_it().count() as u64;
    let label = match action {
        Action::Retry => texts::retries_label(count),
        Action::Abort => texts::aborts_label(count),
    };
    Lane::of(label, Vec::new(), marks)
}

fn next(story: &Story, scale: Scale) -> Option<Lane> {
    let next = story.next?;
    let words = texts::next(next.action.verb(), &utc(next.at), &away(next.at, story.now));
    let x = Percent(scale.x(next.at));
    let mark = Mark { x, shape: shape(next.action), class: "next", count: 1, words: words.clone() };
    Lane::of(texts::next_label(&words), Vec::new(), vec![mark])
}

/// Returns a lane for each code, in the order in which they first came into force.
fn blocks(story: &Story, scale: Scale) -> Vec<Lane> {
    let mut codes: Vec<&str> = Vec::new();
    for block in &story.blocks {
        if !codes.contains(&block.what.code.as_str()) {
            codes.push(&block.what.code);
        }
    }
    let lane = |code: &str| {
        let mut of_it: Vec<Span<story::Block>> =
            story.blocks.iter().filter(|block| block.what.code == code).cloned().collect();
        of_it.sort_by_key(|block| block.from);
        let last = of_it.iter().max_by_key(|block| block.to.unwrap_or(Timestamp::MAX))?;
        let name = if of_it.len() == 1 { &last.what.name } else { &story::Block::of(code).name };
        let label = match last.to {
            Some(to) if to > story.now => texts::block_until(name, &utc(to)),
            Some(_) => texts::block_over(name),
            None => texts::block_without_end(name),
        };
        let words = |block: &story::Block| block.name.clone();
        let class = if code == "on-hold" { "hold" } else { "block" };
        Lane::of(label, pieces(story, scale, &of_it, |_| class, |_| FULL, words), Vec::new())
    };
    codes.into_iter().filter_map(lane).collect()
}
