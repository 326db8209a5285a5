//! ASOF joins. Invariant: a row meets the newest row of its key that is not newer; the oracle numbers all that are not.

use super::pair::{Pair, equalities};
use super::{Gives, Shape};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "asof_join", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let (a, b) = (source::rows(draft, Want::Id), source::rows(draft, Want::Order));
    let (Some(x), Some(y), Some(a_id), Some(b_id)) = (a.time.clone(), b.time.clone(), a.id.clone(), b.id.clone()) else { return a };
    let (x, y, a_id, b_id) = (format!("a.{x}"), format!("b.{y}"), format!("a.{a_id}"), format!("b.{b_id}"));
    let equal = equalities(draft, &a, &b);
    if equal.is_empty() {
        return a;
    }
    let equal = equal.join(" AND ");
    let operator = *draft.dice.pick(&[">=", ">"]);
    let pair = Pair::new(draft, &a, &b, &[Some(&x), Some(&y), Some(&a_id), Some(&b_id)]);
    let items = pair.items.join(", ");
    let matched = match (draft.dice.chance(30), operator) {
        (true, ">") => format!("{y} < {x}"),
        (true, _) => format!("{y} <= {x}"),
        _ => format!("{x} {operator} {y}"),
    };
    let stream = format!("SELECT {items} FROM {} AS a ASOF JOIN {} AS b MATCH_CONDITION ({matched}) ON {equal}", a.name, b.name);
    let number = format!("ROW_NUMBER() OVER (PARTITION BY {a_id} ORDER BY {y} DESC, {b_id} DESC)");
    let all =
        format!("SELECT {items}, {number} AS newest FROM {} AS a LEFT JOIN {} AS b ON {equal} AND {x} {operator} {y}", a.name, b.name);
    let names: Vec<String> = pair.columns.iter().map(|c| c.name.clone()).collect();
    let batch = format!("SELECT {} FROM ({all}) WHERE newest = 1", names.join(", "));
    let name = draft.define(stream, batch);
    let (time, id) = (pair.named(&x), pair.named(&a_id));
    let mut pins = pair.pins.clone();
    pins.extend(pair.named(&b_id).filter(|p| !pair.pins.contains(p)));
    Rel { name, columns: pair.columns, time, id, pins, ..Rel::default() }
}
