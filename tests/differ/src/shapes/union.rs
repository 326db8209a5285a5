//! UNION ALL. Invariant: every row of every part is there.

use super::{Gives, Shape};
use crate::columns::{Column, Kind};
use crate::draft::{Draft, Rel};
use crate::source::{self, Want};

/// The shape.
pub static SHAPE: Shape = Shape { name: "union", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let want = if draft.dice.chance(70) { Want::Time } else { Want::Anything };
    let parts: Vec<Rel> = (0..2 + draft.dice.below(2)).map(|_| source::rows(draft, want)).collect();
    let timed = parts.iter().all(|p| p.time.is_some() && !p.updating);
    let mut columns: Vec<Column> = Vec::new();
    let kinds = [Kind::Whole, Kind::Double, Kind::Text, Kind::Truth];
    if timed {
        columns.push(Column::exact(draft.name("t"), Kind::Time));
    }
    for kind in kinds {
        if draft.dice.chance(60) || columns.is_empty() {
            columns.push(Column::exact(draft.name("c"), kind));
        }
    }
    let mut selects = Vec::new();
    for part in &parts {
        let mut items = Vec::new();
        for column in &mut columns {
            let of_kind: Vec<&Column> = part.columns.iter().filter(|c| c.kind == column.kind).collect();
            let found = match (&part.time, column.kind) {
                (Some(time), Kind::Time) => Column::exact(time.clone(), Kind::Time),
                _ if of_kind.is_empty() => Column::exact(format!("CAST(NULL AS {})", crate::expressions::sql(column.kind)), column.kind),
                _ => (*draft.dice.pick(&of_kind)).clone(),
            };
            column.precision = column.precision.max(found.precision);
            items.push(format!("{} AS {}", found.name, column.name));
        }
        for (n, pin) in part.pins.iter().enumerate() {
            // What must be shown is, in a column of its own.
            items.push(format!("{pin} AS p{n}"));
        }
        let filter = draft.filter(&part.columns, 25);
        selects.push((items, format!(" FROM {}{filter}", part.name)));
    }
    let most = parts.iter().map(|p| p.pins.len()).max().unwrap_or(0);
    let whole = |(mut items, from): (Vec<String>, String), pins: usize| {
        items.extend((pins..most).map(|n| format!("CAST(NULL AS BIGINT) AS p{n}")));
        format!("SELECT {}{from}", items.join(", "))
    };
    let selects: Vec<String> = selects.into_iter().zip(&parts).map(|(s, p)| whole(s, p.pins.len())).collect();
    let name = draft.define_both(selects.join(" UNION ALL "));
    let pins: Vec<String> = (0..most).map(|n| format!("p{n}")).collect();
    let time = timed.then(|| columns[0].name.clone());
    columns.extend(pins.iter().map(|p| Column::exact(p.clone(), Kind::Whole)));
    Rel { name, columns, time, updating: parts.iter().any(|p| p.updating), pins, ..Rel::default() }
}
