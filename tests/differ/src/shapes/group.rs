//! GROUP BY without a window. Invariant: what is left of all changes is what grouping all rows gives.

use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "group", gives: Gives::Changes, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Anything);
    let filter = draft.filter(&input.columns, 25);
    let place = if input.updating || input.time.is_none() { Place::Unordered } else { Place::Ordered };
    let grouping = Grouping::new(draft, &input, Keys::Any, place);
    let (keys, (stream, batch)) = (grouping.keys(), grouping.items());
    let having = if keys.is_empty() { String::new() } else { grouping.having(draft, &input) };
    let groups = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    // Without rows there is no group, not even that of all.
    let there = if keys.is_empty() { " HAVING COUNT(*) > 0" } else { "" };
    let select = |items: Vec<String>, having: &str| format!("SELECT {} FROM {}{filter}{groups}{having}", items.join(", "), input.name);
    let name = draft.define(select(stream, &having), select(batch, if keys.is_empty() { there } else { &having }));
    Rel { name, columns: grouping.columns(), updating: true, pins: grouping.pins(), ..Rel::default() }
}
