//! OVER row by row. Invariant: rows of one time are in the order of their first column, which the oracle is told.

use super::over_range::partition;
use super::{Gives, Shape};
use crate::aggregates::{Place, call, over_frame};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "over_rows", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Order);
    let (Some(time), Some(id)) = (input.time.clone(), input.id.clone()) else { return input };
    let mut columns = input.columns.clone();
    let plain: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let (mut stream, mut batch) = (plain.clone(), plain);
    let mut by = partition(draft, &input);
    for _ in 0..1 + draft.dice.below(3) {
        if draft.dice.chance(20) {
            by = partition(draft, &input);
        }
        let (text, column, frame) = function(draft, &input);
        let name = draft.name("o");
        stream.push(format!("{text} OVER ({by}ORDER BY {time}{frame}) AS {name}"));
        batch.push(format!("{} AS {name}", over_frame(&text, &format!("{by}ORDER BY {time}, {id}{frame}"))));
        columns.push(column.called(name));
    }
    let filter = draft.filter(&input.columns, 30);
    let select = |items: &[String]| format!("SELECT {} FROM {}{filter}", items.join(", "), input.name);
    let name = draft.define(select(&stream), select(&batch));
    let mut pins = input.pins.clone();
    if !pins.contains(&id) {
        pins.push(id);
    }
    Rel { name, columns, window: None, pins, ..input }
}

/// A function with its frame.
fn function(draft: &mut Draft, input: &Rel) -> (String, Column, String) {
    let back = draft.dice.below(5);
    let frame = match draft.dice.below(3) {
        0 => " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
        _ => format!(" ROWS BETWEEN {back} PRECEDING AND CURRENT ROW"),
    };
    let of = draft.dice.pick(&input.columns).clone();
    match draft.dice.below(7) {
        0 => ("ROW_NUMBER()".to_owned(), Column::exact("", Kind::Whole), String::new()),
        1 => (format!("LAG({})", of.name), of, String::new()),
        2 => match of.kind {
            Kind::Whole => (format!("LAG({}, {}, -1)", of.name, back + 1), of, String::new()),
            _ => (format!("LAG({}, {})", of.name, back + 1), of, String::new()),
        },
        3 => (format!("FIRST_VALUE({})", of.name), of, frame),
        4 => (format!("LAST_VALUE({})", of.name), of, frame),
        _ => {
            let call = call(draft, input, Place::Over);
            (call.stream, call.column, frame)
        }
    }
}
