//! What is kept so that each notice is told once, over restarts.
//!
//! A *note* says that something is to be told, to whom, and of which entry; the words are made when it is sent. How
//! far each channel has come is kept for each project, and so is where a message ends that is on its way: after a
//! restart the same message goes out again, under the same id.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::condition::Standing;
use super::event::Subject;
use super::id::ProjectName;

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// When it happened.
    pub at: Timestamp,
    /// The name of its project; empty where it is of none.
    pub project: String,
    /// What kind of thing it is: a stable word.
    pub kind: String,
    /// The entry of the journal that it tells of, with its subject; absent where it tells of none.
    pub entry: Option<(u64, Subject)>,
    /// What is told at most once, ever, has a key.
    pub key: Option<String>,
    /// The names of the channels that are to tell it.
    pub channels: Vec<String>,
    /// Whatever else is needed to put it into words, in JSON.
    pub data: String,
}

/// The same with its number, which grows within a project and is never used again there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub number: u64,
    /// What is to be told.
    pub note: NewNote,
}

/// How far a channel has come with the notes of one project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// All notes up to this number are told.
    pub through: u64,
    /// A message that ends with this note is on its way, or was when the process ended.
    pub sending: Option<u64>,
}

/// One change of what is kept.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants' docs tell their fields")]
pub enum OutboxWrite {
    /// To keep a note. One whose key is there already is not kept again.
    Note(NewNote),
    /// The entries of this project up to this number are turned into notes.
    Read { project: ProjectName, through: u64 },
    /// A condition that operators were notified of began, changed or ended.
    Condition { standing: Box<Standing>, ended: bool },
    /// A message of this channel that ends with this note goes out.
    Sending { channel: String, project: String, through: u64 },
    /// It was taken. Notes that no channel waits for any more are gone.
    Delivered { channel: String, project: String, through: u64 },
    /// A channel is new. The notes that are there do not concern it.
    Join { channel: String },
    /// A channel is no more.
    Leave { channel: String },
    /// To keep no more than this many notes of a project, the newest ones, and no key from before this time.
    Trim { notes: u64, keys_since: Timestamp },
}

/// Everything that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Up to which number the entries of each project are turned into notes. Of a project that is missing, none are.
    pub read: BTreeMap<ProjectName, u64>,
    /// The notes, those of each project in the order of their numbers.
    pub notes: Vec<Note>,
    /// The channels.
    pub channels: BTreeSet<String>,
    /// By channel and project.
    pub deliveries: BTreeMap<(String, String), Delivery>,
    /// The conditions that operators were notified of and that had not ended.
    pub conditions: Vec<Standing>,
}
