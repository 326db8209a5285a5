//! The audit journal: who did what. Invariant: an administrative action whose entry cannot be written does not happen; each entry
//! holds the SHA-256 of the one before, so a changed or missing entry breaks the chain and stops the start.
//!
//! Refused logins are written too, but only so many a minute; the next entry says how many were left out.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use thalweg_engine::contract::{Clock, Disk};
use thalweg_engine::error::{Error, Result};
use thalweg_engine::ids::DeviceId;
use thalweg_engine::limits::AUDIT_REFUSALS_PER_MINUTE_MAX;
use thalweg_engine::locks::lock;
use thalweg_engine::time::{Micros, SECOND};

use crate::journal::Journal;
use crate::keys::{Digest, looks_like_secret};

/// Who asks for something to be done.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Name of the operator's token, or of the device.
    pub name: String,
    /// Where they ask from, if over the network.
    pub peer: Option<IpAddr>,
}

/// What was done, or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    DeviceRegister,
    DeviceActivate,
    DeviceDescribe,
    DeviceIssueKey,
    DeviceRevoke,
    TokenCreate,
    TokenRevoke,
    LoginRefused,
    ActivationRefused,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AuditEntry {
    sequence: u64,
    at: Micros,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    action: Action,
    /// Device or token that it was done to.
    object: String,
    /// Refusals since the last entry that were only counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: u64,
    /// SHA-256 of the entry before; zeros in the first.
    previous: Digest,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl AuditEntry {
    fn digest(&self) -> Result<Digest> {
        Ok(Digest::of_bytes(&serde_json::to_vec(self)?))
    }
}

#[derive(Debug)]
struct Chain {
    journal: Journal<AuditEntry>,
    sequence: u64,
    last: Digest,
    minute: Micros,
    refusals: u32,
    left_out: u64,
}

/// The journal of who did what.
#[derive(Debug)]
pub(crate) struct Audit {
    clock: Arc<dyn Clock>,
    chain: Mutex<Chain>,
}

impl Audit {
    /// Reads the journal at `path` and checks the chain. Errors: `Corrupt`, naming the entry that does not fit.
    pub fn open(disk: Arc<dyn Disk>, path: PathBuf, clock: Arc<dyn Clock>) -> Result<Self> {
        let (mut sequence, mut last) = (0, Digest::NONE);
        let journal = Journal::open(disk, path, "devices.audit", |entry: AuditEntry| {
            if entry.sequence != sequence || !entry.previous.matches(&last) {
                return Err(Error::corrupt(format!("audit entry {sequence} does not follow from the one before")));
            }
            sequence += 1;
            last = entry.digest()?;
            Ok(())
        })?;
        Ok(Self { clock, chain: Mutex::new(Chain { journal, sequence, last, minute: 0, refusals: 0, left_out: 0 }) })
    }

    /// Writes that `actor` does `action` to each of `objects`. Call it before doing it, and do nothing if this fails.
    pub fn record<'a>(&self, actor: &Actor, action: Action, objects: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut chain = lock(&self.chain);
        let (mut sequence, mut last, mut left_out) = (chain.sequence, chain.last, chain.left_out);
        let mut entries = Vec::new();
        for object in objects {
            let entry = AuditEntry {
                sequence,
                at: self.clock.now(),
                actor: actor.name.clone(),
                peer: actor.peer,
                action,
                object: object.chars().take(128).collect(),
                left_out: std::mem::take(&mut left_out),
                previous: last,
            };
            last = entry.digest()?;
            sequence += 1;
            entries.push(entry);
        }
        chain.journal.append(&entries).map_err(|e| e.context("the action was not done because it could not be audited"))?;
        (chain.sequence, chain.last, chain.left_out) = (sequence, last, left_out);
        Ok(())
    }

    /// Writes that a login was refused, unless there were too many within the minute. The login stays refused either way.
    pub fn refused(&self, action: Action, object: &str, peer: Option<IpAddr>) {
        let minute = self.clock.now().div_euclid(60 * SECOND);
        {
            let mut chain = lock(&self.chain);
            if chain.minute != minute {
                (chain.minute, chain.refusals) = (minute, 0);
            }
            if chain.refusals >= AUDIT_REFUSALS_PER_MINUTE_MAX {
                chain.left_out += 1;
                return;
            }
            chain.refusals += 1;
        }
        let nobody = Actor { name: "unknown".to_owned(), peer };
        if let Err(e) = self.record(&nobody, action, [shown(object)]) {
            tracing::error!(error = %e, "a refused login could not be audited");
        }
    }
}

/// Who a stranger says it is. What is no device id may be anything, a misplaced key included.
fn shown(object: &str) -> &str {
    if looks_like_secret(object) || DeviceId::new(object).is_err() { "no device id" } else { object }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::test_support::{ManualClock, operator};
    use thalweg_engine::system::RealDisk;

    fn open(path: &Path) -> Result<Audit> {
        Audit::open(Arc::new(RealDisk), path.to_owned(), Arc::new(ManualClock::default()))
    }

    fn with_checksum(json: &str) -> String {
        format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()))
    }

    #[test]
    fn a_forged_or_missing_entry_breaks_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.journal");
        open(&path).unwrap().record(&operator(), Action::DeviceRegister, ["pump-1", "pump-2"]).unwrap();
        open(&path).unwrap().record(&operator(), Action::DeviceRevoke, ["pump-1"]).unwrap();
        open(&path).unwrap().record(&operator(), Action::TokenCreate, ["ana"]).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        open(&path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let forged = with_checksum(&lines[1][9..].replace("pump-2", "pump-9"));
        let rest = |from: usize| lines[from..].iter().map(|l| format!("{l}\n")).collect::<String>();
        for bad in [
            format!("{}\n{forged}{}", lines[0], rest(2)),
            format!("{}\n{}", lines[0], rest(2)),
            format!("{}\n{}\n{}", lines[0], lines[1], rest(3)),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(open(&path).unwrap_err().message().contains("does not follow"));
        }
    }

    #[test]
    fn refusals_are_bounded_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.journal");
        let audit = open(&path).unwrap();
        for _ in 0..1_000 {
            audit.refused(Action::LoginRefused, "pump-1", None);
        }
        audit.record(&operator(), Action::DeviceRegister, ["pump-1"]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("login_refused").count(), AUDIT_REFUSALS_PER_MINUTE_MAX as usize);
        assert!(text.lines().last().unwrap().contains("\"left_out\":990"));
        open(&path).unwrap();
    }

    #[test]
    fn a_key_in_the_place_of_a_name_is_not_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.journal");
        let audit = open(&path).unwrap();
        for name in ["twd_pump-1_secret", "twa_pump-1_secret", "twt_ana_secret", "my secret", "pump-1"] {
            audit.refused(Action::LoginRefused, name, None);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret") && text.contains("\"object\":\"pump-1\""), "{text}");
        assert_eq!(text.matches("login_refused").count(), 5);
        open(&path).unwrap();
    }
}
