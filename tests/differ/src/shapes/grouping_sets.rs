//! GROUPING SETS, ROLLUP and CUBE, in windows and without. Invariant: a key that is not in a set is NULL.

use super::windowed::Names;
use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::draft::{Draft, Rel};
use crate::grouping::{Grouping, Keys};
use crate::source::{self, Want};
use crate::windows::spec;

/// The shape.
pub static SHAPE: Shape = Shape { name: "grouping_sets", gives: Gives::Timed, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let Some(time) = input.time.clone() else { return input };
    let filter = draft.filter(&input.columns, 30);
    let grouping = Grouping::new(draft, &input, Keys::Columns, Place::Unordered);
    let keys = grouping.keys();
    let sets = match (draft.dice.below(3), keys.as_slice()) {
        (_, []) => "GROUPING SETS (())".to_owned(),
        (0, _) => format!("ROLLUP ({})", keys.join(", ")),
        (1, _) => format!("CUBE ({})", keys.join(", ")),
        (_, [one]) => format!("GROUPING SETS (({one}), ())"),
        (_, [first, ..]) => format!("GROUPING SETS (({}), ({first}), ())", keys.join(", ")),
    };
    let (stream, batch) = grouping.items();
    if draft.dice.chance(30) {
        // Without rows there is no group, not even that of all.
        let select = |items: Vec<String>, from: &str| format!("SELECT {} FROM {from} GROUP BY {sets}", items.join(", "));
        let stream = select(stream, &format!("{}{filter}", input.name));
        let batch = select(batch, &unrelated(draft, &input.name, &filter));
        let name = draft.define(stream, format!("{batch} HAVING COUNT(*) > 0"));
        return Rel { name, columns: grouping.columns(), updating: true, pins: grouping.pins(), ..Rel::default() };
    }
    let spec = spec(draft, None);
    let from = spec.call(draft, &input.name, &time);
    let rows = spec.rows(draft, &input, &time);
    let rows = unrelated(draft, &rows, &filter);
    let names = Names::new(draft);
    let (window, groups) = names.items();
    let select = |items: Vec<String>, from: &str| {
        let items = [window.clone(), items].concat().join(", ");
        format!("SELECT {items} FROM {from} GROUP BY {}, {sets}", groups.join(", "))
    };
    let name = draft.define(select(stream, &format!("{from}{filter}")), select(batch, &rows));
    names.rel(name, grouping.columns(), grouping.pins())
}

/// Rows for the oracle of which it does not know that columns are equal: of two equal keys it would drop one from every order, although
/// a set without one of them makes it NULL.
fn unrelated(draft: &mut Draft, rows: &str, filter: &str) -> String {
    let known = draft.define_batch(format!("SELECT * FROM {rows}{filter}"));
    draft.define_batch(format!("SELECT * FROM {known} UNION ALL SELECT * FROM {known} WHERE random() > 2"))
}
