//! What is sent to one channel at once: one notice, or the notices of a project since the last
//! message, with counts.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::Kind;
use super::notice::{Notice, at};
use crate::model::command::program;
use crate::model::level::Level;
use crate::model::text::{counted, shown, utc_for_programs};

/// One message to one channel, of one project.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The same for the same message, however often it has to be sent: 32 hexadecimal digits.
    pub id: String,
    /// When the latest of it happened.
    pub at: Timestamp,
    /// The name of the project; empty if there is none.
    pub project: String,
    /// The notices that are shown in full, in the order in which they happened.
    pub notices: Vec<Notice>,
    /// The number of notices of each kind, the most important first; those in full are counted too.
    pub counts: Vec<(Kind, u64)>,
    /// The receiver would not accept the full message: show only what an operator needs to act.
    pub short: bool,
}

impl Message {
    /// A message of one notice.
    pub fn of_one(id: String, notice: Notice) -> Self {
        Self {
            id,
            at: notice.at,
            project: notice.project.clone(),
            counts: vec![(notice.kind, 1)],
            notices: vec![notice],
            short: false,
        }
    }

    /// Returns how many notices it stands for.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// Returns the highest level of its notices.
    pub fn severity(&self) -> Level {
        self.counts.iter().map(|(kind, _)| kind.severity()).max().unwrap_or(Level::Info)
    }

    /// Returns one line for a heading.
    pub fn title(&self) -> String {
        let project = if self.project.is_empty() { "everything" } else { &self.project };
        match self.notices.as_slice() {
            [notice] if self.total() == 1 && notice.cluster.is_some() => {
                format!("[{}] {}: {}", self.severity().word(), shown(project, 60), notice.title)
            }
            [notice] if self.total() == 1 => format!("[{}] {}", self.severity().word(), notice.title),
            _ => {
                // The count of the one kind is the total.
                let total = match self.counts.as_slice() {
                    [_] => String::new(),
                    _ => format!("{}: ", counted(self.total(), "notification", "notifications")),
                };
                format!(
                    "[{}] {}: {total}{}",
                    self.severity().word(),
                    shown(project, 60),
                    self.counts_in_words(3)
                )
            }
        }
    }

    fn counts_in_words(&self, at_most: usize) -> String {
        let shown: Vec<String> = self
            .counts
            .iter()
            .take(at_most)
            .map(|(kind, count)| format!("{count} × {}", kind.title()))
            .collect();
        let rest: u64 = self.counts.iter().skip(at_most).map(|(_, count)| count).sum();
        let rest = if rest > 0 { format!(", {rest} more") } else { String::new() };
        format!("{}{rest}", shown.join(", "))
    }

    /// Returns the message as plain text of at most `at_most` bytes. Each notice has its heading,
    /// then a short form, then its full form, the most important first, as far as there is room,
    /// and keeps its place; the remaining ones are only counted.
    pub fn text(&self, at_most: usize) -> String {
        let foot = format!("\n\nmessage {}", self.id);
        let mut left = at_most.saturating_sub(foot.len() + 120);
        let mut text = String::new();
        if self.notices.len() != 1 || self.total() != 1 {
            text = cut(&format!("{}\n", self.counts_in_words(usize::MAX)), left);
            left = left.saturating_sub(text.len());
        }
        let mut order: Vec<&Notice> = self.notices.iter().collect();
        order.sort_by_key(|notice| std::cmp::Reverse(notice.kind.rank()));
        let mut parts: Vec<(&Notice, String)> = Vec::new();
        for notice in &order {
            let part = heading(notice);
            if part.len() + 2 > left {
                if parts.is_empty() {
                    // A part of the first notice is better than none.
                    parts.push((notice, cut(&part, left)));
                    left = 0;
                }
                break;
            }
            left -= part.len() + 2;
            parts.push((notice, part));
        }
        // First what an operator needs to act, for as many notices as possible; then everything.
        let fuller: &[fn(&Notice) -> String] = if self.short { &[brief] } else { &[brief, full] };
        for tell in fuller {
            for (notice, part) in &mut parts {
                let more = tell(notice);
                if let Some(grows) = more.len().checked_sub(part.len()).filter(|grows| *grows <= left) {
                    left -= grows;
                    *part = more;
                }
            }
        }
        let omitted = self.total().saturating_sub(parts.len() as u64);
        for (_, part) in parts {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&part);
            text.push('\n');
        }
        if omitted > 0 {
            let _ = write!(text, "\n… and {omitted} more: {} history --since {}", program(), since(self));
        }
        let mut text = text.trim_end().to_owned();
        text.push_str(&foot);
        text
    }

    /// Returns the message for machines.
    pub fn to_json(&self) -> Value {
        json!({
            "title": self.title(),
            "severity": self.severity(),
            "project": if self.project.is_empty() { Value::Null } else { json!(self.project) },
            "total": self.total(),
            "counts": self.counts.iter().map(|(kind, count)| (kind.word(), count)).collect::<std::collections::BTreeMap<_, _>>(),
            "notices": self.notices,
        })
    }
}

