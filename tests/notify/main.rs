//! Who is told what and when: by the parts that the daemon runs, over a journal in memory and in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod delivery;
mod mail;
mod peers;
mod posts;
mod stage;
mod wording;
