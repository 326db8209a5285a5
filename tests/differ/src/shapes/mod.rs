//! Shapes of queries, one a file. Invariant: each writes a query for both sides that must give the same rows.
//!
//! Left out: what a lifetime does to rows that change, which depends on when they come; and what reads rows of LEAD, of which the last ones
//! wait for ever.

pub(crate) use unnest::ELEMENTS_MAX;

use crate::draft::{Draft, Rel};

// rows one by one
mod plain;
mod union;
mod unnest;

// windows
mod assigned;
mod cumulate;
mod grouping_sets;
mod hop;
mod legacy;
mod regrouped;
mod session;
mod tumble;
mod windowed;

// joins
mod asof_join;
mod interval_join;
mod lookup_join;
mod pair;
mod regular_join;
mod semi_join;
mod window_join;

// rows in order
mod first_row;
mod lead;
mod over_range;
mod over_rows;
mod window_rank;

// results that change
mod distinct;
mod group;
mod rank;

/// What the rows of a shape are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Rows with an event time.
    Timed,
    /// Rows without one.
    Rows,
    /// Rows that change.
    Changes,
}

/// A shape.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// What its rows mostly are.
    pub gives: Gives,
    /// Whether its rows may belong to windows.
    pub windowed: bool,
    /// Writes a query, and names its rows.
    pub write: fn(&mut Draft) -> Rel,
}

/// Shapes that no other one reads, sorted by name.
pub static OUTERMOST: &[&Shape] = &[&lead::SHAPE];

/// Every other shape, sorted by name.
pub static SHAPES: &[&Shape] = &[
    &asof_join::SHAPE,
    &assigned::SHAPE,
    &cumulate::SHAPE,
    &distinct::SHAPE,
    &first_row::SHAPE,
    &group::SHAPE,
    &grouping_sets::SHAPE,
    &hop::SHAPE,
    &interval_join::SHAPE,
    &legacy::SHAPE,
    &lookup_join::SHAPE,
    &over_range::SHAPE,
    &over_rows::SHAPE,
    &plain::SHAPE,
    &rank::SHAPE,
    &regrouped::SHAPE,
    &regular_join::SHAPE,
    &semi_join::SHAPE,
    &session::SHAPE,
    &tumble::SHAPE,
    &union::SHAPE,
    &unnest::SHAPE,
    &window_join::SHAPE,
    &window_rank::SHAPE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_sorted() {
        assert!(SHAPES.is_sorted_by_key(|s| s.name) && OUTERMOST.is_sorted_by_key(|s| s.name));
    }
}
