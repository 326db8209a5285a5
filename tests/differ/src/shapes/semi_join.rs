//! EXISTS, NOT EXISTS and IN over rows in the same window. Invariant: no row is there twice because it has two partners.

use super::pair::equalities;
use super::window_join::side;
use super::{Gives, Shape};
use crate::columns::of;
use crate::draft::{Draft, Rel};
use crate::windows::spec;

/// The shape.
pub static SHAPE: Shape = Shape { name: "semi_join", gives: Gives::Rows, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let spec = spec(draft, None);
    let a = side(draft, &spec);
    // What the other side must show it cannot.
    let b = loop {
        let mark = draft.mark();
        let b = side(draft, &spec);
        if b.pins.is_empty() {
            break b;
        }
        draft.forget(mark);
    };
    let (Some((s, e)), Some((t, f))) = (a.window.clone(), b.window.clone()) else { return a };
    let mut conditions = vec![format!("a.{s} = b.{t}"), format!("a.{e} = b.{f}")];
    let equal = equalities(draft, &a, &b);
    if draft.dice.chance(30) {
        conditions.push(format!("({})", draft.condition(&of("b", &b.columns), 1)));
    }
    let more = if draft.dice.chance(30) { format!(" AND ({})", draft.condition(&of("a", &a.columns), 1)) } else { String::new() };
    let from = |conditions: &[String]| format!("FROM {} AS b WHERE {}", b.name, conditions.join(" AND "));
    let test = match (draft.dice.below(3), equal.as_slice()) {
        (0, [only]) if only.starts_with("a.") => {
            let (l, r) = only.split_once(" = ").unwrap_or_default();
            format!("{l} IN (SELECT {r} {})", from(&conditions))
        }
        (choice, equal) => {
            conditions.extend_from_slice(equal);
            format!("{}EXISTS (SELECT 1 {})", if choice == 1 { "NOT " } else { "" }, from(&conditions))
        }
    };
    let name = draft.define_both(format!("SELECT {} FROM {} AS a WHERE {test}{more}", a.listed("a"), a.name));
    Rel { name, time: None, ..a }
}