/// Returns a time from which the history shows all of it.
fn since(message: &Message) -> String {
    let first = message.notices.iter().map(|notice| notice.at).min().unwrap_or(message.at);
    utc_for_programs(first)
}

/// At most so many bytes of it.
pub fn cut(text: &str, at_most: usize) -> String {
    if text.len() <= at_most {
        return text.to_owned();
    }
    let mut end = at_most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn heading(notice: &Notice) -> String {
    format!("{}  {}", at(notice.at), notice.title)
}

/// Returns what happened, why, what is next, and the first thing that an operator can do.
fn brief(notice: &Notice) -> String {
    let mut text = format!("{}\nWhat:  {}", heading(notice), cut(&notice.what, 200));
    if let Some(why) = notice.why.as_ref().filter(|_| notice.severity == Level::Critical) {
        let _ = write!(text, "\nWhy:   {}", cut(&why.text, 200));
    }
    if !notice.next.is_empty() {
        let _ = write!(text, "\nNext:  {}", cut(&notice.next, 400));
    }
    if let Some(todo) = notice.todo.first() {
        let _ = write!(text, "\nDo:    {}", todo.in_words());
    }
    text
}

/// Returns all of it.
fn full(notice: &Notice) -> String {
    let mut text = format!("{}\nWhat:  {}", heading(notice), notice.what);
    let mut line = |head: &str, what: &str| {
        let _ = write!(text, "\n{head:<6} {what}");
    };
    if let Some(why) = &notice.why {
        line("Why:", &format!("{} [{}]", why.text, why.code));
    }
    if !notice.next.is_empty() {
        line("Next:", &notice.next);
    }
    for (place, todo) in notice.todo.iter().enumerate() {
        let head = if place == 0 { "Do:" } else { "" };
        line(head, &todo.in_words());
    }
    if let (Some(about), Some(facts)) = (&notice.cluster, &notice.facts) {
        let task = about.task.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut what = format!("{} {task} of cluster {}, {}", facts.kind, about.id, facts.status);
        if let Some(started) = &facts.started {
            let _ = write!(what, ", started {started} (cloud time)");
        }
        if let Some(execution) = facts.execution {
            let _ = write!(what, ", run {execution}");
        }
        match &facts.policy {
            Some(policy) => {
                let _ = write!(what, ", policy {policy}");
            }
            None => what.push_str(", no policy"),
        }
        line("Task:", &what);
        // The fields of a failed task are all that is known of the nodes.
        let when = if facts.status.ends_with("FAILED") { "" } else { "at its last failure " };
        line("Nodes:", &format!("{when}{}", facts.nodes_in_words()));
        if !facts.failing.is_empty() {
            line("Step:", &format!("failed at {}", facts.failing));
        }
        if facts.earlier_attempts > 0 {
            line("Sent:", &format!("{} earlier requests are not listed here", facts.earlier_attempts));
        }
        for sent in &facts.attempts {
            let id = sent.request_id.as_ref().map(|id| format!(", request id {id}")).unwrap_or_default();
            line("Sent:", &format!("#{} {} {}: {}{id}", sent.number, sent.action, at(sent.at), sent.outcome));
        }
        if facts.attempts.is_empty() {
            line("Sent:", "nothing yet");
        }
    }
    if let Some(link) = &notice.link {
        line("Page:", link);
    }
    text
}
