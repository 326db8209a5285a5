//! Joins that a lifetime alone bounds. Invariant: two rows are a pair if their event times are no further apart than that, which the oracle
//! is told in ON.

use super::pair::{Pair, equalities, residual};
use super::{Gives, Shape};
use crate::clock::interval;
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};
use crate::windows::about;

/// The shape.
pub static SHAPE: Shape = Shape { name: "regular_join", gives: Gives::Rows, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    // The lifetime is that of the whole query: above and below the join nothing else may go by it.
    if draft.depth > 0 {
        return source::rows(draft, Want::Time);
    }
    draft.depth = source::DEPTH_MAX;
    let (a, b) = (source::rows(draft, Want::Time), source::rows(draft, Want::Time));
    draft.depth = 0;
    let (Some(x), Some(y)) = (a.time.clone(), b.time.clone()) else { return a };
    let (x, y) = (format!("a.{x}"), format!("b.{y}"));
    let mut conditions = equalities(draft, &a, &b);
    if conditions.is_empty() {
        return a;
    }
    conditions.extend(residual(draft, &a, &b));
    let parts = draft.dice.within(3..40);
    let lifetime = about(draft, parts);
    draft.lifetime = Some(lifetime);
    let kind = *draft.dice.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL OUTER JOIN"]);
    let pair = Pair::new(draft, &a, &b, &[Some(&x), Some(&y)]);
    let items = pair.items.join(", ");
    let stream = format!("SELECT {items} FROM {} AS a {kind} {} AS b ON {}", a.name, b.name, conditions.join(" AND "));
    let length = interval(lifetime);
    let batch = format!("{stream} AND {y} BETWEEN {x} - {length} AND {x} + {length}");
    let name = draft.define(stream, batch);
    Rel { name, columns: pair.columns, pins: pair.pins, updating: kind != "JOIN", ..Rel::default() }
}
