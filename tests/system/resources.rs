//! What the daemon does when something that every process needs runs short: descriptors, memory, room on the disk, a
//! reader of its log. By the real binary; where waiting is the point, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cloud;
mod descriptors;
mod disk;
mod fleet;
mod log;
mod machine;
mod memory;
mod names;
mod output;
