//! Texts and times as a page shows them.

use jiff::Timestamp;

use crate::model::command::command;
use crate::model::id::ClusterId;
use crate::model::outlook::{Block, Outlook};
use crate::model::text::{named, shown, utc, utc_for_programs};

/// The longest text on a page.
const LONGEST: usize = 2_000;

/// A time for people and for machines.
pub(super) struct Time(pub(super) Timestamp);

impl Time {
    pub(super) fn words(&self) -> String {
        utc(self.0)
    }

    pub(super) fn machine(&self) -> String {
        utc_for_programs(self.0)
    }
}

/// A text of the program, with `commands` in backticks.
pub(super) struct Prose(pub(super) Vec<(String, bool)>);

impl Prose {
    pub(super) fn new(text: &str) -> Self {
        // Every other part is between two backticks.
        let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
        Self(parts.map(|(place, part)| (part.to_owned(), place % 2 == 1)).collect())
    }

    /// A step of an operator on this cluster, with each of its commands as a whole.
    pub(super) fn of_step(step: Option<&str>, cluster: &ClusterId) -> Self {
        let mut prose = Self::new(step.unwrap_or_default());
        for (part, _) in prose.0.iter_mut().filter(|(_, is_code)| *is_code) {
            let arguments = match part.as_str() {
                "hold" => format!("hold cluster:{cluster} --reason \"…\""),
                verb @ ("retry-now" | "abort" | "reset") => format!("{verb} {cluster} --reason \"…\""),
                _ => continue,
            };
            *part = command(arguments);
        }
        prose
    }
}

pub(super) fn clean(text: &str) -> String {
    shown(text, LONGEST)
}

/// Returns a name from outside, or that there is none.
pub(super) fn name(text: &str) -> String {
    named(text, 200)
}

pub(super) fn one_or(number: usize, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

/// Returns what blocks the next request, with what ends it: code, sentence, command. The sentence
/// is not repeated if the reason has it.
pub(super) fn blocks(outlook: &Outlook) -> Vec<(String, String, Option<String>)> {
    let block = |block: &Block| {
        let is_said = block.code == outlook.reason.code;
        let text = if is_said { String::new() } else { clean(&block.text) };
        (!is_said || block.ended_by.is_some()).then(|| (block.code.clone(), text, block.ended_by.clone()))
    };
    outlook.blocked_by.iter().filter_map(block).collect()
}
