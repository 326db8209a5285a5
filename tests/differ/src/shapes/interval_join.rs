//! Joins of rows that are near in time. Invariant: both sides read the same text; for the oracle it is a join like any other.

use super::pair::{Pair, equalities, residual};
use super::{Gives, Shape};
use crate::clock::interval;
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};
use crate::windows::about;

/// The shape.
pub static SHAPE: Shape = Shape { name: "interval_join", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let a = source::rows(draft, Want::Time);
    let b = if draft.dice.chance(15) { a.clone() } else { source::rows(draft, Want::Time) };
    let (Some(x), Some(y)) = (a.time.clone(), b.time.clone()) else { return a };
    let (x, y) = (format!("a.{x}"), format!("b.{y}"));
    let mut conditions = equalities(draft, &a, &b);
    if conditions.is_empty() {
        return a;
    }
    conditions.push(bounds(draft, &x, &y));
    conditions.extend(residual(draft, &a, &b));
    let kind = *draft.dice.pick(&["JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL OUTER JOIN", ","]);
    let pair = Pair::new(draft, &a, &b, &[Some(&x), Some(&y)]);
    let (items, conditions) = (pair.items.join(", "), conditions.join(" AND "));
    let name = match kind {
        "," => draft.define_both(format!("SELECT {items} FROM {} AS a, {} AS b WHERE {conditions}", a.name, b.name)),
        kind => draft.define_both(format!("SELECT {items} FROM {} AS a {kind} {} AS b ON {conditions}", a.name, b.name)),
    };
    let time = match kind {
        "FULL OUTER JOIN" => None,
        "RIGHT JOIN" => pair.named(&y),
        "LEFT JOIN" => pair.named(&x),
        _ => {
            if draft.dice.chance(50) {
                pair.named(&x)
            } else {
                pair.named(&y)
            }
        }
    };
    Rel { name, columns: pair.columns, time, pins: pair.pins, ..Rel::default() }
}

/// A condition that bounds the distance of two times on both sides.
fn bounds(draft: &mut Draft, x: &str, y: &str) -> String {
    let parts = draft.dice.within(5..60);
    let (before, after) = (about(draft, parts), about(draft, parts));
    let (less, more) = (interval(before), interval(after));
    match draft.dice.below(7) {
        0 => format!("{y} BETWEEN {x} AND {x} + {more}"),
        1 => format!("{y} BETWEEN {x} - {less} AND {x} + {more}"),
        2 => format!("{y} >= {x} - {less} AND {y} < {x} + {more}"),
        3 => format!("{x} <= {y} + {less} AND {y} - {more} <= {x}"),
        4 => format!("{x} BETWEEN {y} - {less} AND {y} + {more}"),
        5 => format!("{y} > {x} + {less} AND {x} + {less} + {more} > {y}"),
        _ => format!("{x} = {y}"),
    }
}
