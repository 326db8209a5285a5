//! Functions. Invariant: a query can call only what is in these lists; each list is sorted, and every name in it exists.
//!
//! Left out on purpose: what makes rows or lists of any size out of nothing (`generate_series`, `array_repeat`, …; texts have a bound of their
//! own), what tells about files and versions (`input_file_name`, `version`), and what names Arrow types (`arrow_cast`, …).

mod arguments;
mod average;
mod base64;
mod date_format;
mod date_parts;
mod date_trunc;
mod decimals;
mod digest;
mod floats;
mod hex;
pub(crate) mod json;
mod locate;
mod mean;
mod pad;
mod pattern;
mod regexp;
mod regexp_extract;
mod regular;
mod repeat;
mod split_index;
mod sum;
mod timestampadd;
mod timestampdiff;
mod to_timestamp;
mod to_timestamp_ltz;
mod total;
mod truncate;
pub(crate) mod units;
mod unix_timestamp;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, Volatility, WindowUDF};
use thalweg_engine::contract::connector::distance;
use thalweg_engine::operators::window::WINDOWS;

use crate::diagnostics::suggestion;

/// Scalar functions.
pub(crate) const SCALARS: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "array_any_value",
    "array_append",
    "array_concat",
    "array_dims",
    "array_distance",
    "array_distinct",
    "array_element",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_reverse",
    "array_slice",
    "array_sort",
    "array_to_string",
    "array_union",
    "arrays_zip",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bit_length",
    "btrim",
    "cardinality",
    "cbrt",
    "ceil",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "cos",
    "cosh",
    "cot",
    "current_date",
    "current_time",
    "date_bin",
    "date_format",
    "date_part",
    "date_trunc",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "degrees",
    "empty",
    "ends_with",
    "exp",
    "factorial",
    "find_in_set",
    "flatten",
    "floor",
    "from_base64",
    "from_unixtime",
    "gcd",
    "get_field",
    "greatest",
    "hex",
    "hour",
    "initcap",
    "isnan",
    "iszero",
    "json_array",
    "json_exists",
    "json_get",
    "json_get_text",
    "json_object",
    "json_query",
    "json_value",
    "lcm",
    "least",
    "left",
    "levenshtein",
    "ln",
    "locate",
    "log",
    "log10",
    "log2",
    "lower",
    "lpad",
    "ltrim",
    "make_array",
    "make_date",
    "make_time",
    "map",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "md5",
    "minute",
    "month",
    "named_struct",
    "nanvl",
    "now",
    "nullif",
    "nvl",
    "nvl2",
    "octet_length",
    "overlay",
    "pi",
    "power",
    "quarter",
    "radians",
    "random",
    "regexp",
    "regexp_count",
    "regexp_extract",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "second",
    "sha2",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "signum",
    "sin",
    "sinh",
    "split_index",
    "split_part",
    "sqrt",
    "starts_with",
    "string_to_array",
    "strpos",
    "struct",
    "substr",
    "substr_index",
    "tan",
    "tanh",
    "timestampadd",
    "timestampdiff",
    "to_base64",
    "to_char",
    "to_date",
    "to_hex",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_ltz",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    "translate",
    "trunc",
    "truncate",
    "unix_timestamp",
    "upper",
    "uuid",
    "week",
    "year",
];

/// Aggregate functions.
pub(crate) const AGGREGATES: &[&str] = &[
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var",
    "var_pop",
];

/// Functions that the planner knows by name and nowhere registers.
const SPECIALS: &[&str] = &["unnest"];

/// What a function is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One value from the values of one row; repeatable if it depends on nothing else.
    Scalar { repeatable: bool },
    /// One value from many rows.
    Aggregate,
    /// Needs OVER.
    Window,
    /// Has its own rules.
    Special,
}

/// The functions that a query can call, by lower-case name.
pub(crate) struct Functions {
    pub(crate) scalars: Vec<Arc<ScalarUDF>>,
    pub(crate) aggregates: Vec<Arc<AggregateUDF>>,
    pub(crate) windows: Vec<Arc<WindowUDF>>,
    kinds: HashMap<String, Kind>,
}

