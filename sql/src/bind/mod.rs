//! From names to tables. Invariant: every table factor, version, hint and clause of a query is claimed here or refused, because
//! DataFusion drops some of them silently.
//!
//! ```text
//! relations   each table factor -> what it means, and a plain name in its place; views -> their queries
//! overs       each OVER that names a window -> the window in full
//! size        nothing that doubles with each step
//! clauses     each clause of each SELECT -> known, or refused
//! expressions each function, type and literal -> known, or refused
//! names       each column -> as declared, if it was written in another case
//! repeats     each item called like an earlier one -> a name of its own
//! unnest      each UNNEST -> a table whose condition has the list
//! fields      each item that is a field of a row -> named like it
//! ```

mod clauses;
mod computed;
mod expressions;
mod extract;
mod fields;
mod joins;
mod json;
mod legacy;
mod names;
mod overs;
mod patterns;
mod proctime;
mod relations;
mod repeats;
mod size;
mod spelling;
mod units;
mod unnest;
mod views;
mod windows;

use sqlparser::ast::Query;
use sqlparser::tokenizer::Location;

use crate::diagnostics::Result;
use crate::functions::Functions;
use crate::lower::reject::Unsupported;
use crate::parser::{QueryText, Tokens};
use crate::tables::Catalog;
use relations::Claimed;

pub(crate) use computed::bind_expression;
pub(crate) use proctime::is_newest;
pub(crate) use relations::{Relation, RelationKind};
pub(crate) use units::takes_unit;
pub(crate) use unnest::Elements;
pub(crate) use windows::{
    ASOF_INNER_MARKER, ASOF_MARKER, KEPT_MARKER, MARKERS, ONE_WINDOW, UNNEST_MARKER, VERSION_MARKER, WINDOW_COLUMNS, WindowSpec,
};

/// A query whose tables are known.
pub(crate) enum Bound {
    /// It reads a stream.
    Stream(BoundQuery),
    /// It reads tables of the lake, or none.
    Batch(BoundQuery),
}

/// The parts of a bound query.
pub(crate) struct BoundQuery {
    pub(crate) query: Box<Query>,
    pub(crate) relations: Vec<Relation>,
    /// By the numbers that markers carry.
    pub(crate) windows: Vec<WindowSpec>,
    pub(crate) tokens: Tokens,
    /// Where each item of the outermost SELECT stands; empty if one of them is `*`.
    pub(crate) items: Vec<Location>,
}

/// Binds a query.
pub(crate) fn bind(text: QueryText, catalog: &Catalog, functions: &Functions) -> Result<Bound> {
    let QueryText { mut query, tokens } = text;
    let Claimed { mut relations, windows } = relations::claim(&mut query, &tokens, catalog)?;
    let mode = relations::mode(&relations)?;
    if let (Mode::Batch, Some(window)) = (mode, windows.first()) {
        return Err(Unsupported::WINDOW_OVER_TABLE.at(window.at));
    }
    overs::resolve(&mut query)?;
    size::check(&query, &tokens)?;
    proctime::resolve(&mut query, &mut relations)?;
    clauses::check(&query, &tokens)?;
    if mode == Mode::Stream {
        clauses::check_stream(&query, &tokens)?;
        joins::rewrite(&mut query, &relations);
    }
    expressions::check(&mut query, &tokens, functions, mode)?;
    names::resolve(&mut query, &relations, !windows.is_empty());
    repeats::name(&mut query);
    fields::name(&mut query);
    match mode {
        Mode::Stream => unnest::rewrite(&mut query, &mut relations, &tokens)?,
        Mode::Batch => unnest::check_batch(&query, &tokens)?,
    }
    let items = clauses::items(&query);
    let bound = BoundQuery { query, relations, windows, tokens, items };
    Ok(match mode {
        Mode::Stream => Bound::Stream(bound),
        Mode::Batch => Bound::Batch(bound),
    })
}

/// How a query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Until it is stopped, over a stream.
    Stream,
    /// Once, over tables of the lake.
    Batch,
}
