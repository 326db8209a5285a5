//! The object store that the Delta log is written through: local disk, durable. Invariant: a put that returned `Ok` survives a
//! power cut, and a put that must create never replaces; the library's own local store does not sync.

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use crate::lake::durable::{Durable, Place};

/// A local file system with durable writes.
#[derive(Debug, Clone)]
pub(super) struct DurableStore {
    inner: LocalFileSystem,
    durable: Arc<Durable>,
}

impl DurableStore {
    /// All paths of the machine.
    pub(super) fn whole_disk(durable: Arc<Durable>) -> Self {
        Self { inner: LocalFileSystem::new(), durable }
    }

    /// Paths below `directory`, which must exist.
    pub(super) fn below(directory: &FilePath, durable: Arc<Durable>) -> Result<Self> {
        Ok(Self { inner: LocalFileSystem::new_with_prefix(directory)?, durable })
    }

    async fn settle(&self, paths: &[&Path]) -> Result<()> {
        let files: Vec<_> = paths.iter().map(|p| self.inner.path_to_filesystem(p)).collect::<Result<_>>()?;
        let durable = self.durable.clone();
        blocking(move || files.iter().try_for_each(|file| durable.settle(file))).await
    }
}

fn read(path: &FilePath, location: &Path, options: &GetOptions) -> Result<GetResult> {
    let missing = |e: std::io::Error| Error::NotFound { path: location.to_string(), source: Box::new(e) };
    let file = File::open(path).map_err(|e| if e.kind() == ErrorKind::NotFound { missing(e) } else { generic(e) })?;
    let found = file.metadata().map_err(generic)?;
    if found.is_dir() {
        return Err(missing(ErrorKind::IsADirectory.into()));
    }
    let (size, last_modified) = (found.len(), found.modified().map_err(generic)?.into());
    let meta = ObjectMeta { location: location.clone(), last_modified, size, e_tag: None, version: None };
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..size,
        Some(GetRange::Bounded(range)) => range.start..range.end.min(size),
        Some(GetRange::Offset(start)) => *start..size,
        Some(GetRange::Suffix(bytes)) => size.saturating_sub(*bytes)..size,
    };
    if range.start > range.end {
        return Err(generic(std::io::Error::other(format!("{location} has {size} bytes, from byte {} on there are none", range.start))));
    }
    let mut bytes = vec![0; if options.head { 0 } else { (range.end - range.start) as usize }];
    file.read_exact_at(&mut bytes, range.start).map_err(generic)?;
    let payload = GetResultPayload::Stream(stream::once(std::future::ready(Ok(bytes.into()))).boxed());
    Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
}

fn delete(store: &LocalFileSystem, location: Path) -> Result<Path> {
    match std::fs::remove_file(store.path_to_filesystem(&location)?) {
        Ok(()) => Ok(location),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::NotFound { path: location.to_string(), source: Box::new(e) }),
        Err(e) => Err(generic(e)),
    }
}

/// Runs blocking work off the asynchronous threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?.map_err(generic)
}

fn generic(e: std::io::Error) -> Error {
    Error::Generic { store: "durable local disk", source: Box::new(e) }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let place = match options.mode {
            PutMode::Create => Place::Empty,
            PutMode::Overwrite => Place::Any,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented { operation: "put if unchanged".into(), implementer: self.to_string() });
            }
        };
        let to = self.inner.path_to_filesystem(location)?;
        let durable = self.durable.clone();
        let path = location.to_string();
        let written = tokio::task::spawn_blocking(move || {
            to.parent().map_or(Ok(()), |parent| durable.create_dir_all(parent))?;
            durable.write(&to, payload.iter().map(Bytes::as_ref), place)
        });
        match written.await? {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::AlreadyExists { path, source: Box::new(e) }),
            Err(e) => Err(generic(e)),
        }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    /// At once, where it is asked for: files of a log are small, mostly in the page cache, and read by the dozen. A blocking thread for each,
    /// as the library's own store takes, made threads and their memory come and go with every look at a log.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        read(&self.inner.path_to_filesystem(location)?, location, &options)
    }

    /// One after the other, for the same reason as `get_opts`: the library's own takes ten threads.
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = self.inner.clone();
        locations.map(move |location| location.and_then(|location| delete(&inner, location))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.settle(&[from]).await?;
        self.inner.copy_opts(from, to, options).await?;
        self.settle(&[to]).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.settle(&[from]).await?;
        self.inner.rename_opts(from, to, options).await?;
        self.settle(&[to]).await
    }
}

/// Parts kept in memory until they are written at once. Only checkpoints of the log come this way.
#[derive(Debug)]
struct Upload {
    store: DurableStore,
    location: Path,
    parts: Vec<Bytes>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.extend(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = PutPayload::from_iter(std::mem::take(&mut self.parts));
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    fn store() -> (tempfile::TempDir, DurableStore) {
        let dir = tempfile::tempdir().unwrap();
        let durable = Arc::new(Durable::open(Arc::new(crate::system::RealDisk), &dir.path().join("_scratch")).unwrap());
        let store = DurableStore::below(dir.path(), durable).unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn parts_of_a_file_are_read_and_what_is_not_there_is_told() {
        let (_dir, store) = store();
        let at = Path::from("t/a");
        store.put(&at, "abcdef".into()).await.unwrap();
        assert_eq!(store.head(&at).await.unwrap().size, 6);
        assert_eq!(store.get_ranges(&at, &[0..2, 4..9]).await.unwrap(), ["ab", "ef"]);
        for (range, want) in [(GetRange::Offset(4), "ef"), (GetRange::Suffix(2), "ef"), (GetRange::Bounded(1..3), "bc")] {
            let options = GetOptions { range: Some(range), ..GetOptions::default() };
            assert_eq!(store.get_opts(&at, options).await.unwrap().bytes().await.unwrap(), want);
        }
        assert!(store.get_range(&at, 7..9).await.is_err());
        store.delete(&at).await.unwrap();
        assert!(matches!(store.delete(&at).await, Err(Error::NotFound { .. })));
        for missing in ["t", "t/a", "t/b"] {
            assert!(matches!(store.get(&Path::from(missing)).await, Err(Error::NotFound { .. })), "{missing}");
        }
    }

    #[tokio::test]
    async fn the_second_creation_is_refused_and_parts_arrive_in_order() {
        let (_dir, store) = store();
        let at = Path::from("t/_delta_log/0.json");
        let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&at, "one".into(), create()).await.unwrap();
        let e = store.put_opts(&at, "two".into(), create()).await.unwrap_err();
        assert!(matches!(e, Error::AlreadyExists { .. }), "{e}");
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "one");

        let big = Path::from("t/big");
        let mut upload = store.put_multipart(&big).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        upload.put_part("cd".into()).await.unwrap();
        assert!(store.get(&big).await.is_err(), "not visible before it is complete");
        upload.complete().await.unwrap();
        assert_eq!(store.get(&big).await.unwrap().bytes().await.unwrap(), "abcd");

        store.rename(&big, &Path::from("t/moved")).await.unwrap();
        let listed: Vec<_> = store.list(Some(&Path::from("t"))).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
        assert_eq!(listed.len(), 2);
        assert!(listed.contains(&"t/moved".to_owned()));
    }
}
