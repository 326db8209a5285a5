//! The judgement. Invariant: a pure function of the journal and of what is stored.

use std::collections::HashMap;
use std::fmt;

use super::event::{Digest, Event, Key};
use super::stored::Stored;

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that were sent.
    pub sent: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that are stored.
    pub stored: u64,
    /// Stored records without an acknowledgement: they may be there or not.
    pub stored_unacknowledged: u64,
    /// What should not be, a line each.
    pub violations: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, acknowledged, stored, stored_unacknowledged, violations } = self;
        write!(f, "{sent} sent, {acknowledged} acknowledged, {stored} stored ({stored_unacknowledged} of them not acknowledged)")?;
        write!(f, ", {} violations", violations.len())
    }
}

/// What the journal says of one record.
struct Sent {
    order: u64,
    digest: Digest,
    acknowledged: bool,
    copies: u64,
}

/// Judges records, given in the order of their offsets within each partition. Acknowledgements at a position beyond `until`
/// do not count: they came after the moment that is looked at.
pub fn judge(journal: &[Event], stored: &[Stored], until: Option<u64>) -> Verdict {
    let mut verdict = Verdict { stored: stored.len() as u64, ..Verdict::default() };
    let mut records = gather(journal, until, &mut verdict);
    let mut last: HashMap<&str, u64> = HashMap::new();
    for record in stored {
        let place = format!("{}/{} offset {}", record.stream, record.partition, record.offset);
        let Some(known) = record.key.as_ref().and_then(|key| records.get_mut(key)) else {
            let name = record.key.as_ref().map_or_else(|| "a record without a producer's number".to_owned(), Key::to_string);
            verdict.violations.push(format!("stored but never sent: {name} at {place}"));
            continue;
        };
        known.copies += 1;
        if known.digest != record.digest {
            verdict.violations.push(format!("stored with another payload: {} at {place}", text(record)));
        }
        if known.copies > 1 {
            verdict.violations.push(format!("stored {} times: {} at {place}", known.copies, text(record)));
            continue;
        }
        if !known.acknowledged {
            verdict.stored_unacknowledged += 1;
        }
        let device = record.key.as_ref().map_or("", |key| key.device.as_str());
        if let Some(before) = last.insert(device, known.order).filter(|before| *before > known.order) {
            verdict.violations.push(format!("out of order: {} at {place} follows a record that was sent later", text(record)));
            last.insert(device, before);
        }
    }
    let mut lost: Vec<_> = records.iter().filter(|(_, r)| r.acknowledged && r.copies == 0).collect();
    lost.sort_by_key(|(_, r)| r.order);
    verdict.violations.extend(lost.into_iter().map(|(key, _)| format!("acknowledged and lost: {key}")));
    verdict
}

fn gather(journal: &[Event], until: Option<u64>, verdict: &mut Verdict) -> HashMap<Key, Sent> {
    let mut records: HashMap<Key, Sent> = HashMap::new();
    for (order, event) in journal.iter().enumerate() {
        match event {
            Event::Sent(key, digest) => {
                verdict.sent += 1;
                let sent = Sent { order: order as u64, digest: *digest, acknowledged: false, copies: 0 };
                if records.insert(key.clone(), sent).is_some() {
                    verdict.violations.push(format!("the journal is no good: sent twice: {key}"));
                }
            }
            Event::Ack(_, _, Some(position)) if until.is_some_and(|until| *position > until) => {}
            Event::Ack(key, digest, _) => match records.get_mut(key) {
                Some(sent) if sent.digest == *digest => {
                    verdict.acknowledged += u64::from(!sent.acknowledged);
                    sent.acknowledged = true;
                }
                _ => verdict.violations.push(format!("the journal is no good: acknowledged but never sent: {key}")),
            },
        }
    }
    records
}

fn text(record: &Stored) -> String {
    record.key.as_ref().map_or_else(String::new, Key::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::digest;

    fn key(sequence: u64) -> Key {
        Key { device: "d".to_owned(), epoch: 1, sequence }
    }

    fn stored(sequences: &[u64]) -> Vec<Stored> {
        let record = |(offset, sequence): (usize, &u64)| Stored {
            stream: "s".to_owned(),
            partition: 0,
            offset: offset as u64,
            key: Some(key(*sequence)),
            digest: digest(&sequence.to_le_bytes()),
        };
        sequences.iter().enumerate().map(record).collect()
    }

    /// 1 to 4 sent; 1, 2 and 3 acknowledged, at positions 10, 20 and 30.
    fn journal() -> Vec<Event> {
        let sum = |sequence: u64| digest(&sequence.to_le_bytes());
        let sent = (1..=4).map(|s| Event::Sent(key(s), sum(s)));
        sent.chain((1..=3).map(|s| Event::Ack(key(s), sum(s), Some(s * 10)))).collect()
    }

    fn violations(sequences: &[u64]) -> Vec<String> {
        judge(&journal(), &stored(sequences), None).violations
    }

    #[test]
    fn what_may_be_is_accepted() {
        assert!(violations(&[1, 2, 3]).is_empty());
        let verdict = judge(&journal(), &stored(&[1, 2, 3, 4]), None);
        assert_eq!((verdict.sent, verdict.acknowledged, verdict.stored, verdict.stored_unacknowledged), (4, 3, 4, 1));
        assert!(verdict.violations.is_empty());
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        assert_eq!(violations(&[1, 3]), ["acknowledged and lost: d 1 2"]);
        assert_eq!(violations(&[1, 2, 3, 3]), ["stored 2 times: d 1 3 at s/0 offset 3"]);
        assert!(violations(&[1, 2, 3, 9])[0].starts_with("stored but never sent: d 1 9"));
        assert!(violations(&[2, 1, 3])[0].starts_with("out of order: d 1 1"));
        let mut other = stored(&[1, 2, 3]);
        other[1].digest = digest(b"other");
        assert!(judge(&journal(), &other, None).violations[0].starts_with("stored with another payload: d 1 2"));
        let unsent = [Event::Ack(key(7), digest(b""), None)];
        assert!(judge(&unsent, &[], None).violations[0].contains("acknowledged but never sent"));
    }

    #[test]
    fn later_acknowledgements_do_not_count() {
        assert!(judge(&journal(), &stored(&[1, 2]), Some(20)).violations.is_empty());
        assert_eq!(judge(&journal(), &stored(&[1]), Some(20)).violations.len(), 1);
    }
}
