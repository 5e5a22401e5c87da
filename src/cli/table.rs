//! Tables for a terminal of 80 columns.

use std::io::{IsTerminal as _, stdout};

use comfy_table::{ContentArrangement, Table, presets};

/// A plain table with these headings.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(80);
    table.set_header(headings.iter().copied());
    table
}

/// The same, but as wide as its texts where no terminal shows it: what reads it then takes a sentence in one line.
pub(super) fn wide(headings: &[&str]) -> Table {
    let mut table = table(headings);
    if !stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table
}

/// The table as text, without blanks at the ends of lines.
pub(super) fn text(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
