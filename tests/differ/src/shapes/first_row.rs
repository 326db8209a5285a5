//! The first or the last row of each key. Invariant: of rows of one time the one with the least first column counts.

use super::over_range::partition;
use super::{Gives, Shape};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "first_row", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Order);
    let (Some(time), Some(id)) = (input.time.clone(), input.id.clone()) else { return input };
    let by = partition(draft, &input);
    let last = draft.dice.chance(40);
    let direction = if last { " DESC" } else { "" };
    let filter = draft.filter(&input.columns, 30);
    let items: Vec<String> = input.columns.iter().map(|c| c.name.clone()).collect();
    let items = items.join(", ");
    let select = |more: &str| {
        let number = format!("ROW_NUMBER() OVER ({by}ORDER BY {time}{direction}{more})");
        format!("SELECT {items} FROM (SELECT *, {number} AS rn FROM {}{filter}) WHERE rn = 1", input.name)
    };
    let name = draft.define(select(""), select(&format!(", {id}")));
    let mut pins = input.pins.clone();
    if !pins.contains(&id) {
        pins.push(id);
    }
    let time = input.time.clone().filter(|_| !last);
    Rel { name, time, updating: last, window: None, pins, ordered: false, ..input }
}
