//! The decoder against arrow-json and serde_json, on good records and on broken bytes. Invariant: an oracle is never asked about
//! what we deliberately do differently; those cases are in `examples`.

use super::*;

/// JSON text of a value that fits the type.
fn fitting(data_type: &DataType) -> BoxedStrategy<String> {
    let quoted = |s: String| serde_json::to_string(&s).unwrap();
    let ascii = |s: String| {
        let escape = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format_units(c) };
        format!("\"{}\"", s.chars().map(escape).collect::<String>())
    };
    let fits = match data_type {
        DataType::Boolean => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        DataType::Int8 => any::<i8>().prop_map(|n| n.to_string()).boxed(),
        DataType::Int16 => any::<i16>().prop_map(|n| n.to_string()).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|n| format!("\"{n}\"")).boxed(),
        DataType::Int64 => any::<i64>().prop_map(|n| n.to_string()).boxed(),
        DataType::Float32 => (-1e30_f32..1e30).prop_map(|x| x.to_string()).boxed(),
        DataType::Float64 => prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:?}")),
            (-100_000_i64..100_000, 0_u32..6).prop_map(|(n, places)| format!("{:.*}", places as usize, n as f64 / 100.0)),
        ]
        .boxed(),
        DataType::Utf8View => prop_oneof![any::<String>().prop_map(quoted), any::<String>().prop_map(ascii)].boxed(),
        _ => (0_i64..4_000_000_000_000).prop_map(|ms| format!("\"{}\"", crate::time::format(ms * MILLISECOND))).boxed(),
    };
    prop_oneof![9 => fits, 1 => Just("null".to_owned())].boxed()
}

fn format_units(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// Any JSON text, for attributes that nobody declared.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(" , "))),
            proptest::collection::vec(("[a-z]{0,3}", inner), 0..4)
                .prop_map(|v| format!("{{{}}}", v.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","))),
        ]
    })
}

/// A record of fitting attributes, a few missing, in any order, with other attributes between.
fn record() -> impl Strategy<Value = String> {
    let declared: Vec<_> =
        types().into_iter().map(|(name, t)| proptest::option::weighted(0.8, fitting(&t).prop_map(move |v| (name.to_owned(), v)))).collect();
    let others = proptest::collection::vec(("x[a-z]{0,4}", any_json()), 0..3);
    let space = proptest::sample::select(vec!["", " ", "\n\t "]);
    (declared, others, space, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(declared, others, space, turn, shuffled)| {
        let mut all: Vec<(String, String)> = declared.into_iter().flatten().chain(others).collect();
        if shuffled && !all.is_empty() {
            let by = turn.index(all.len());
            all.rotate_left(by);
        }
        let members: Vec<String> = all.iter().map(|(k, v)| format!("\"{k}\"{space}:{space}{v}")).collect();
        format!("{space}{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
    })
}

/// What arrow-json makes of the records; of their texts serde_json, because arrow-json 59 joins surrogate pairs beyond the
/// second plane wrongly.
fn oracle(payloads: &[String]) -> RecordBatch {
    let plain = |t: DataType| if t == timestamp_type() { DataType::Timestamp(TimeUnit::Microsecond, None) } else { t };
    let fields: Vec<Field> = types().into_iter().map(|(n, t)| Field::new(n, plain(t), true)).collect();
    let builder = arrow::json::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_coerce_primitive(true);
    let mut decoder = builder.with_batch_size(payloads.len() + 1).build_decoder().unwrap();
    for payload in payloads {
        assert_eq!(decoder.decode(payload.as_bytes()).unwrap(), payload.len());
    }
    decoder.flush().unwrap().unwrap()
}

proptest! {
    #[test]
    fn good_records_are_as_arrow_json_reads_them(payloads in proptest::collection::vec(record(), 1..20)) {
        let decoded = decode(&schema(), &payloads);
        prop_assert_eq!(&decoded.rejects, &vec![]);
        let wanted = oracle(&payloads);
        for i in 0..wanted.num_columns() {
            let got = cast(decoded.rows.column(i), wanted.column(i).data_type()).unwrap();
            if let Some(texts) = got.as_string_view_opt() {
                let parsed = payloads.iter().map(|p| serde_json::from_str::<serde_json::Value>(p).unwrap());
                let wanted: Vec<Option<String>> = parsed.map(|p| p.get("text").and_then(|t| t.as_str()).map(str::to_owned)).collect();
                prop_assert_eq!(texts.iter().map(|t| t.map(str::to_owned)).collect::<Vec<_>>(), wanted);
            } else {
                prop_assert_eq!(&got, wanted.column(i), "column {}", types()[i].0);
            }
        }
    }

    #[test]
    fn mutated_records_are_rejected_if_serde_json_rejects_them(
        record in record(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\ue0-.n".to_vec())], any::<bool>()), 0..3),
    ) {
        let mut bytes = record.into_bytes();
        for (place, byte, insert) in mutations {
            let at = place.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        let decoded = decode(&schema(), &[&bytes]);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), 1);
        match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
            Ok(_) => {
                let type_error = decoded.rejects.iter().all(|r| r.reason.starts_with("column "));
                prop_assert!(type_error, "{:?}: {}", decoded.rejects, String::from_utf8_lossy(&bytes));
            }
            Err(e) => prop_assert!(decoded.rejects.len() == 1 || e.to_string().contains("out of range"), "{e}: {}", String::from_utf8_lossy(&bytes)),
        }
    }

    #[test]
    fn a_record_is_good_or_bad_whatever_is_wanted_and_however_batched(
        payloads in proptest::collection::vec(prop_oneof![4 => record().prop_map(String::into_bytes), 1 => proptest::collection::vec(any::<u8>(), 0..40), 1 => "\\{\"(int|flag|ts|text)\":(1|true|\"x\"|null|1.5)\\}".prop_map(String::into_bytes)], 1..12),
        wanted in proptest::collection::vec(any::<bool>(), 9),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = decode(&schema(), &payloads);
        let mut offsets: Vec<u64> = all.offsets.values().iter().copied().chain(all.rejects.iter().map(|r| r.offset)).collect();
        offsets.sort_unstable();
        prop_assert_eq!(offsets, (0..payloads.len() as u64).collect::<Vec<_>>(), "every record once");
        prop_assert!(all.offsets.values().is_sorted() && all.rejects.is_sorted_by_key(|r| r.offset));

        let projection: Vec<usize> = (0..9).filter(|&i| wanted[i]).collect();
        let some = decode(&DecodeSchema { projection: projection.clone(), ..schema() }, &payloads);
        prop_assert_eq!(&some.rejects, &all.rejects);
        prop_assert_eq!(&some.rows, &all.rows.project(&projection).unwrap());

        let at = cut.index(payloads.len());
        let mut one_decoder = decoder(&schema());
        let parts = [&payloads[..at], &payloads[at..]].map(|p| one_decoder.decode(&records("pump-1", p)).unwrap().rows);
        prop_assert_eq!(&arrow::compute::concat_batches(all.rows.schema_ref(), &parts).unwrap(), &all.rows);
    }
}
