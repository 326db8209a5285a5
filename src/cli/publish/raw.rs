//! What a disk can do without a log: writes that are made durable one after the other. Invariant: the same calls as the log's, in its
//! order, and nothing else; `benches/log_append.rs` compiles this file too, so that both say the same of a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

/// Of one write.
const PIECE_BYTES: usize = 4 << 20;
const SYNCS: u64 = 400;

/// Seconds for sequential writes of `bytes` in pieces of 4 MiB, each made durable. The file stays: where freed space is discarded at
/// once, that would slow down what is measured next.
pub(super) fn write(path: &Path, bytes: u64) -> io::Result<f64> {
    let file = File::create(path)?;
    let piece: Vec<u8> = (0..PIECE_BYTES).map(|i| (i % 251) as u8).collect();
    let start = Instant::now();
    let mut at = 0;
    while at < bytes {
        let length = piece.len().min((bytes - at) as usize);
        file.write_all_at(&piece[..length], at)?;
        file.sync_data()?;
        at += length as u64;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A file of zeros, all of them durable.
pub(super) fn zeros(path: &Path, bytes: u64) -> io::Result<File> {
    let file = File::create(path)?;
    let piece = vec![0; 1 << 20];
    for n in 0..bytes >> 20 {
        file.write_all_at(&piece, n << 20)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Latency in microseconds of writing 4 KiB into a file of at least 2 MiB of zeros and making it durable.
pub(super) fn sync(file: &File, latency: &mut Histogram<u64>) -> io::Result<()> {
    for n in 0..SYNCS {
        let start = Instant::now();
        file.write_all_at(&[n as u8; 4096], n * 4096)?;
        file.sync_data()?;
        latency.saturating_record(start.elapsed().as_micros() as u64);
    }
    Ok(())
}
