//! The reason of a decision: a stable code for machines and a sentence for people with the numbers
//! that decided. Logged, journaled and shown with the same words everywhere.
//!
//! Each reason is one row of the table in `reason/table.rs`.

use serde::{Deserialize, Serialize};

pub use table::Reason;

/// The meaning of a reason for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// There is nothing to do.
    NothingToDo,
    /// The daemon continues by itself, after a time or after another poll.
    Waiting,
    /// A precondition of a request does not hold.
    Blocked,
    /// A request is sent.
    Due,
    /// The daemon will not act by itself.
    NeedsOperator,
    /// An operator's order is not carried out.
    Refused,
}

/// The first of these.
macro_rules! first {
    ($first:expr $(, $rest:expr)?) => {
        $first
    };
}

/// The table of reasons. A row gives the reason's fields, its code and class, and by the names of the fields:
///
/// - `text`: the sentence, as `format!` takes it;
/// - `step`: what would have to change for another decision, or what an operator can do; absent:
///   nothing. If it names `retry-now` or `abort`, it has a second form without, for while these
///   orders are refused;
/// - `until`: when it ends by itself, if it does and the time is known;
/// - `ended_by`: the command that ends it, if there is one;
/// - `attention`: whether the daemon will not act on a failed task while this is true. All reasons of the class
///   `NeedsOperator` are so.
macro_rules! reasons {
    ($(
        $(#[$about:meta])*
        $name:ident $({ $($(#[$on:meta])* $field:ident: $type:ty),* $(,)? })? = ($code:literal, $class:ident) {
            text: ($($text:tt)+),
            $(step: $step:expr,)?
            $(until: $until:expr,)?
            $(ended_by: $ended_by:expr,)?
            $(attention: $attention:expr,)?
        }
    )*) => {
        /// Why a decision was made. The field `until` is always the time at which a wait ends.
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "code")]
        #[expect(missing_docs, reason = "the variants' docs tell their fields")]
        pub enum Reason {
            $($(#[$about])* #[serde(rename = $code)] $name $({ $($(#[$on])* $field: $type),* })?,)*
        }

        impl Reason {
            /// The codes of all of them.
            pub const CODES: &'static [&'static str] = &[$($code,)*];

            /// The stable code.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// Returns its meaning for a reader.
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$name { .. } => Class::$class,)*
                }
            }

            /// Returns what would have to change for another decision, or what an operator can do;
            /// `None` if there is nothing. The same words for the command line, the page and every
            /// message.
            pub fn next_step(&self) -> Option<&'static str> {
                self.advice().map(|advice| advice.0)
            }

            /// The same while `retry-now` and `abort` are refused.
            pub fn next_step_without_orders(&self) -> Option<&'static str> {
                self.advice().map(|advice| advice.1)
            }

            fn advice(&self) -> Option<Advice> {
                match self {
                    $(Self::$name { .. } => first!($(Some(Advice::from($step)),)? None),)*
                }
            }

            /// Returns when it ends by itself, if it does and the time is known.
            pub fn until(&self) -> Option<jiff::Timestamp> {
                match self {
                    $(Self::$name { $($($field),*)? } => {
                        $($(let _ = $field;)*)?
                        first!($($until,)? None)
                    })*
                }
            }

            /// Returns the command that ends it, if there is one.
            pub fn ended_by(&self) -> Option<String> {
                match self {
                    $(Self::$name { $($($field),*)? } => {
                        $($(let _ = $field;)*)?
                        first!($(Some($ended_by.into()),)? None)
                    })*
                }
            }

            /// Returns whether the daemon will not act by itself on a failed task while this is
            /// true.
            pub fn needs_attention(&self) -> bool {
                match self {
                    $(Self::$name { $($($field),*)? } => {
                        $($(let _ = $field;)*)?
                        first!($($attention,)? matches!(Class::$class, Class::NeedsOperator))
                    })*
                }
            }
        }

        impl std::fmt::Display for Reason {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$name { $($($field),*)? } => {
                        $($(let _ = $field;)*)?
                        write!(f, $($text)+)
                    })*
                }
            }
        }
    };
}

mod sentence;
mod table;

/// What an operator can do, and the same while `retry-now` and `abort` are refused.
struct Advice(&'static str, &'static str);

impl From<&'static str> for Advice {
    fn from(step: &'static str) -> Self {
        Self(step, step)
    }
}

impl From<(&'static str, &'static str)> for Advice {
    fn from((step, without_orders): (&'static str, &'static str)) -> Self {
        Self(step, without_orders)
    }
}

/// A reason with its code and its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The stable code.
    pub code: String,
    /// The sentence.
    #[serde(alias = "sentence")]
    pub text: String,
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Self {
        Self { code: reason.code().to_owned(), text: reason.to_string() }
    }
}

#[cfg(test)]
mod tests;
