//! Rows with their windows, without GROUP BY. Invariant: a row is there once for each of its windows.

use super::{Gives, Shape};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};
use crate::windows::{self, Spec, spec};

/// The shape.
pub static SHAPE: Shape = Shape { name: "assigned", gives: Gives::Rows, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let spec = spec(draft, None);
    assigned(draft, &input, &spec)
}

/// The rows of `input` with their windows.
pub fn assigned(draft: &mut Draft, input: &Rel, spec: &Spec) -> Rel {
    let time = input.time.clone().unwrap_or_default();
    let from = spec.call(draft, &input.name, &time);
    let rows = spec.rows(draft, input, &time);
    let (start, end) = (draft.name("s"), draft.name("e"));
    let conditions: Vec<Column> = input.columns.iter().cloned().chain(windows::columns()).collect();
    let filter = draft.filter(&conditions, 25);
    let items: Vec<String> = input.columns.iter().map(|c| c.name.clone()).collect();
    let items = format!("{}, window_start AS {start}, window_end AS {end}", items.join(", "));
    let name = draft.define(format!("SELECT {items} FROM {from}{filter}"), format!("SELECT {items} FROM {rows}{filter}"));
    let ends = [&start, &end].map(|n| Column::exact(n.clone(), Kind::Time));
    let columns = input.columns.iter().cloned().chain(ends).collect();
    // A row may be there more than once: `id` does not tell them apart any more, but with the window it does.
    Rel { name, columns, window: Some((start, end)), pins: input.pins.clone(), ..Rel::default() }
}
