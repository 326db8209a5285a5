//! OVER by time. Invariant: rows of one time see the same, so that their order is of no account.

use super::{Gives, Shape};
use crate::aggregates::{Place, call, over_frame};
use crate::clock::interval;
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};
use crate::windows::about;

/// The shape.
pub static SHAPE: Shape = Shape { name: "over_range", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let Some(time) = input.time.clone() else { return input };
    let mut columns = input.columns.clone();
    let mut items: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let mut of_oracle = items.clone();
    let mut by = partition(draft, &input);
    for _ in 0..1 + draft.dice.below(3) {
        if draft.dice.chance(20) {
            by = partition(draft, &input);
        }
        let parts = draft.dice.within(3..40);
        let length = interval(about(draft, parts));
        let frame = match draft.dice.below(4) {
            0 => String::new(),
            1 => " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
            _ => format!(" RANGE BETWEEN {length} PRECEDING AND CURRENT ROW"),
        };
        let call = call(draft, &input, Place::Over);
        let name = draft.name("o");
        let over = format!("{by}ORDER BY {time}{frame}");
        items.push(format!("{} OVER ({over}) AS {name}", call.stream));
        of_oracle.push(format!("{} AS {name}", over_frame(&call.batch, &over)));
        columns.push(call.column.called(name));
    }
    let filter = draft.filter(&input.columns, 30);
    let select = |items: &[String]| format!("SELECT {} FROM {}{filter}", items.join(", "), input.name);
    let name = draft.define(select(&items), select(&of_oracle));
    Rel { name, columns, window: None, ..input }
}

/// `PARTITION BY …` of some keys, or nothing.
pub fn partition(draft: &mut Draft, input: &Rel) -> String {
    let keys: Vec<Column> = input.keys().into_iter().filter(|c| c.kind != Kind::Double && Some(&c.name) != input.id.as_ref()).collect();
    let keys: Vec<String> = draft.dice.some(&keys, 2).into_iter().map(|c| c.name).collect();
    if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) }
}
