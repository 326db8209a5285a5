//! Tests of the store. Invariant: the disk they use is the real file system, without any promise about power cuts.

use arrow::array::{Array, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::system::RealDisk;

struct Fixture {
    home: tempfile::TempDir,
}

impl Fixture {
    fn new(source: &str) -> Self {
        let fixture = Self { home: tempfile::tempdir().unwrap() };
        fixture.write(source);
        fixture
    }

    fn source(&self) -> PathBuf {
        self.home.path().join("devices.csv")
    }

    fn write(&self, source: &str) {
        std::fs::write(self.source(), source).unwrap();
    }

    fn definition(&self, limit: DataType) -> ReferenceDefinition {
        let fields = vec![Field::new("device_id", DataType::Utf8View, false), Field::new("threshold", limit, true)];
        ReferenceDefinition {
            name: Name::new("devices").unwrap(),
            path: self.source(),
            format: "csv".into(),
            schema: Arc::new(Schema::new(fields)),
            primary_key: vec!["device_id".into()],
        }
    }

    fn open(&self, now: Micros) -> Result<ReferenceStore> {
        ReferenceStore::open(&self.home.path().join("kept"), Arc::new(RealDisk), self.definition(DataType::Float64), now)
    }

    fn kept(&self) -> Vec<PathBuf> {
        RealDisk.list(&self.home.path().join("kept/devices")).unwrap()
    }
}

/// Valid from and rows of each version, and whether `pump-2` is in it.
fn shape(store: &ReferenceStore) -> Vec<(Micros, usize, bool)> {
    let probe: arrow::array::ArrayRef = Arc::new(StringViewArray::from(vec!["pump-2"]));
    let of = |v: &Version| (v.valid_from, v.content.rows.num_rows(), v.content.probe(std::slice::from_ref(&probe)).unwrap().is_valid(0));
    store.table().versions().iter().map(of).collect()
}

const ONE: &str = "device_id,threshold\npump-1,30\n";
const TWO: &str = "device_id,threshold\npump-1,30\npump-2,40\n";

#[test]
fn versions_survive_a_restart_also_without_the_source() {
    let f = Fixture::new(ONE);
    let store = f.open(1000).unwrap();
    assert_eq!(store.refresh(1500).unwrap(), Refreshed::Unchanged);
    f.write(TWO);
    assert_eq!(store.refresh(2000).unwrap(), Refreshed::Loaded { rows: 2, sha256: sha256_of(TWO.as_bytes()) });
    f.write(ONE);
    assert!(matches!(store.refresh(3000).unwrap(), Refreshed::Loaded { rows: 1, .. }));
    let wanted = [(Micros::MIN, 1, false), (2000, 2, true), (3000, 1, false)];
    assert_eq!(shape(&store), wanted);
    let versions = store.table().versions();
    assert!(Arc::ptr_eq(&versions[0].content, &versions[2].content), "equal bytes are held once");
    drop(store);
    std::fs::remove_file(f.source()).unwrap();
    let again = f.open(9000).unwrap();
    assert_eq!(shape(&again), wanted);
    assert_eq!(again.table().versions().iter().map(|v| v.loaded_at).collect::<Vec<_>>(), [1000, 2000, 3000]);
    assert_eq!(again.refresh(9500).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(shape(&again), wanted);
}

#[test]
fn a_broken_file_is_refused_and_the_old_version_stays() {
    let f = Fixture::new(ONE);
    let store = f.open(1000).unwrap();
    f.write("device_id,threshold\npump-1,30\npump-2,hot\n");
    for now in [2000, 2001] {
        let error = store.refresh(now).unwrap_err();
        let wanted = format!("reference table devices: {}: line 3, column threshold: expected DOUBLE, found \"hot\"", f.source().display());
        assert_eq!((error.kind(), error.message()), (ErrorKind::Invalid, wanted.as_str()));
        assert_eq!(store.last_error(), Some(wanted));
    }
    assert_eq!(shape(&store), [(Micros::MIN, 1, false)]);
    f.write(TWO);
    store.refresh(3000).unwrap();
    assert_eq!(store.last_error(), None);
    assert_eq!(shape(&store), [(Micros::MIN, 1, false), (3000, 2, true)]);
}

#[test]
fn a_first_version_that_is_broken_makes_no_table() {
    let f = Fixture::new("device_id,threshold\npump-1,30\npump-1,31\n");
    let error = f.open(1000).unwrap_err();
    assert!(error.message().ends_with("primary key (pump-1) is in row 1 and again in row 2"), "{error}");
    assert_eq!(f.kept(), Vec::<PathBuf>::new());
}

#[test]
fn a_damaged_or_missing_version_stops_the_start() {
    let f = Fixture::new(ONE);
    drop(f.open(1000).unwrap());
    let kept = f.kept().into_iter().find(|p| p.extension().is_some_and(|e| e == "csv")).unwrap();
    std::fs::write(&kept, TWO).unwrap();
    assert_eq!(f.open(2000).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(&kept).unwrap();
    assert_eq!(f.open(2000).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn versions_of_another_definition_are_not_taken_over() {
    let f = Fixture::new(ONE);
    drop(f.open(1000).unwrap());
    f.write(TWO);
    let store = ReferenceStore::open(&f.home.path().join("kept"), Arc::new(RealDisk), f.definition(DataType::Int32), 2000).unwrap();
    assert_eq!(shape(&store), [(Micros::MIN, 2, true)]);
    assert_eq!(f.kept().len(), 2, "versions.json and the one version: {:?}", f.kept());
}

#[test]
fn a_restart_keeps_the_newest_versions_that_fit_and_their_times() {
    let f = Fixture::new(ONE);
    let store = f.open(0).unwrap();
    for i in 1..=3 {
        f.write(&format!("device_id,threshold\npump-1,{i}\n"));
        store.refresh(i * 10).unwrap();
    }
    let (dir, definition) = (f.home.path().join("kept/devices"), f.definition(DataType::Float64));
    let stored = read_versions(&RealDisk, &dir).unwrap().unwrap();
    let format = load::format("csv").unwrap();
    let times = |bytes_max: usize| -> Vec<Micros> {
        let versions = restore(&RealDisk, &dir, &definition, format, &[0], &stored, bytes_max).unwrap();
        versions.iter().map(|v| v.valid_from).collect()
    };
    assert_eq!(times(usize::MAX), [Micros::MIN, 10, 20, 30]);
    assert_eq!(times(0), [20, 30], "the first that is left is not valid from the beginning of time");
}

#[test]
fn what_no_version_needs_is_removed() {
    let f = Fixture::new(ONE);
    let store = f.open(0).unwrap();
    for i in 1..=crate::limits::REFERENCE_VERSIONS_MAX as i64 + 3 {
        f.write(&format!("device_id,threshold\npump-1,{i}\n"));
        store.refresh(i * 10).unwrap();
    }
    let wanted = shape(&store);
    assert_eq!((wanted.len(), wanted[0].0), (crate::limits::REFERENCE_VERSIONS_MAX, 40));
    assert_eq!(f.kept().len(), crate::limits::REFERENCE_VERSIONS_MAX + 1);
    drop(store);
    assert_eq!(shape(&f.open(9000).unwrap()), wanted, "a restart remembers that older ones were dropped");
}
