//! Rows that a query reads: a table, part of one, or what another query gives. Invariant: what a shape asks of its input, it gets.

use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::shapes::{Gives, SHAPES, Shape};
use crate::tables::{Fill, TABLES, Table};

/// Queries are nested so deep at most.
pub const DEPTH_MAX: u32 = 2;

/// What rows must have beside columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing: they may change.
    Anything,
    /// An event time.
    Time,
    /// An event time, and a column that tells them apart.
    Id,
    /// The same, and a known order of those of one time.
    Order,
}

impl Want {
    /// Whether rows have it.
    fn is_met(self, rel: &Rel) -> bool {
        match self {
            Self::Anything => true,
            Self::Time => rel.time.is_some() && !rel.updating,
            Self::Id => Self::Time.is_met(rel) && rel.id.is_some(),
            Self::Order => Self::Id.is_met(rel) && rel.ordered,
        }
    }
}

/// Random rows.
pub fn rows(draft: &mut Draft, want: Want) -> Rel {
    if draft.depth < DEPTH_MAX && draft.dice.chance(30) {
        let gives: &[Gives] = if want == Want::Anything { &[Gives::Changes, Gives::Timed, Gives::Rows] } else { &[Gives::Timed] };
        let fitting: Vec<&Shape> = SHAPES.iter().copied().filter(|s| gives.contains(&s.gives)).collect();
        let shape = *draft.dice.pick(&fitting);
        if let Some(made) = nested(draft, shape, |made| want.is_met(made)) {
            return made;
        }
    }
    let table = table(draft, want);
    if draft.dice.chance(35) { part(draft, &table) } else { table }
}

/// Rows that belong to windows.
pub fn windowed(draft: &mut Draft) -> Rel {
    let fitting: Vec<&Shape> = SHAPES.iter().copied().filter(|s| s.windowed).collect();
    loop {
        let shape = *draft.dice.pick(&fitting);
        if let Some(made) = nested(draft, shape, |made| made.window.is_some() && !made.updating) {
            return made;
        }
    }
}

/// The rows of another query, if they are what is wanted.
fn nested(draft: &mut Draft, shape: &Shape, wanted: impl Fn(&Rel) -> bool) -> Option<Rel> {
    let mark = draft.mark();
    draft.depth += 1;
    let made = (shape.write)(draft);
    draft.depth -= 1;
    if wanted(&made) {
        return Some(made);
    }
    draft.forget(mark);
    None
}

/// A table as it is.
fn table(draft: &mut Draft, want: Want) -> Rel {
    let first_is_id = |t: &&Table| t.columns.first().is_some_and(|c| c.fill == Fill::Id);
    let fitting: Vec<&Table> = TABLES.iter().filter(|t| want != Want::Order || first_is_id(t)).collect();
    let table = *draft.dice.pick(&fitting);
    Rel {
        name: table.name.to_owned(),
        columns: table.columns(),
        time: Some("ts".to_owned()),
        id: Some("id".to_owned()),
        ordered: first_is_id(&table),
        ..Rel::default()
    }
}

/// Some rows and columns of a table, and expressions over them.
pub fn part(draft: &mut Draft, of: &Rel) -> Rel {
    let (id, time) = (draft.name("id"), draft.name("t"));
    let mut columns = vec![Column::exact(id.clone(), Kind::Whole), Column::exact(time.clone(), Kind::Time)];
    let mut items = vec![format!("id AS {id}"), format!("ts AS {time}")];
    if draft.dice.chance(30) {
        // Where the time stands is of no account.
        columns.swap(0, 1);
        items.swap(0, 1);
    }
    let id_first = columns[0].name == id;
    let mut plain: Vec<Column> = of.columns.iter().filter(|c| c.name != "id" && c.name != "ts").cloned().collect();
    plain.retain(|_| draft.dice.chance(75));
    if plain.is_empty() {
        plain.extend(of.columns.iter().find(|c| c.name == "k").cloned());
    }
    for column in plain {
        let name = if draft.dice.chance(50) { column.name.clone() } else { draft.name("c") };
        items.push(format!("{} AS {name}", column.name));
        columns.push(column.called(name));
    }
    for _ in 0..draft.dice.below(3) {
        let value = draft.value(&of.columns, 2);
        let name = draft.name("x");
        items.push(format!("{} AS {name}", value.name));
        columns.push(value.called(name));
    }
    let filter = draft.filter(&of.columns, 40);
    let name = draft.define_both(format!("SELECT {} FROM {}{filter}", items.join(", "), of.name));
    Rel { name, columns, time: Some(time), id: Some(id), ordered: of.ordered && id_first, ..Rel::default() }
}
