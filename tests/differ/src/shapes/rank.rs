//! Rankings that change with the rows. Invariant: no two rows that differ have the same place in the order.

use super::{Gives, Shape};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "rank", gives: Gives::Changes, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Anything);
    let by: Vec<String> = draft.dice.some(&input.keys(), 2).into_iter().map(|c| c.name).collect();
    let made = ranked(draft, &input, by);
    Rel { updating: true, time: None, window: None, ..made }
}

/// The first rows of each group of `by`.
pub fn ranked(draft: &mut Draft, input: &Rel, by: Vec<String>) -> Rel {
    let by = if by.is_empty() { String::new() } else { format!("PARTITION BY {} ", by.join(", ")) };
    let mut order = Vec::new();
    let columns = input.decisive();
    for column in draft.dice.some(&columns, 2) {
        let more = *draft.dice.pick(&["", " DESC", " ASC NULLS LAST", " DESC NULLS FIRST"]);
        order.push(format!("{}{more}", column.name));
    }
    match &input.id {
        Some(id) => order.push(id.clone()),
        None => order.extend(columns.iter().map(|c| c.name.clone())),
    }
    let (least, most) = (1 + draft.dice.below(2), 1 + draft.dice.below(4));
    let name = draft.name("rn");
    let bound = match draft.dice.below(4) {
        0 => format!("{name} = {most}"),
        1 => format!("{name} BETWEEN {least} AND {}", least + most),
        2 => format!("{name} < {}", most + 1),
        _ => format!("{name} <= {most}"),
    };
    let number = format!("ROW_NUMBER() OVER ({by}ORDER BY {})", order.join(", "));
    let mut items: Vec<String> = input.columns.iter().map(|c| c.name.clone()).collect();
    let mut columns = input.columns.clone();
    let text = if draft.dice.chance(20) {
        let bound = bound.replace(&name, &number);
        format!("SELECT {} FROM {} QUALIFY {bound}", items.join(", "), input.name)
    } else {
        if draft.dice.chance(50) {
            items.push(name.clone());
            columns.push(Column::exact(name.clone(), Kind::Whole));
        }
        let more = if draft.dice.chance(20) { format!(" AND ({})", draft.condition(&input.columns, 1)) } else { String::new() };
        format!("SELECT {} FROM (SELECT *, {number} AS {name} FROM {}) WHERE {bound}{more}", items.join(", "), input.name)
    };
    let name = draft.define_both(text);
    Rel { name, columns, ordered: false, ..input.clone() }
}
