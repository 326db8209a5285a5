//! A case: a query, rows, and a way to run it. Invariant: it is a function of its seed.

use crate::bugs::Bug;
use crate::clock::Clock;
use crate::columns::Column;
use crate::data::{self, Entry};
use crate::dice::Dice;
use crate::draft::{Draft, Query, Rel};
use crate::shapes::{OUTERMOST, SHAPES};
use crate::way::Way;

/// Of a hundred queries so many have a shape that no other one reads.
const OUTERMOST_PERCENT: u32 = 4;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its seed.
    pub seed: u64,
    /// The query, twice.
    pub query: Query,
    /// How it is run.
    pub way: Way,
    /// The rows as they come.
    pub entries: Vec<Entry>,
}

impl Case {
    /// The case of a seed; `bug` is what its oracle gets wrong.
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let clock = data::clock(&mut Dice::new(seed, 0));
        let way = Way::new(&mut Dice::new(seed, 1), seed);
        let entries = data::entries(&mut Dice::new(seed, 2), clock, way.partitions);
        let entries = data::with_strays(&mut Dice::new(seed, 5), clock, entries, way.partitions);
        Self { seed, query: query(seed, clock, bug), way, entries }
    }
}

fn query(seed: u64, clock: Clock, bug: Option<Bug>) -> Query {
    let mut draft = Draft::new(Dice::new(seed, 4), clock, bug);
    let shape = SHAPES[draft.dice.below(SHAPES.len())];
    // By dice of their own: what the others are stays as it was for every seed.
    let mut dice = Dice::new(seed, 6);
    let shape = if dice.chance(OUTERMOST_PERCENT) { *dice.pick(OUTERMOST) } else { shape };
    let rel = (shape.write)(&mut draft);
    let last = last(&mut draft, &rel);
    draft.finish(shape.name, &last)
}

/// The outermost SELECT.
fn last(draft: &mut Draft, rel: &Rel) -> String {
    if draft.dice.chance(40) {
        return format!("SELECT * FROM {}", rel.name);
    }
    let mut columns: Vec<Column> = rel.columns.clone();
    let always = rel.columns[draft.dice.below(rel.columns.len())].name.clone();
    columns.retain(|c| c.name == always || rel.pins.contains(&c.name) || draft.dice.chance(60));
    let mut items: Vec<String> = columns.into_iter().map(|c| c.name).collect();
    if draft.dice.chance(30) {
        let value = draft.value(&rel.columns, 2);
        items.push(format!("{} AS x", value.name));
    }
    let filter = draft.filter(&rel.columns, 20);
    format!("SELECT {} FROM {}{filter}", items.join(", "), rel.name)
}
