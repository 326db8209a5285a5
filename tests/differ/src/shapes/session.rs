//! Session windows. Invariant: a window is the rows of a key of which each is at most the gap behind the one before; the oracle numbers the
//! gaps.

use super::windowed::Names;
use super::{Gives, Shape};
use crate::aggregates::Place;
use crate::clock::interval;
use crate::columns::Kind;
use crate::draft::{Draft, Rel};
use crate::grouping::Grouping;
use crate::source::{self, Want};
use crate::windows::about;

/// The shape.
pub static SHAPE: Shape = Shape { name: "session", gives: Gives::Timed, windowed: true, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let Some(time) = input.time.clone() else { return input };
    let parts = draft.dice.within(10..60);
    let gap = interval(about(draft, parts));
    let keys: Vec<_> = input.keys().into_iter().filter(|c| c.kind != Kind::Double).collect();
    let keys = draft.dice.some(&keys, 2);
    let grouping = Grouping::with_keys(draft, &input, keys, Place::Ordered);
    let keys = grouping.keys();
    let by = if keys.is_empty() { String::new() } else { format!(" PARTITION BY {}", keys.join(", ")) };
    let from = match draft.dice.chance(25) {
        true => None,
        false => Some(format!("TABLE(SESSION(TABLE {}{by}, DESCRIPTOR({time}), {gap}))", input.name)),
    };
    let filter = if from.is_none() { draft.filter(&input.columns, 25) } else { String::new() };
    let began = format!(
        "SELECT *, CASE WHEN {time} <= LAG({time}) OVER ({by} ORDER BY {time}) + {gap} THEN 0 ELSE 1 END AS began FROM {}{filter}",
        input.name
    );
    let numbered = format!("SELECT *, SUM(began) OVER ({by} ORDER BY {time} ROWS UNBOUNDED PRECEDING) AS session FROM ({began})");
    let numbered = draft.define_batch(numbered);
    let names = Names::new(draft);
    let having = grouping.having(draft, &input);
    let (stream, batch) = grouping.items();
    let (window, groups) = names.items();
    let stream = match from {
        Some(from) => {
            let (items, groups) = ([window, stream].concat().join(", "), [groups, keys.clone()].concat().join(", "));
            format!("SELECT {items} FROM {from} GROUP BY {groups}{having}")
        }
        None => {
            let parts = ["START", "END", "ROWTIME"].into_iter().zip([Some(&names.start), Some(&names.end), names.time.as_ref()]);
            let called = parts.filter_map(|(part, name)| Some(format!("SESSION_{part}({time}, {gap}) AS {}", name?)));
            let items: Vec<String> = called.chain(stream).collect();
            let groups = std::iter::once(format!("SESSION({time}, {gap})")).chain(keys.clone()).collect::<Vec<_>>();
            format!("SELECT {} FROM {}{filter} GROUP BY {}{having}", items.join(", "), input.name, groups.join(", "))
        }
    };
    let mut items = vec![format!("MIN({time}) AS {}", names.start), format!("MAX({time}) + {gap} AS {}", names.end)];
    items.extend(names.time.iter().map(|t| format!("MAX({time}) + {gap} - INTERVAL '1' MILLISECOND AS {t}")));
    items.extend(batch);
    let groups: Vec<String> = std::iter::once("session".to_owned()).chain(keys).collect();
    let batch = format!("SELECT {} FROM {numbered} GROUP BY {}{having}", items.join(", "), groups.join(", "));
    let name = draft.define(stream, batch);
    names.rel(name, grouping.columns(), grouping.pins())
}
