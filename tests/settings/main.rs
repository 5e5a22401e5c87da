//! The settings and what people are told of them.

mod arbitrary;
mod check;
mod messages;
mod problems;
mod shipped;
mod warnings;
