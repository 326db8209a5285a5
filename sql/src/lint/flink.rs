//! Words and functions of Apache Flink. Invariant: the lists are sorted, in lower case, and hold what Flink 1.20, the version with long
//! support, and 2.3 agree on; what only one of them refuses counts as refused.
//!
//! Checked against the documentation of both and the sources of 2.x: functions against `docs/data/sql_functions.yml` and
//! `FlinkSqlOperatorTable`, words against `Parser.tdd` and the keywords of `Parser.jj` (those that are not in `nonReservedKeywords`),
//! forms of queries against `FlinkSqlConformance` and the grammar in `queries/overview.md`.

/// Functions of Flink 1.20; those of a table or in GROUP BY too.
const FUNCTIONS: &str = "\
    abs acos approx_count_distinct array_agg array_append array_concat array_contains array_distinct array_except array_intersect \
    array_join array_max array_min array_position array_prepend array_remove array_reverse array_slice array_sort array_union ascii asin \
    atan atan2 avg bin cardinality ceil ceiling char_length character_length chr classifier coalesce collect concat concat_ws convert_tz \
    cos cosh cot count cume_dist cumulate current_database current_date current_row_timestamp current_time current_timestamp \
    current_watermark date_format dayofmonth dayofweek dayofyear decode degrees dense_rank descriptor e element encode exp first \
    first_value floor from_base64 from_unixtime greatest group_id grouping grouping_id hex hop hop_end hop_proctime hop_rowtime \
    hop_start hour if ifnull initcap instr is_alpha is_decimal is_digit json_array json_arrayagg json_exists json_object json_objectagg \
    json_query json_quote json_string json_unquote json_value lag last last_value lead least left listagg ln localtime localtimestamp \
    locate log log10 log2 lower lpad ltrim map_entries map_from_arrays map_keys map_union map_values match_proctime match_rowtime max \
    md5 min minute mod month next now ntile nullif overlay parse_url percent_rank pi position power prev proctime quarter radians rand \
    rand_integer rank regexp regexp_extract regexp_replace repeat replace reverse right round row row_number rpad rtrim second session \
    session_end session_proctime session_rowtime session_start sha1 sha2 sha224 sha256 sha384 sha512 sign sin single_value sinh \
    source_watermark split split_index sqrt stddev stddev_pop stddev_samp str_to_map substr substring sum tan tanh timestampadd \
    timestampdiff to_base64 to_date to_timestamp to_timestamp_ltz trim truncate tumble tumble_end tumble_proctime tumble_rowtime \
    tumble_start typeof unix_timestamp upper url_decode url_encode uuid var_pop var_samp variance week year";

/// Functions that came with Flink 2.
const FUNCTIONS_SINCE_2: &str = "\
    btrim elt endswith parse_json percentile printf regexp_count regexp_extract_all regexp_instr regexp_substr startswith translate \
    try_parse_json unhex";

/// Words that are no names unless they are quoted.
const RESERVED: &str = "\
    abs all allocate allow alter and any are array array_concat_agg array_max_cardinality as asensitive asymmetric at atomic \
    authorization avg begin begin_frame begin_partition between bigint binary bit blob boolean both buckets by bytes call called \
    cardinality cascaded case cast catalogs ceil ceiling char char_length character character_length check classifier clob close \
    coalesce collate collect column comment commit condition connect connections constraint contains continuous convert corr \
    corresponding count covar_pop covar_samp create cross cube cume_dist current current_catalog current_date \
    current_default_transform_group current_path current_role current_row current_schema current_time current_timestamp \
    current_transform_group_for_type current_user cursor cycle databases date date_trunc datetime day deallocate dec decimal declare \
    default define delete dense_rank deref describe deterministic disallow disconnect distinct distributed distribution dot double drop \
    dynamic each element else empty end end_frame end_partition equals escape every except exec execute exists exp explain extend \
    extended external extract false fetch filter first_value float floor for foreign frame_row free freshness friday from full function \
    functions fusion get global grant group group_concat grouping groups hash having hold hour identity ilike import in include \
    indicator initial inner inout insensitive insert int integer intersect intersection interval into is join json_array json_arrayagg \
    json_exists json_object json_objectagg json_query json_value lag language large last_value lateral lead leading left like like_regex \
    limit ln local localtime localtimestamp lower match match_number match_recognize matches materialized max measures member merge \
    method min minus minute mod models modifies modify module modules monday month multiset national natural nchar nclob new next no \
    none normalize not nth_value ntile null nullif numeric occurrences_regex octet_length of offset old omit on one only open or order \
    out outer over overlaps overlay parameter partition pattern per percent percent_rank percentile_cont percentile_disc period permute \
    pivot portion position position_regex power precedes precision prepare prev primary procedure procedures qualify quarters range rank \
    raw reads real recursive ref references referencing refresh refresh_mode regr_avgx regr_avgy regr_count regr_intercept regr_r2 \
    regr_slope regr_sxx regr_sxy regr_syy release rename reset result resume return returns revoke right rlike rollback rollup row \
    row_number rows running saturday savepoint scala scope scroll search second seek select sensitive separator session_user set show \
    similar skip smallint some specific specifictype sql sqlexception sqlstate sqlwarning sqrt start statement static stddev_pop \
    stddev_samp stream string string_agg structured submultiset subset substring substring_regex succeeds sum sunday suspend symmetric \
    system system_time system_user table tables tablesample then thursday time time_diff time_trunc timestamp timestamp_diff \
    timestamp_ltz timestamp_trunc timezone_hour timezone_minute tinyint to trailing translate translate_regex translation treat trigger \
    trim trim_array true truncate tuesday uescape union unique unknown unnest unpivot update upper upsert use user using value value_of \
    values var_pop var_samp varbinary varchar variant varying versioning views watermark watermarks wednesday weeks when whenever where \
    width_bucket window with within without year";

/// Whether a word is no name unless it is quoted.
pub(super) fn is_reserved(word: &str) -> bool {
    holds(RESERVED, word)
}

/// Since when there is a function of this name; `None` if there is none.
pub(super) fn function(name: &str) -> Option<Since> {
    match (holds(FUNCTIONS, name), holds(FUNCTIONS_SINCE_2, name)) {
        (true, _) => Some(Since::Always),
        (_, true) => Some(Since::Two),
        _ => None,
    }
}

/// The version that brought something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// 1.20 has it.
    Always,
    /// Flink 2.
    Two,
}

fn holds(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_hold_each_word_once() {
        for list in [FUNCTIONS, FUNCTIONS_SINCE_2, RESERVED] {
            let words: Vec<&str> = list.split(' ').collect();
            assert_eq!(words.windows(2).find(|pair| pair[0] >= pair[1]), None);
        }
        assert!(FUNCTIONS_SINCE_2.split(' ').all(|f| !holds(FUNCTIONS, f)));
        assert!(is_reserved("Value") && !is_reserved("status"));
    }
}
