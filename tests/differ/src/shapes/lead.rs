//! LEAD, alone and beside LAG. Invariant: rows of one time are in the order of their first column, which the oracle is told; a row that no
//! other follows has NULL or the default.

use super::over_range::partition;
use super::{Gives, Shape};
use crate::columns::Kind;
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "lead", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Order);
    let (Some(time), Some(id)) = (input.time.clone(), input.id.clone()) else { return input };
    let mut columns = input.columns.clone();
    let plain: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let (mut stream, mut batch) = (plain.clone(), plain);
    for i in 0..1 + draft.dice.below(2) {
        let by = partition(draft, &input);
        let of = draft.dice.pick(&input.columns).clone();
        let function = if i > 0 && draft.dice.chance(40) { "LAG" } else { "LEAD" };
        let call = match (1 + draft.dice.below(4), of.kind) {
            (1, _) => format!("{function}({})", of.name),
            (rows, Kind::Whole) => format!("{function}({}, {rows}, -1)", of.name),
            (rows, _) => format!("{function}({}, {rows})", of.name),
        };
        let name = draft.name("o");
        stream.push(format!("{call} OVER ({by}ORDER BY {time}) AS {name}"));
        batch.push(format!("{call} OVER ({by}ORDER BY {time}, {id}) AS {name}"));
        columns.push(of.called(name));
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
