//! Builders against arrow-json, and what a value that does not fit leaves behind. Invariant: a column that was truncated is the
//! column that never had the rest.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Field, Int32Type};
use proptest::prelude::*;

use super::*;

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

fn row(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect())
}

fn map(value: DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", DataType::Utf8View, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

fn deep() -> DataType {
    let inner = row(&[("n", DataType::Int32), ("tags", DataType::List(item(DataType::Utf8View)))]);
    row(&[("list", DataType::List(item(inner))), ("map", map(DataType::Decimal128(6, 2))), ("bytes", DataType::Binary)])
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn member(name: &str, value: Value<'static>) -> (std::borrow::Cow<'static, str>, Value<'static>) {
    (name.to_owned().into(), value)
}

/// A value of type `deep`, or one that does not fit.
fn value() -> impl Strategy<Value = Value<'static>> {
    let tag = prop_oneof![5 => "[a-z]{0,20}".prop_map(|t| text(&t)), 1 => Just(Value::Null), 1 => Just(Value::Bytes(vec![1].into()))];
    let tags = prop_oneof![4 => proptest::collection::vec(tag, 0..4).prop_map(Value::list), 1 => Just(Value::Null)];
    let inner = (any::<i32>(), tags).prop_map(|(n, tags)| Value::map(vec![member("n", Value::Integer(n.into())), member("tags", tags)]));
    let list = proptest::collection::vec(prop_oneof![9 => inner, 1 => Just(Value::Null)], 0..4).prop_map(Value::list);
    let number = prop_oneof![9 => -9999_i128..9999, 1 => Just(10_000_i128)].prop_map(Value::Integer);
    let map = proptest::collection::vec(("[a-c]{0,1}", number), 0..5)
        .prop_map(|members| Value::map(members.into_iter().map(|(name, value)| member(&name, value)).collect()));
    let bytes = proptest::collection::vec(any::<u8>(), 0..5).prop_map(|b| Value::Bytes(b.into()));
    let whole = (proptest::option::of(list), proptest::option::of(map), proptest::option::of(bytes)).prop_map(|(list, map, bytes)| {
        let members = [("list", list), ("map", map), ("bytes", bytes)];
        Value::map(members.into_iter().filter_map(|(name, value)| Some(member(name, value?))).collect())
    });
    prop_oneof![9 => whole, 1 => Just(Value::Null), 1 => Just(Value::Integer(1))]
}

proptest! {
    #[test]
    fn a_misfit_leaves_nothing_behind(values in proptest::collection::vec(value(), 0..12)) {
        let mut builder = Builder::new(&deep(), 1).unwrap();
        let mut fitting = Vec::new();
        for value in &values {
            builder.truncate(fitting.len());
            if builder.append(value).is_ok() {
                fitting.push(value);
            }
        }
        let found = builder.finish(fitting.len()).unwrap();
        prop_assert_eq!(found.len(), fitting.len());
        let mut other = Builder::new(&deep(), 1).unwrap();
        for value in &fitting {
            prop_assert!(other.append(value).is_ok());
        }
        prop_assert_eq!(&other.finish(fitting.len()).unwrap(), &found);
        prop_assert_eq!(found.data_type(), &deep());
        // The builder begins anew.
        for value in &fitting {
            prop_assert!(builder.append(value).is_ok());
        }
        prop_assert_eq!(&builder.finish(fitting.len()).unwrap(), &found);
        found.to_data().validate_full().unwrap();
    }
}

#[test]
fn a_misfit_names_its_path() {
    let mut builder = Builder::new(&deep(), 1).unwrap();
    let wrong = |value: Value<'static>| Value::map(vec![member("list", Value::list(vec![Value::Null, value]))]);
    let n = wrong(Value::map(vec![member("n", text("hot"))]));
    assert_eq!(builder.append(&n).unwrap_err().reason("a"), "column a.list[1].n: expected INT, found \"hot\"");
    builder.truncate(0);
    let m = Value::map(vec![member("map", Value::map(vec![member("x", Value::Integer(12_345))]))]);
    assert_eq!(builder.append(&m).unwrap_err().reason("a"), "column a.map['x']: expected DECIMAL(6, 2), found 12345");
    builder.truncate(0);
    let reason = builder.append(&wrong(Value::Boolean(true))).unwrap_err().reason("a");
    assert_eq!(reason, "column a.list[1]: expected ROW<n INT, tags ARRAY<STRING>>, found true");
}

#[test]
fn the_last_of_equal_names_counts() {
    let mut builder = Builder::new(&map(DataType::Int32), 1).unwrap();
    let member = |name: &'static str, n: i128| (name.into(), Value::Integer(n));
    builder.append(&Value::map(vec![member("a", 1), member("b", 2), member("a", 3)])).unwrap();
    let array = builder.finish(1).unwrap();
    let entries = array.as_map().value(0);
    assert_eq!(entries.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(entries.column(1).as_primitive::<Int32Type>().values().to_vec(), [2, 3]);
}

#[test]
fn values_become_what_is_declared_or_nothing() {
    let of = |data_type: DataType, value: Value<'static>| {
        let mut builder = Builder::new(&data_type, 1_000).unwrap();
        builder.append(&value).ok()?;
        Some(arrow::util::display::array_value_to_string(&builder.finish(1).unwrap(), 0).unwrap())
    };
    let (time, stamp) = (DataType::Time64(TimeUnit::Microsecond), crate::time::timestamp_type());
    let good: Vec<(DataType, Value<'static>, &str)> = vec![
        (DataType::Int8, Value::Double(3.0), "3"),
        (DataType::Int64, Value::Decimal { unscaled: -1200, scale: 2 }, "-12"),
        (DataType::Float32, Value::Double(0.1), "0.1"),
        (DataType::Float64, text(" 2.50 "), "2.5"),
        (DataType::Decimal128(5, 2), Value::Double(21.345), "21.35"),
        (DataType::Decimal128(5, 2), Value::Number("1e2"), "100.00"),
        (DataType::Date32, text("2026-01-02"), "2026-01-02"),
        (time.clone(), text("01:02:03.456789"), "01:02:03.456"),
        (time.clone(), Value::Time(1_500), "00:00:00.001"),
        (stamp.clone(), Value::Integer(-1), "1969-12-31T23:59:59.999Z"),
        (stamp.clone(), Value::Timestamp(1_999), "1970-01-01T00:00:00.001Z"),
        (stamp.clone(), Value::Cell("1767225600000".into()), "2026-01-01T00:00:00Z"),
        (DataType::Utf8View, Value::Double(1.5), "1.5"),
        (DataType::Utf8View, Value::List { items: Vec::new(), source: "[ ]" }, "[ ]"),
        (DataType::Binary, text("AQID"), "010203"),
        (DataType::Binary, text("AQ"), "01"),
        (DataType::Boolean, Value::Cell("TRUE".into()), "true"),
    ];
    for (data_type, value, wanted) in good {
        assert_eq!(of(data_type.clone(), value.clone()).as_deref(), Some(wanted), "{data_type} {value:?}");
    }
    let bad: Vec<(DataType, Value<'static>)> = vec![
        (DataType::Int8, Value::Integer(128)),
        (DataType::Int64, Value::Double(1e300)),
        (DataType::Int64, Value::Integer(1 << 63)),
        (DataType::Float64, Value::Double(f64::NAN)),
        (DataType::Float64, Value::Double(f64::INFINITY)),
        (DataType::Float32, Value::Double(1e300)),
        (DataType::Decimal128(5, 2), Value::Integer(1000)),
        (DataType::Decimal128(5, 2), text("x")),
        (DataType::Date32, text("2026-02-30")),
        (DataType::Date32, Value::Date(i32::MAX)),
        (time, Value::Time(crate::time::DAY)),
        (stamp.clone(), Value::Timestamp(i64::MAX)),
        (stamp, text("1767225600000")),
        (DataType::Utf8View, Value::Bytes(vec![65].into())),
        (DataType::Binary, text("?")),
        (DataType::Boolean, text("true")),
    ];
    for (data_type, value) in bad {
        assert_eq!(of(data_type.clone(), value.clone()), None, "{data_type} {value:?}");
    }
}
