//! Names and numbers that identify things. Invariant: a value of these types is valid: the check is the constructor.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Position of a record in its partition; dense, strictly increasing, never reused.
pub type Offset = u64;
/// Index of a log partition, from 0.
pub type Partition = u32;
/// Number of a checkpoint of one job; strictly increasing from 1.
pub type Epoch = u64;

/// Longest device id in bytes.
pub const DEVICE_ID_BYTES_MAX: usize = 128;

/// Identity of a device: 1 to 128 bytes of `A-Z a-z 0-9 . _ : -`, beginning with a letter or a digit.
/// Never contains `/ + # NUL`, so it is safe inside an MQTT topic, a URL path and a file name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Errors: `Invalid`, naming the rule that was broken.
    pub fn new(text: &str) -> Result<Self> {
        let ok_start = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let ok_rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'));
        if ok_start && ok_rest && text.len() <= DEVICE_ID_BYTES_MAX {
            return Ok(Self(text.into()));
        }
        let shown: String = text.chars().take(40).collect();
        Err(Error::invalid(format!("device id {shown:?} is not valid"))
            .hint("use 1 to 128 letters, digits, '.', '_', ':' or '-', beginning with a letter or a digit"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for DeviceId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// Name of a stream, table or job: `[a-z][a-z0-9_]{0,62}`. Safe as a directory name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Errors: `Invalid`, naming the rule that was broken.
    pub fn new(text: &str) -> Result<Self> {
        let ok_start = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let ok_rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ok_start && ok_rest && text.len() <= 63 {
            return Ok(Self(text.into()));
        }
        let shown: String = text.chars().take(80).collect();
        Err(Error::invalid(format!("name {shown:?} is not valid"))
            .hint("use 1 to 63 lower-case letters, digits and '_', beginning with a letter"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// The partition of a device: CRC-32C of the id modulo `partitions`. Stable for ever, because data on disk depends on it.
pub fn partition_of(device: &str, partitions: u32) -> Partition {
    assert!(partitions > 0);
    crc32c::crc32c(device.as_bytes()) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_that_could_escape_a_topic_are_refused() {
        for bad in ["", "a/b", "a+b", "a#", "a\0", ".a", "-a", "ä", &"x".repeat(129)] {
            assert!(DeviceId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "7", "AA:BB:CC", "pump-7.north_1"] {
            assert_eq!(DeviceId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn the_partition_of_a_device_never_changes() {
        let got: Vec<_> = ["pump-1", "pump-2", "AA:BB:CC"].iter().map(|d| partition_of(d, 4)).collect();
        assert_eq!(got, [crc32c::crc32c(b"pump-1") % 4, crc32c::crc32c(b"pump-2") % 4, crc32c::crc32c(b"AA:BB:CC") % 4]);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }
}
