//! GROUP BY of rows that already belong to windows. Invariant: they are grouped by the ends of those.

use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source;

/// The shape.
pub static SHAPE: Shape = Shape { name: "regrouped", gives: Gives::Rows, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::windowed(draft);
    let Some((start, end)) = input.window.clone() else { return input };
    let filter = draft.filter(&input.columns, 30);
    // The ends of windows that are not made yet can be grouped by, and nothing else.
    let mut others = input.clone();
    others.columns.retain(|c| c.name != start && c.name != end);
    let grouping = Grouping::new(draft, &others, Keys::Any, Place::Unordered);
    let (from, to) = (draft.name("s"), draft.name("e"));
    let groups = [vec![start.clone(), end.clone()], grouping.keys()].concat().join(", ");
    let items = [vec![format!("{start} AS {from}"), format!("{end} AS {to}")], grouping.items().0].concat().join(", ");
    let having = grouping.having(draft, &others);
    let name = draft.define_both(format!("SELECT {items} FROM {}{filter} GROUP BY {groups}{having}", input.name));
    let ends = [&from, &to].map(|n| Column::exact(n.clone(), Kind::Time));
    let columns = ends.into_iter().chain(grouping.columns()).collect();
    Rel { name, columns, window: Some((from, to)), pins: grouping.pins(), ..Rel::default() }
}
