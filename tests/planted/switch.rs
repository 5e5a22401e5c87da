//! The faults that are planted in this copy of the sources, and which of them is switched on in this thread.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Switches a fault on in this thread, or all of them off.
pub fn plant(fault: Option<&'static str>) {
    PLANTED.set(fault);
}

/// Whether this fault is switched on.
pub(crate) fn is(fault: &str) -> bool {
    PLANTED.get() == Some(fault)
}
