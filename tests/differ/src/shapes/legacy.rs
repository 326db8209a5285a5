//! `GROUP BY TUMBLE(ts, …)` and its like. Invariant: it means the same as the window table.

use super::windowed::Names;
use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::clock::interval;
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source::{self, Want};
use crate::windows::spec;

/// The shape.
pub static SHAPE: Shape = Shape { name: "legacy", gives: Gives::Timed, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let Some(time) = input.time.clone() else { return input };
    let mut spec = spec(draft, None);
    spec.offset = 0;
    let rows = spec.rows(draft, &input, &time);
    let (function, sizes) = spec.parts();
    let arguments: Vec<String> = std::iter::once(time).chain(sizes.into_iter().map(interval)).collect();
    let arguments = arguments.join(", ");
    let filter = draft.filter(&input.columns, 25);
    let grouping = Grouping::new(draft, &input, Keys::Any, Place::Ordered);
    let names = Names::new(draft);
    let (window, groups) = names.items();
    let parts = ["START", "END", "ROWTIME"].into_iter().zip([Some(&names.start), Some(&names.end), names.time.as_ref()]);
    let called: Vec<String> = parts.filter_map(|(part, name)| Some(format!("{function}_{part}({arguments}) AS {}", name?))).collect();
    let having = grouping.having(draft, &input);
    let (stream, batch) = grouping.items();
    let select = |window: &[String], items: &[String], from: &str, groups: Vec<String>| {
        let (items, groups) = ([window, items].concat().join(", "), [groups, grouping.keys()].concat().join(", "));
        format!("SELECT {items} FROM {from}{filter} GROUP BY {groups}{having}")
    };
    let stream = select(&called, &stream, &input.name, vec![format!("{function}({arguments})")]);
    let name = draft.define(stream, select(&window, &batch, &rows, groups));
    names.rel(name, grouping.columns(), grouping.pins())
}
