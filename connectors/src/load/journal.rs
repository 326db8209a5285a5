//! A file of what was acknowledged, for crash tests. Invariant: a line `device seq` is written only after its acknowledgement
//! arrived; a line may be missing for one that did (up to the last flush), never the other way round.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use thalweg_engine::error::{Error, Result};
use thalweg_engine::locks::lock;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// Time between two writes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Lines waiting to be written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: Mutex<String>,
}

impl Journal {
    /// Notes an acknowledged record.
    pub(crate) fn note(&self, device: &str, sequence: u64) {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = writeln!(lock(&self.lines), "{device} {sequence}");
    }

    /// Creates the file. Errors: it cannot be created.
    pub(crate) async fn create(path: &Path) -> Result<File> {
        File::create(path).await.map_err(|e| Error::from(e).context(format!("journal {}", path.display())))
    }

    /// Writes lines until `done`, then the rest. Errors: the file cannot be written.
    pub(crate) async fn write(&self, mut file: File, done: CancellationToken) -> Result<()> {
        loop {
            let last = tokio::time::timeout(INTERVAL, done.cancelled()).await.is_ok();
            let lines = std::mem::take(&mut *lock(&self.lines));
            file.write_all(lines.as_bytes()).await?;
            file.flush().await?;
            if last {
                return Ok(());
            }
        }
    }
}
