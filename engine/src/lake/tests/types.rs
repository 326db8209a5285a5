//! Columns of every type. Invariant checked: what is written is what a reader of the files gets, before and after a seal.

use arrow::array::{BinaryArray, Date32Array, Decimal128Array, Int8Array, Int16Array};
use arrow::json::ReaderBuilder;

use super::*;

fn every_type() -> TableSpec {
    let item = |t| Arc::new(Field::new_list_field(t, true));
    let row = DataType::Struct(vec![Field::new("a", DataType::Int32, true), Field::new("s", DataType::Utf8View, true)].into());
    let pair = vec![Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::Float64, true)];
    let fields = vec![
        Field::new("tiny", DataType::Int8, true),
        Field::new("list", DataType::List(item(row.clone())), true),
        Field::new("map", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false), true),
        Field::new("row", row, true),
        Field::new("small", DataType::Int16, true),
        Field::new("price", DataType::Decimal128(20, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("raw", DataType::Binary, true),
        Field::new("device_id", DataType::Utf8View, false),
        Field::new("ts", crate::time::timestamp_type(), true),
    ];
    TableSpec { schema: Arc::new(Schema::new(fields)), ..spec("types") }
}

/// Rows of which the nested columns come from JSON.
fn every_value() -> RecordBatch {
    let schema = every_type().schema;
    let nested = schema.project(&[1, 2, 3]).unwrap();
    let json = br#"{"list":[{"a":1,"s":"x"},null,{"a":2}],"map":{"a long key that is no inline view":1.5,"b":null},"row":{"s":"text"}}
        {"list":[],"map":{},"row":null}"#;
    let nested = ReaderBuilder::new(Arc::new(nested)).build(json.as_slice()).unwrap().next().unwrap().unwrap();
    let times = TimestampMicrosecondArray::from(vec![DAY + 2, DAY + 1]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![Some(-128), None])),
        nested.column(0).clone(),
        nested.column(1).clone(),
        nested.column(2).clone(),
        Arc::new(Int16Array::from(vec![None, Some(32_767)])),
        Arc::new(Decimal128Array::from(vec![Some(-12_345), None]).with_precision_and_scale(20, 2).unwrap()),
        Arc::new(Date32Array::from(vec![Some(-1), None])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255]), None])),
        Arc::new(StringViewArray::from(vec!["pump-1", "pump-2"])),
        Arc::new(times),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The rows of a table, in the types of its columns.
fn stored(table: &LakeTable) -> RecordBatch {
    let files = table.snapshot().unwrap().files.clone();
    let schema = every_type().schema;
    let read = |path: &Path| {
        let options = parquet::arrow::arrow_reader::ArrowReaderOptions::new().with_schema(schema.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path).unwrap(), options).unwrap().build().unwrap();
        reader.map(Result::unwrap).collect::<Vec<_>>()
    };
    let batches: Vec<RecordBatch> = files.iter().flat_map(|f| read(&f.path)).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

#[test]
fn every_type_survives_the_lake() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(every_type()).unwrap();
    run(table.sink("job").unwrap().as_mut(), 1, &every_value());
    assert_eq!(stored(&table), every_value());
    let snapshot = table.snapshot().unwrap();
    assert_eq!(snapshot.event_time_max, Some(DAY + 2), "statistics are those of the right column");
    table.seal(SealScope::All, 0).unwrap();
    assert_eq!(stored(&table), every_value(), "sorted by device");
    drop((table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "types").unwrap();
    assert_eq!(stored(&table), every_value());
    assert_eq!(table.schema().fields()[..10], every_type().schema.fields()[..]);
    assert!(lake.verify(in_two_days()).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));
}

#[test]
fn whether_a_column_may_be_null_is_for_the_table_to_say() {
    let world = World::new();
    let lake = world.open().unwrap();
    let table = lake.create(spec("readings")).unwrap();
    let strict = spec_with([false; 3]).schema;
    let promised = RecordBatch::try_new(strict, two_days(1).columns().to_vec()).unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.write(&promised).unwrap();
    run(sink.as_mut(), 1, &rows(&[("pump-3", None, 0.0)]));
    run(sink.as_mut(), 2, &rows(&[("pump-3", Some(DAY), 0.0)]));
    assert_eq!(contents(&table).len(), 4);
    table.seal(SealScope::All, 0).unwrap();
    assert_eq!(contents(&table).len(), 4);

    let none: ArrayRef = Arc::new(StringViewArray::from(vec![None::<&str>, None]));
    let nameless =
        RecordBatch::try_from_iter([("device_id", none), ("ts", two_days(1)["ts"].clone()), ("value", two_days(1)["value"].clone())]);
    let mut open = file::OpenFile::create(&table.environment, &table.layout, layout::Level::Recent).unwrap();
    let refused = open.write(&nameless.unwrap()).unwrap_err();
    assert_eq!((refused.kind(), refused.message()), (ErrorKind::Invalid, "column 'device_id' has NULL, but is NOT NULL"));
}

#[test]
fn every_type_survives_a_bucket() {
    let world = World::new();
    let keyed = || TableSpec { primary_key: vec!["device_id".into()], ..every_type() };
    let lake = world.open().unwrap();
    let table = lake.create(keyed()).unwrap();
    let first = run(table.sink("job").unwrap().as_mut(), 1, &every_value());
    drop((table, lake));
    let lake = world.open().unwrap();
    let table = lake.table("warm", "types").unwrap();
    let mut sink = table.sink("job").unwrap();
    sink.recover(&first).unwrap();
    assert!(run(sink.as_mut(), 2, &every_value()).is_empty(), "the rows are the same");
    // Each row takes the values of the other.
    let swap = arrow::array::UInt32Array::from(vec![1, 0]);
    let mut columns = arrow::compute::take_record_batch(&every_value(), &swap).unwrap().columns().to_vec();
    columns[8] = every_value().column(8).clone();
    let swapped = RecordBatch::try_new(every_type().schema, columns).unwrap();
    run(sink.as_mut(), 3, &swapped);
    let by_device = |rows: RecordBatch| {
        let order = arrow::compute::sort_to_indices(rows.column(8), None, None).unwrap();
        arrow::compute::take_record_batch(&rows, &order).unwrap()
    };
    assert_eq!(by_device(stored(&table)), swapped);

    for (column, part) in [("list", "has values inside"), ("map", "has values inside"), ("row", "has values inside")] {
        let e = lake.create(TableSpec { primary_key: vec![column.into()], name: Name::new("other").unwrap(), ..every_type() }).unwrap_err();
        assert!(e.message().contains(part), "{e}");
    }
}
