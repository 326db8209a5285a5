//! Random stream queries over random rows, compared with batch queries over the same rows. Invariant: the oracle shares no code with the
//! engine but the functions of SQL: what windows, joins and orders of time are it is told in plain SQL.
//!
//! ```text
//!            ┌─ query for the stream ─► sql ─► engine, in pieces, over partitions, with restarts ─► changes ─► rows ─┐
//! seed ─► case                                                                                                   same?
//!            └─ query for the oracle ─► DataFusion, over all rows at once ─────────────────────────────────► rows ─┘
//! ```

// what both sides read
pub mod clock;
pub mod columns;
pub mod dice;
pub mod tables;
pub mod values;

// queries
pub mod aggregates;
pub mod draft;
pub mod expressions;
pub mod grouping;
pub mod shapes;
pub mod source;
pub mod windows;

// cases
pub mod bugs;
pub mod case;
pub mod data;
pub mod way;

// judgement
pub mod campaign;
pub mod fate;
pub mod judge;
pub mod oracle;
pub mod shrink;