impl Functions {
    /// All functions of the lists.
    pub(crate) fn new() -> Self {
        let mut scalars = SessionStateDefaults::default_scalar_functions();
        for f in scalars.iter_mut().filter(|f| f.name() == "to_timestamp") {
            *f = to_timestamp::to_timestamp(f.clone());
        }
        for f in scalars.iter_mut().filter(|f| f.name() == "date_trunc") {
            *f = date_trunc::date_trunc(f.clone());
        }
        // Behind DataFusion's, so that they win where it has the name for something else.
        scalars.extend(flink());
        scalars.extend(json::functions());
        scalars.retain(|f| SCALARS.binary_search(&f.name()).is_ok());
        let mut aggregates = SessionStateDefaults::default_aggregate_functions();
        for f in aggregates.iter_mut().filter(|f| f.name() == "avg") {
            *f = average::average(f.clone());
        }
        for f in aggregates.iter_mut().filter(|f| f.name() == "sum") {
            *f = sum::sum(f.clone());
        }
        aggregates.retain(|f| AGGREGATES.binary_search(&f.name()).is_ok());
        let windows = SessionStateDefaults::default_window_functions();
        let mut kinds = HashMap::new();
        for f in &windows {
            insert(&mut kinds, f.name(), f.aliases(), Kind::Window);
        }
        for f in &aggregates {
            insert(&mut kinds, f.name(), f.aliases(), Kind::Aggregate);
        }
        for f in &scalars {
            let repeatable = f.signature().volatility == Volatility::Immutable;
            insert(&mut kinds, f.name(), f.aliases(), Kind::Scalar { repeatable });
        }
        for name in SPECIALS {
            kinds.insert((*name).to_owned(), Kind::Special);
        }
        // They have no name that a query could say.
        scalars.extend(json::forms());
        Self { scalars, aggregates, windows, kinds }
    }

    /// What the function of this lower-case name is; `None` if there is none.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.get(name).copied()
    }

    /// Every name and what it is, by name.
    pub(crate) fn list(&self) -> Vec<[String; 2]> {
        let kind = |kind: &Kind| match kind {
            Kind::Scalar { .. } => "scalar",
            Kind::Aggregate => "aggregate",
            Kind::Window => "window",
            Kind::Special => "table",
        };
        let mut names: Vec<[String; 2]> = self.kinds.iter().map(|(name, k)| [name.clone(), kind(k).to_owned()]).collect();
        names.extend(WINDOWS.iter().map(|w| [w.name.to_owned(), "table".to_owned()]));
        names.sort();
        names
    }

    /// `did you mean 'x'?` for the nearest name.
    pub(crate) fn suggest(&self, name: &str) -> Option<String> {
        // Short names have many neighbours that do something else.
        let near = |known: &&str| distance(known, name) <= (name.chars().count() / 3).max(1);
        let mut names: Vec<&str> = self.kinds.keys().map(String::as_str).filter(near).collect();
        names.sort_unstable();
        suggestion(name, names)
    }
}

/// Functions of Flink that DataFusion has not, or has otherwise.
fn flink() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let single = [
        date_format::date_format(),
        hex::hex(),
        locate::locate(),
        regexp::regexp(),
        regexp_extract::regexp_extract(),
        repeat::repeat(),
        split_index::split_index(),
        timestampadd::timestampadd(),
        timestampdiff::timestampdiff(),
        to_timestamp_ltz::to_timestamp_ltz(),
        truncate::truncate(),
        unix_timestamp::unix_timestamp(),
    ];
    single.into_iter().chain(base64::both()).chain(date_parts::date_parts()).chain(digest::digests()).chain(pad::pads())
}

fn insert(kinds: &mut HashMap<String, Kind>, name: &str, aliases: &[String], kind: Kind) {
    for name in std::iter::once(name).chain(aliases.iter().map(String::as_str)) {
        kinds.insert(name.to_owned(), kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_every_name_exists() {
        assert!(SCALARS.is_sorted() && AGGREGATES.is_sorted());
        let functions = Functions::new();
        let missing = |list: &[&'static str], kinds: &dyn Fn(&str) -> bool| list.iter().filter(|n| !kinds(n)).copied().collect::<Vec<_>>();
        assert_eq!(missing(SCALARS, &|n| matches!(functions.kind(n), Some(Kind::Scalar { .. }))), Vec::<&str>::new());
        assert_eq!(missing(AGGREGATES, &|n| matches!(functions.kind(n), Some(Kind::Aggregate))), Vec::<&str>::new());
    }

    #[test]
    fn a_short_name_has_no_far_neighbours() {
        let functions = Functions::new();
        assert_eq!(functions.suggest("uper").as_deref(), Some("did you mean 'upper'?"));
        assert_eq!(functions.suggest("timestampdif").as_deref(), Some("did you mean 'timestampdiff'?"));
        for name in ["collect", "unhex", "x"] {
            assert_eq!(functions.suggest(name), None, "{name}");
        }
    }

    #[test]
    fn functions_that_reach_outside_are_not_there() {
        let functions = Functions::new();
        for name in ["generate_series", "range", "input_file_name", "version", "arrow_cast", "array_repeat"] {
            assert_eq!(functions.kind(name), None, "{name}");
        }
        for name in ["now", "random", "uuid", "current_timestamp"] {
            assert_eq!(functions.kind(name), Some(Kind::Scalar { repeatable: false }), "{name}");
        }
    }
}
