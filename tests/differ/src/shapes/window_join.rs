//! Joins of rows in the same window. Invariant: the windows of both sides are made of the same sizes.

use super::assigned::assigned;
use super::pair::{Pair, equalities, residual};
use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source::{self, Want};
use crate::windows::{Spec, spec};

/// The shape.
pub static SHAPE: Shape = Shape { name: "window_join", gives: Gives::Rows, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let spec = spec(draft, None);
    let (a, b) = (side(draft, &spec), side(draft, &spec));
    let (Some((s, e)), Some((t, f))) = (a.window.clone(), b.window.clone()) else { return a };
    let mut conditions = equalities(draft, &a, &b);
    conditions.extend([format!("a.{s} = b.{t}"), format!("a.{e} = b.{f}")]);
    conditions.extend(residual(draft, &a, &b));
    let kind = *draft.dice.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL OUTER JOIN"]);
    let ends = [&s, &e].map(|n| format!("a.{n}")).into_iter().chain([&t, &f].map(|n| format!("b.{n}"))).collect::<Vec<_>>();
    let pair = Pair::new(draft, &a, &b, &ends.iter().map(Some).collect::<Vec<_>>());
    let text = format!("SELECT {} FROM {} AS a {kind} {} AS b ON {}", pair.items.join(", "), a.name, b.name, conditions.join(" AND "));
    let name = draft.define_both(text);
    let named = |from: usize| Some((pair.named(&ends[from])?, pair.named(&ends[from + 1])?));
    let window = match kind {
        "FULL OUTER JOIN" => None,
        "RIGHT JOIN" => named(2),
        _ => named(0),
    };
    Rel { name, columns: pair.columns, window, pins: pair.pins, ..Rel::default() }
}

/// Rows with windows, or one row a window and key.
pub fn side(draft: &mut Draft, spec: &Spec) -> Rel {
    let input = source::rows(draft, Want::Time);
    if draft.dice.chance(70) {
        return assigned(draft, &input, spec);
    }
    let time = input.time.clone().unwrap_or_default();
    let from = spec.call(draft, &input.name, &time);
    let rows = spec.rows(draft, &input, &time);
    let grouping = Grouping::new(draft, &input, Keys::Columns, Place::Unordered);
    let names = super::windowed::Names::new(draft);
    let (window, groups) = names.items();
    let groups = [groups, grouping.keys()].concat().join(", ");
    let (stream, batch) = grouping.items();
    let select =
        |items: Vec<String>, from: &str| format!("SELECT {} FROM {from} GROUP BY {groups}", [window.clone(), items].concat().join(", "));
    let name = draft.define(select(stream, &from), select(batch, &rows));
    names.rel(name, grouping.columns(), grouping.pins())
}
