//! Rows one by one. Invariant: each row stays, changed, or goes, by what is in it alone.

use super::{Gives, Shape};
use crate::columns::Column;
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "plain", gives: Gives::Timed, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Anything);
    select(draft, &input)
}

/// Some columns of `input`, and expressions over them, of some of its rows.
pub fn select(draft: &mut Draft, input: &Rel) -> Rel {
    let needed =
        [input.time.clone(), input.id.clone(), input.window.as_ref().map(|w| w.0.clone()), input.window.as_ref().map(|w| w.1.clone())];
    let is_kept = |c: &Column| needed.contains(&Some(c.name.clone())) || input.pins.contains(&c.name);
    let mut columns: Vec<Column> = input.columns.clone();
    columns.retain(|c| is_kept(c) || draft.dice.chance(70));
    let mut items: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    for _ in 0..draft.dice.below(3) {
        let value = draft.value(&input.columns, 3);
        let name = draft.name("x");
        items.push(format!("{} AS {name}", value.name));
        columns.push(value.called(name));
    }
    if items.is_empty() {
        return input.clone();
    }
    let filter = draft.filter(&input.columns, 50);
    let name = draft.define_both(format!("SELECT {} FROM {}{filter}", items.join(", "), input.name));
    Rel { name, columns, ..input.clone() }
}
