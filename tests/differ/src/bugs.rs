//! Seeded bugs: what the comparison must find, or it does not count. Invariant: each is wrong on one side only.

/// A seeded bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The oracle puts a row that lies on the edge of two windows into the earlier one.
    EdgeShifted,
    /// A run goes on after a restart without its state.
    StateForgotten,
    /// A record is fed twice.
    RecordRepeated,
    /// A record does not reach the engine.
    RecordLost,
    /// What an update takes back stays in the result.
    OldRowsKept,
    /// The oracle knows late rows as well.
    LateKept,
    /// The oracle counts NULL as a value in the middle of the others.
    NullIsZero,
}

impl Bug {
    /// Every bug with its name, and what is wrong.
    pub const ALL: &'static [(&'static str, Self, &'static str)] = &[
        ("edge-shifted", Self::EdgeShifted, "a row on the edge of two windows counts to the earlier one"),
        ("late-kept", Self::LateKept, "rows that are late count"),
        ("null-is-zero", Self::NullIsZero, "numbers that are NULL count as 0"),
        ("old-rows-kept", Self::OldRowsKept, "rows that are taken back stay"),
        ("record-lost", Self::RecordLost, "one record is lost"),
        ("record-repeated", Self::RecordRepeated, "one record is fed twice"),
        ("state-forgotten", Self::StateForgotten, "state is lost in a restart"),
    ];

    /// The bug of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, ..)| *known == name).map(|(_, bug, _)| *bug)
    }
}
