//! The steps of the work on a node.

/// One step of the work on a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The API's `order`.
    pub order: u32,
    /// The API's `name`.
    pub name: &'static str,
    /// The API's `desc`.
    pub description: &'static str,
    /// The part of the node's time after which the step is over, in percent.
    pub until_percent: u32,
}

/// The steps of a node. Only the first and the last are published; the others are invented.
pub const STEPS: [Step; 5] = [
    Step {
        order: 0,
        name: "Data migration",
        description: "Migrates the data of the node.",
        until_percent: 60,
    },
    Step { order: 3, name: "Node offline", description: "Takes the node offline.", until_percent: 70 },
    Step { order: 6, name: "Node rebuild", description: "Rebuilds the node.", until_percent: 90 },
    Step { order: 9, name: "Node restoration", description: "Brings the node back.", until_percent: 96 },
    Step {
        order: 12,
        name: "Task status update",
        description: "Updates the status of the task.",
        until_percent: 100,
    },
];
