//! OVER that looks ahead. Invariant: a row leaves when as many have come behind it as the furthest call looks at; the oracle is told to show
//! those rows alone.

use super::over_range::partition;
use super::{Gives, Shape};
use crate::columns::Kind;
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "lead", gives: Gives::Rows, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Order);
    let (Some(time), Some(id)) = (input.time.clone(), input.id.clone()) else { return input };
    let by = partition(draft, &input);
    let mut columns = input.columns.clone();
    let plain: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let (mut stream, mut batch) = (plain.clone(), plain);
    let (mut furthest, mut seen) = (0, id.clone());
    for _ in 0..1 + draft.dice.below(3) {
        let of = draft.dice.pick(&input.columns).clone();
        let ahead = 1 + draft.dice.below(3);
        // Where nothing is left to look at, nothing is shown.
        let default = if of.kind == Kind::Whole && draft.dice.chance(30) { ", -1" } else { "" };
        let (call, name) = (format!("LEAD({}, {ahead}{default})", of.name), draft.name("o"));
        stream.push(format!("{call} OVER ({by}ORDER BY {time}) AS {name}"));
        batch.push(format!("{call} OVER ({by}ORDER BY {time}, {id}) AS {name}"));
        if ahead > furthest {
            (furthest, seen) = (ahead, name.clone());
        }
        columns.push(of.called(name));
    }
    let filter = draft.filter(&input.columns, 30);
    let come = draft.name("come");
    batch.push(format!("LEAD(1, {furthest}) OVER ({by}ORDER BY {time}, {id}) AS {come}"));
    let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let all = format!("SELECT {} FROM {}{filter}", batch.join(", "), input.name);
    let name = draft.define(
        format!("SELECT {} FROM {}{filter}", stream.join(", "), input.name),
        format!("SELECT {} FROM ({all}) WHERE {come} IS NOT NULL", names.join(", ")),
    );
    // A call that nobody reads is not made, and then no row waits for it.
    let mut pins = input.pins.clone();
    pins.extend([id, seen].into_iter().filter(|pin| !input.pins.contains(pin)));
    Rel { name, columns, time: None, window: None, ordered: false, pins, ..input }
}
