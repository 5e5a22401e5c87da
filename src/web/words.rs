//! Texts and times as a page shows them.

use jiff::Timestamp;

use crate::model::outlook::{Block, Outlook};
use crate::model::text::{named, shown, utc, utc_for_programs};

/// No text is longer on a page.
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

/// Words of ours, with `commands` in backticks.
pub(super) struct Prose(pub(super) Vec<(String, bool)>);

impl Prose {
    pub(super) fn new(text: &str) -> Self {
        // What stands between two backticks is every other part.
        let parts = text.split('`').enumerate().filter(|(_, part)| !part.is_empty());
        Self(parts.map(|(place, part)| (part.to_owned(), place % 2 == 1)).collect())
    }
}

pub(super) fn clean(text: &str) -> String {
    shown(text, LONGEST)
}

/// A name that somebody gave, or that there is none.
pub(super) fn name(text: &str) -> String {
    named(text, 200)
}

pub(super) fn one_or(number: usize, one: &'static str, many: &'static str) -> &'static str {
    if number == 1 { one } else { many }
}

/// What blocks the next request, with what ends it: code, sentence, command. What the reason says already is not said twice.
pub(super) fn blocks(outlook: &Outlook) -> Vec<(String, String, Option<String>)> {
    let block = |block: &Block| {
        let is_said = block.code == outlook.reason.code;
        let text = if is_said { String::new() } else { clean(&block.text) };
        (!is_said || block.ended_by.is_some()).then(|| (block.code.clone(), text, block.ended_by.clone()))
    };
    outlook.blocked_by.iter().filter_map(block).collect()
}
