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
    assert!(lake.verify(100 * DAY).unwrap().findings.iter().all(|f| f.problem == Problem::ManifestMissing));
}
