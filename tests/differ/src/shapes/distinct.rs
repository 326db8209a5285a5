//! DISTINCT and UNION. Invariant: no row is there twice.

use super::{Gives, Shape};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "distinct", gives: Gives::Changes, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Anything);
    let needed = |c: &Column| input.pins.contains(&c.name);
    let mut columns: Vec<Column> = input.keys();
    columns.retain(|c| needed(c) || c.kind != Kind::Double && draft.dice.chance(40));
    if columns.is_empty() {
        return input;
    }
    let items: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let items = items.join(", ");
    let filter = draft.filter(&input.columns, 25);
    let name = if draft.dice.chance(30) {
        let other = draft.filter(&input.columns, 90);
        draft.define_both(format!("SELECT {items} FROM {0}{filter} UNION SELECT {items} FROM {0}{other}", input.name))
    } else {
        draft.define_both(format!("SELECT DISTINCT {items} FROM {}{filter}", input.name))
    };
    Rel { name, columns, updating: true, pins: input.pins.clone(), ..Rel::default() }
}
