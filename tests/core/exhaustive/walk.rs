//! Every state that can be reached, breadth first, so that the first way to anything is the shortest.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};

use super::plans::Plan;
use super::state::{Reached, State, Step, Told};

/// Digests are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) states: usize,
    pub(crate) transitions: u64,
    /// Steps on the longest of the shortest ways.
    pub(crate) depth: u32,
    pub(crate) reached: Reached,
    /// The first violations, one of each kind, with the shortest way to each.
    pub(crate) wrong: Vec<(String, String)>,
}

/// Walks. It ends with the violation number `enough`.
pub(crate) fn walk(plan: &Plan, enough: usize) -> Walked {
    let mut seen: HashSet<u64, BuildHasherDefault<AsItIs>> = HashSet::default();
    let mut ways: Vec<(u32, u8)> = vec![(0, 0)];
    let first = State::first(plan);
    seen.insert(first.digest(plan));
    let mut frontier = vec![(0_u32, first)];
    let mut walked =
        Walked { states: 1, transitions: 0, depth: 0, reached: Reached::new(), wrong: Vec::new() };
    let mut steps = Vec::new();
    let mut told = Told::default();
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for (id, state) in frontier {
            state.steps(plan, &mut steps);
            for (nth, step) in steps.iter().enumerate() {
                walked.transitions += 1;
                told.0.clear();
                let (after, result) = state.take(plan, *step, &mut walked.reached, &mut told);
                let nth = u8::try_from(nth).unwrap();
                if let Err(wrong) = result {
                    if !walked.wrong.iter().any(|(known, _)| *known == wrong) {
                        walked.wrong.push((wrong, story(plan, &ways, id, nth)));
                        if walked.wrong.len() >= enough {
                            walked.states = ways.len();
                            return walked;
                        }
                    }
                    // Nothing that follows from it is another finding.
                    continue;
                }
                if seen.insert(after.digest(plan)) {
                    let number = u32::try_from(ways.len()).unwrap();
                    ways.push((id, nth));
                    next.push((number, after));
                }
            }
        }
        frontier = next;
        walked.depth += 1;
    }
    walked.states = ways.len();
    walked
}

/// Whether states with one digest go on alike: each way into a state that is known already is gone one step further, and
/// compared. How many there were, or in what the two states differ that another future follows from.
pub(crate) fn goes_on_alike(plan: &Plan) -> Result<usize, String> {
    type Futures = Vec<(u64, Option<String>)>;
    let mut known: HashMap<u64, (State, Futures)> = HashMap::new();
    let mut queue = VecDeque::from([State::first(plan)]);
    let (mut steps, mut told, mut reached) = (Vec::new(), Told::default(), Reached::new());
    let mut compared = 0;
    while let Some(state) = queue.pop_front() {
        state.steps(plan, &mut steps);
        let mut after = Vec::new();
        let mut futures = Vec::new();
        for step in &steps {
            let (next, result) = state.take(plan, *step, &mut reached, &mut told);
            futures.push((next.digest(plan), result.clone().err()));
            after.extend(result.is_ok().then_some(next));
        }
        match known.entry(state.digest(plan)) {
            Entry::Vacant(new) => {
                new.insert((state, futures));
                queue.extend(after);
            }
            Entry::Occupied(alike) if alike.get().1 == futures => compared += 1,
            Entry::Occupied(alike) => {
                let (one, its) = alike.get();
                let mut differ =
                    steps.iter().zip(its.iter().zip(&futures)).filter(|(_, (one, other))| one != other);
                let (one, other) = (format!("{one:#?}"), format!("{state:#?}"));
                let lines = one.lines().zip(other.lines()).filter(|(one, other)| one != other);
                let lines: Vec<_> = lines.map(|(one, other)| format!("{one} / {other}")).collect();
                return Err(format!("{:?} leads elsewhere:\n{}", differ.next(), lines.join("\n")));
            }
        }
    }
    Ok(compared)
}

/// The way to a state, and one step further, as a story.
fn story(plan: &Plan, ways: &[(u32, u8)], mut id: u32, last: u8) -> String {
    let mut way = vec![last];
    while id != 0 {
        let (before, nth) = ways[usize::try_from(id).unwrap()];
        way.push(nth);
        id = before;
    }
    way.reverse();
    let mut state = State::first(plan);
    let (mut steps, mut reached, mut text) = (Vec::new(), Reached::new(), String::new());
    let mut ticks_passed = 0;
    for nth in way {
        state.steps(plan, &mut steps);
        let step = steps[usize::from(nth)];
        ticks_passed += u32::from(step == Step::Tick);
        let mut told = Told::default();
        let (after, result) = state.take(plan, step, &mut reached, &mut told);
        let now = after.world.now;
        let _ = writeln!(
            text,
            "tick {ticks_passed:>2}  {:28} task {:?} execution {} completed {}{}",
            format!("{step:?}"),
            now.status,
            now.execution,
            now.completed,
            if after.world.late.is_empty() { "" } else { ", a PUT is on its way" },
        );
        for line in told.0 {
            let _ = writeln!(text, "              {line}");
        }
        if let Err(wrong) = result {
            let _ = writeln!(text, "         ✗    {wrong}");
        }
        state = after;
    }
    text
}
