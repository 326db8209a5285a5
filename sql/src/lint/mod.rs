//! What Apache Flink would refuse or read differently. Invariant: the original text is judged as it stands, without a server, a lake
//! or another statement than its own; what is not found here may still differ where types or data decide that the script does not tell.
//!
//! Flink is 1.20, the version with long support, and 2.3: what one of them refuses is refused. `flink` says what was checked.
//!
//! ```text
//! text ─► script (our parser; what is declared) ─► walk ─► each of FAMILIES ─► report ─► findings, in order
//! ```
//!
//! A rule is a value in the file of its family, and in [`RULES`].

mod clauses;
mod connectors;
mod finding;
mod flink;
mod functions;
mod intervals;
mod joins;
mod kinds;
mod lake;
mod meaning;
mod names;
mod numbers;
mod operators;
mod report;
mod scope;
mod script;
mod settings;
mod statements;
mod types;
mod walk;
mod windows;

pub use finding::{Effect, Finding, Rule};

use crate::stack::with_room;
use thalweg_engine::error::Result;
use walk::Family;

/// Every rule, sorted by name.
pub static RULES: &[&Rule] = &[
    &joins::ASOF,
    &operators::CAST,
    &numbers::NARROWING,
    &meaning::CAST,
    &connectors::CONNECTOR,
    &meaning::DIVISION,
    &numbers::QUOTIENT,
    &statements::DESCRIBE_TABLE,
    &clauses::DISTINCT_ON,
    &statements::DROP_JOB,
    &statements::DROP_TEMPORARY,
    &settings::EARLY,
    &statements::EXPLAIN_SET,
    &operators::EXPRESSION,
    &meaning::EXTRACT,
    &connectors::FORMAT,
    &functions::FUNCTION,
    &functions::ARGUMENTS,
    &meaning::MEANING,
    &functions::SINCE,
    &clauses::GROUP_ALIAS,
    &clauses::GROUP_ALL,
    &clauses::GROUP_NUMBER,
    &windows::GROUPED_CUMULATE,
    &clauses::HAVING_ALIAS,
    &windows::HOP_MULTIPLE,
    &statements::INFERRED_COLUMNS,
    &meaning::DEVIATION,
    &meaning::SUM,
    &intervals::PRECISION,
    &intervals::FRACTION,
    &intervals::NUMBER,
    &intervals::UNIT,
    &statements::JOB_NAME,
    &joins::FORM,
    &connectors::JSON_TIME,
    &lake::TABLE,
    &functions::LEAD,
    &statements::LIKE_COMMA,
    &meaning::LIKE,
    &operators::LIST,
    &connectors::METADATA,
    &windows::MONTHS,
    &names::CASE,
    &operators::OPERATOR,
    &connectors::OPTION,
    &clauses::ORDER,
    &clauses::OVER,
    &joins::PROCTIME,
    &clauses::QUALIFY,
    &names::QUOTES,
    &names::RESERVED,
    &numbers::ROOT,
    &statements::SAVEPOINT,
    &settings::SETTING,
    &statements::SHOW_CREATE,
    &numbers::SIGN,
    &clauses::STAR,
    &operators::TEXT,
    &windows::TIME_ATTRIBUTE,
    &operators::TIME_DIFFERENCE,
    &types::TIME_DIGITS,
    &settings::ZONE,
    &types::SPELLING,
    &types::LENGTH,
    &operators::UNEQUAL,
    &clauses::BY_NAME,
    &joins::ORDINALITY,
    &joins::VERSIONED,
    &types::WATERMARK_DIGITS,
    &windows::CALL,
    &windows::PARTITION,
];

/// Every family, sorted by its file.
static FAMILIES: &[&Family] = &[
    &clauses::FAMILY,
    &connectors::FAMILY,
    &functions::FAMILY,
    &intervals::FAMILY,
    &joins::FAMILY,
    &lake::FAMILY,
    &meaning::FAMILY,
    &names::FAMILY,
    &numbers::FAMILY,
    &operators::FAMILY,
    &settings::FAMILY,
    &statements::FAMILY,
    &types::FAMILY,
    &windows::FAMILY,
];

/// What Flink would make of a script of this engine. Errors: `Invalid` if a statement is none, with its place.
pub fn lint(script: &str) -> Result<Vec<Finding>> {
    with_room(|| {
        let parsed = script::Script::new(script).map_err(|p| p.into_error(script))?;
        let mut report = report::Report::new(script);
        walk::walk(&parsed, FAMILIES, &mut report);
        Ok(report.finish())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_and_say_what_to_do() {
        let unsorted = RULES.windows(2).find(|pair| pair[0].name >= pair[1].name).map(|pair| pair[1].name);
        assert_eq!(unsorted, None);
        assert!(RULES.iter().all(|r| !r.finds.is_empty()));
    }
}
