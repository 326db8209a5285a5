//! Numbers from and to little-endian bytes. Invariant: only whole, fixed-size headers are read with these, so a position is
//! wrong only by a bug in the caller, never by what a file holds.

/// The `u32` that begins at byte `at`.
#[inline]
pub(super) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The `u64` that begins at byte `at`.
#[inline]
pub(super) fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The `i64` that begins at byte `at`.
#[inline]
pub(super) fn i64_at<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    u64_at(bytes, at).cast_signed()
}

/// Writes `word` at byte `at`.
#[inline]
pub(super) fn put<const W: usize>(bytes: &mut [u8], at: usize, word: [u8; W]) {
    bytes[at..at + W].copy_from_slice(&word);
}
