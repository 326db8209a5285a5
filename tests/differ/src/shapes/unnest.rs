//! UNNEST. Invariant: the oracle knows of no lists: it has a query for each place of the list.

use super::{Gives, Shape};
use crate::columns::{Column, Kind, Precision, decisive, of};
use crate::draft::{Draft, Rel};
use crate::expressions::{Expressions, sql};
use crate::source::{self, Want};

/// Most elements of a list.
pub(crate) const ELEMENTS_MAX: usize = 3;

/// The shape.
pub static SHAPE: Shape = Shape { name: "unnest", gives: Gives::Timed, windowed: false, write };

fn write(draft: &mut Draft) -> Rel {
    let input = source::rows(draft, Want::Time);
    let columns = decisive(&of("a", &input.columns));
    let kind = *draft.dice.pick(&[Kind::Whole, Kind::Double, Kind::Text]);
    let elements = elements(draft, &columns, kind);
    let is_list = draft.dice.chance(30).then(|| draft.condition(&columns, 1));
    let (outer, ordinality) = (draft.dice.chance(30), draft.dice.chance(40));
    let filter = draft.dice.chance(25).then(|| draft.condition(&columns, 1));
    let (element, place) = (draft.name("e"), draft.name("p"));
    let items = input.listed("a");

    let values: Vec<&str> = elements.iter().map(|e| e.name.as_str()).collect();
    let list = format!("make_array({})", values.join(", "));
    let list = is_list.as_ref().map_or_else(|| list.clone(), |c| format!("CASE WHEN {c} THEN {list} END"));
    let (open, close) = if outer { ("LEFT JOIN", " ON TRUE") } else { ("CROSS JOIN", "") };
    let (with, names, shown) = match ordinality {
        true => (" WITH ORDINALITY", format!("{element}, {place}"), format!("u.{element}, u.{place}")),
        false => ("", element.clone(), format!("u.{element}")),
    };
    let filtered = filter.as_ref().map_or_else(String::new, |f| format!(" WHERE {f}"));
    let stream = format!("SELECT {items}, {shown} FROM {} AS a {open} UNNEST({list}){with} AS u ({names}){close}{filtered}", input.name);

    let select = |value: &str, number: &str, condition: Option<String>| {
        let conditions: Vec<String> = filter.iter().cloned().chain(condition).map(|c| format!("({c})")).collect();
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let number = if ordinality { format!(", CAST({number} AS INT) AS {place}") } else { String::new() };
        format!("SELECT {items}, {value} AS {element}{number} FROM {} AS a{filter}", input.name)
    };
    let mut selects: Vec<String> = (1_usize..).zip(&values).map(|(n, &value)| select(value, &n.to_string(), is_list.clone())).collect();
    if let (true, Some(condition)) = (outer, &is_list) {
        selects.push(select(&format!("CAST(NULL AS {})", sql(kind)), "NULL", Some(format!("({condition}) IS NOT TRUE"))));
    }
    let name = draft.define(stream, selects.join(" UNION ALL "));

    let precision = elements.iter().map(|e| e.precision).max().unwrap_or(Precision::Sums);
    let element = Column { name: element, kind, precision };
    let place = ordinality.then(|| Column::exact(place, Kind::Whole));
    let columns = input.columns.iter().cloned().chain([element]).chain(place).collect();
    Rel { name, columns, id: None, ordered: false, window: None, ..input }
}

/// The elements of a list, all of one type.
fn elements(draft: &mut Draft, columns: &[Column], kind: Kind) -> Vec<Column> {
    let count = 1 + draft.dice.below(ELEMENTS_MAX);
    let mut expressions = Expressions::new(&mut draft.dice, draft.clock, columns);
    let mut element = || {
        let value = expressions.value(kind, 1);
        value.called(format!("CAST({} AS {})", value.name, sql(kind)))
    };
    (0..count).map(|_| element()).collect()
}
