//! Two sides of a join: their keys and what is selected of them. Invariant: what either side must show is selected.

use crate::columns::{Column, Kind, of};
use crate::draft::{Draft, Rel};

/// Columns of both sides under new names, as SELECT lists them.
pub struct Pair {
    /// `a.x AS c1`.
    pub items: Vec<String>,
    /// What they are called.
    pub columns: Vec<Column>,
    /// Those that must be shown.
    pub pins: Vec<String>,
    names: Vec<(String, String)>,
}

impl Pair {
    /// Some columns of `a` and `b`.
    pub fn new(draft: &mut Draft, a: &Rel, b: &Rel, needed: &[Option<&String>]) -> Self {
        let mut made = Self { items: Vec::new(), columns: Vec::new(), pins: Vec::new(), names: Vec::new() };
        for (alias, side) in [("a", a), ("b", b)] {
            for column in of(alias, &side.columns) {
                let plain = column.name[2..].to_owned();
                let pinned = side.pins.contains(&plain);
                let is_needed = pinned || needed.contains(&Some(&column.name));
                if !is_needed && draft.dice.chance(40) {
                    continue;
                }
                let name = draft.name("c");
                made.items.push(format!("{} AS {name}", column.name));
                made.columns.push(column.called(name.clone()));
                made.pins.extend(pinned.then(|| name.clone()));
                made.names.push((column.name, name));
            }
        }
        made
    }

    /// What a column of a side is called.
    pub fn named(&self, column: &str) -> Option<String> {
        self.names.iter().find(|(from, _)| from == column).map(|(_, to)| to.clone())
    }
}

/// Equalities of columns of both sides: one or two, or none if they have nothing in common.
pub fn equalities(draft: &mut Draft, a: &Rel, b: &Rel) -> Vec<String> {
    let (left, right) = (of("a", &a.keys()), of("b", &b.keys()));
    let mut pairs: Vec<(String, String)> = Vec::new();
    for l in &left {
        pairs.extend(right.iter().filter(|r| r.kind == l.kind && l.kind != Kind::Double).map(|r| (l.name.clone(), r.name.clone())));
    }
    // Keys that have the same name are meant to meet.
    let same: Vec<_> = pairs.iter().filter(|(l, r)| l[2..] == r[2..] && !l.ends_with("id")).cloned().collect();
    let mut chosen: Vec<(String, String)> = Vec::new();
    if !same.is_empty() && draft.dice.chance(92) {
        chosen.push(draft.dice.pick(&same).clone());
    } else if !pairs.is_empty() {
        chosen.push(draft.dice.pick(&pairs).clone());
    }
    if !pairs.is_empty() && draft.dice.chance(10) {
        chosen.push(draft.dice.pick(&pairs).clone());
    }
    chosen.dedup();
    let swapped = draft.dice.chance(25);
    chosen.into_iter().map(|(l, r)| if swapped { format!("{r} = {l}") } else { format!("{l} = {r}") }).collect()
}

/// A condition on both sides, at times.
pub fn residual(draft: &mut Draft, a: &Rel, b: &Rel) -> Option<String> {
    let columns: Vec<Column> = of("a", &a.keys()).into_iter().chain(of("b", &b.keys())).collect();
    draft.dice.chance(25).then(|| format!("({})", draft.condition(&columns, 1)))
}
