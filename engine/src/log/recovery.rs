//! What to do with the files of a partition at start. Invariant: a pure function of what the files hold; data that may have
//! been acknowledged is never cut off, and deciding again after acting gives "nothing to do".
//!
//! | where | what was found | verdict |
//! |---|---|---|
//! | any segment but the newest | damaged header, no footer, a gap to its neighbour | refuse |
//! | newest | a header that is not whole, and nothing after it | discard the file: it never held a record |
//! | newest | sealed | the next segment follows it |
//! | newest | frames, then nothing | go on writing there |
//! | newest | frames, then a torn tail | cut the tail off, go on writing there |
//! | newest | damage before a frame that proves it was durable | refuse |
//! | the end | a reader has read what comes after it: it had been durable | refuse |

use std::ops::Range;

use uuid::Uuid;

use crate::ids::{Offset, Partition};

use super::floors::Floor;
use super::scan::{Scan, Stop};
use super::segment::{HeaderFault, SEGMENT_HEADER_BYTES, SegmentHeader, Trailer};

/// What one segment file holds.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Offset in its name.
    pub(super) base: Offset,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Its header.
    pub(super) header: Result<SegmentHeader, HeaderFault>,
    /// Its trailer, if it ends with one.
    pub(super) trailer: Option<Trailer>,
    /// Its frames: only of the newest, if that is not sealed.
    pub(super) scan: Option<Scan>,
    /// Whether nothing but zeros follows the place of the header; only looked at if the header is damaged.
    pub(super) blank: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Serve the partition.
    Open {
        /// The newest file never held a record: remove it first.
        discard_newest: bool,
        /// Where the next record goes.
        tail: Tail,
    },
    /// Serve what is readable, take nothing.
    Refuse(Damage),
}

/// Where the next record goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    /// To a new segment.
    Create {
        /// Its base offset.
        base: Offset,
        /// The segment before it.
        previous: Uuid,
    },
    /// To the newest segment.
    Continue {
        /// The byte after the last that is not zero of a torn tail, which goes first.
        torn_until: Option<u64>,
    },
}

/// Damage that an operator has to decide about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    /// Which of the segments; all before it are readable.
    pub(super) segment: usize,
    /// Where in its file.
    pub(super) byte: u64,
    /// Records that cannot be read.
    pub(super) offsets: Range<Offset>,
    /// What is wrong.
    pub(super) what: String,
}

/// Decides about the segments of a partition, oldest first.
pub(super) fn decide(partition: Partition, segments: &[Facts]) -> Decision {
    let mut end: Option<(Offset, Uuid)> = None;
    for (at, facts) in segments.iter().enumerate() {
        let newest = at + 1 == segments.len();
        let expected = end.map_or(facts.base, |(offset, _)| offset);
        if newest && facts.blank && facts.header == Err(HeaderFault::Damaged) && facts.base == expected {
            let previous = end.map_or(Uuid::nil(), |(_, uuid)| uuid);
            return Decision::Open { discard_newest: true, tail: Tail::Create { base: facts.base, previous } };
        }
        let header = match check_header(partition, facts, end) {
            Ok(header) => header,
            Err((byte, what)) => {
                let until = segments.get(at + 1).map_or(expected.max(facts.base), |next| next.base);
                return Decision::Refuse(Damage { segment: at, byte, offsets: expected..until.max(expected), what });
            }
        };
        match (&facts.trailer, newest) {
            (Some(trailer), false) => end = Some((trailer.end, header.uuid)),
            (Some(trailer), true) => {
                return Decision::Open { discard_newest: false, tail: Tail::Create { base: trailer.end, previous: header.uuid } };
            }
            (None, true) => return decide_newest(at, facts),
            (None, false) => {
                let offsets = facts.base..segments[at + 1].base.max(facts.base);
                let what = "the footer of a sealed segment is damaged or missing".to_owned();
                return Decision::Refuse(Damage { segment: at, byte: facts.bytes, offsets, what });
            }
        }
    }
    let what = "the partition has no segment; its files are gone".to_owned();
    Decision::Refuse(Damage { segment: 0, byte: 0, offsets: 0..0, what })
}

/// What was decided, unless a reader has come further than the log would reach: then records are gone that had been durable.
pub(super) fn keep_read(decision: Decision, segments: &[Facts], floor: Option<&Floor>) -> Decision {
    let newest = segments.last();
    let end = match &decision {
        Decision::Open { tail: Tail::Create { base, .. }, .. } => Some((*base, 0)),
        Decision::Open { .. } => newest.and_then(|facts| facts.scan.as_ref()).map(|scan| (scan.summary.end, scan.summary.data_end)),
        Decision::Refuse(_) => None,
    };
    let Some(((end, byte), floor)) = end.zip(floor).filter(|((end, _), floor)| floor.offset > *end) else { return decision };
    // All that is sealed can be read.
    let segment = segments.len() - usize::from(newest.is_some_and(|facts| facts.trailer.is_none()));
    let what = format!(
        "{} has read all before offset {}, and the log ends at {end}: records that had been durable are gone, or it has read another log: then \
         remove its checkpoints or its savepoint",
        floor.reader, floor.offset
    );
    Decision::Refuse(Damage { segment, byte, offsets: end..floor.offset, what })
}

/// The header, if it is whole and fits its place; otherwise the byte and what is wrong.
fn check_header(partition: Partition, facts: &Facts, before: Option<(Offset, Uuid)>) -> Result<SegmentHeader, (u64, String)> {
    let header = match facts.header {
        Ok(header) => header,
        Err(HeaderFault::Damaged) => return Err((0, "the segment header is damaged".to_owned())),
        Err(HeaderFault::Version(v)) => return Err((8, format!("format {v} is unknown to this version"))),
    };
    if header.base != facts.base {
        return Err((48, format!("the file is named for offset {} but begins with {}", facts.base, header.base)));
    }
    if header.partition != partition {
        return Err((12, format!("the segment belongs to partition {}", header.partition)));
    }
    match before {
        Some((end, _)) if end != header.base => Err((48, format!("offset {end} should come next, but {} does", header.base))),
        Some((_, uuid)) if uuid != header.previous => Err((32, "the segment follows another one than the file before".to_owned())),
        _ => Ok(header),
    }
}

fn decide_newest(at: usize, facts: &Facts) -> Decision {
    let Some(scan) = &facts.scan else {
        let what = "the newest segment was not examined".to_owned();
        return Decision::Refuse(Damage { segment: at, byte: SEGMENT_HEADER_BYTES as u64, offsets: facts.base..facts.base, what });
    };
    let refuse = |resumes: Offset, what: String| {
        Decision::Refuse(Damage { segment: at, byte: scan.summary.data_end, offsets: scan.summary.end..resumes, what })
    };
    match &scan.stop {
        Stop::Clean => Decision::Open { discard_newest: false, tail: Tail::Continue { torn_until: None } },
        Stop::Torn { content_end, .. } => Decision::Open { discard_newest: false, tail: Tail::Continue { torn_until: Some(*content_end) } },
        Stop::Damaged { resumes, fault } => refuse(*resumes, format!("records that had been durable are damaged: {fault}")),
        Stop::Unsupported { fault } => refuse(scan.summary.end + 1, fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::scan::Summary;

    fn sealed(base: Offset, end: Offset, uuid: u128) -> Facts {
        let header = SegmentHeader { uuid: Uuid::from_u128(uuid), previous: Uuid::from_u128(uuid - 1), base, partition: 0 };
        let trailer = Trailer { marks: 0, marks_checksum: 0, chain: 0, frames: 1, end, data_end: 100, received_first: 0, received_last: 0 };
        Facts { base, bytes: 172, header: Ok(header), trailer: Some(trailer), scan: None, blank: false }
    }

    fn refused(segments: &[Facts]) -> Damage {
        match decide(0, segments) {
            Decision::Refuse(damage) => damage,
            open => panic!("{open:?}"),
        }
    }

    #[test]
    fn a_sealed_newest_segment_is_followed_by_the_next() {
        let tail = Tail::Create { base: 20, previous: Uuid::from_u128(2) };
        let want = Decision::Open { discard_newest: false, tail };
        assert_eq!(decide(0, &[sealed(0, 10, 1), sealed(10, 20, 2)]), want);
    }

    #[test]
    fn gaps_and_strangers_are_refused_with_the_offsets_that_are_gone() {
        let damage = refused(&[sealed(0, 10, 1), sealed(12, 20, 2)]);
        assert_eq!((damage.segment, damage.offsets), (1, 10..12));
        assert!(refused(&[sealed(0, 10, 1), sealed(10, 20, 3)]).what.contains("follows another"));
        assert!(refused(&[Facts { trailer: None, ..sealed(0, 10, 1) }, sealed(10, 20, 2)]).what.contains("footer"));
        assert!(refused(&[Facts { base: 5, ..sealed(0, 10, 1) }]).what.contains("named for offset 5"));
        assert!(refused(&[]).what.contains("no segment"));
        assert!(matches!(decide(1, &[sealed(0, 10, 1)]), Decision::Refuse(d) if d.what.contains("partition 0")));
    }

    #[test]
    fn only_a_newest_file_that_never_held_a_record_is_discarded() {
        let blank = Facts { header: Err(HeaderFault::Damaged), trailer: None, blank: true, bytes: 30, ..sealed(10, 20, 2) };
        let tail = Tail::Create { base: 10, previous: Uuid::from_u128(1) };
        assert_eq!(decide(0, &[sealed(0, 10, 1), blank.clone()]), Decision::Open { discard_newest: true, tail });
        assert_eq!(refused(&[sealed(0, 10, 1), Facts { blank: false, ..blank.clone() }]).segment, 1);
        assert_eq!(refused(&[blank.clone(), sealed(20, 30, 3)]).segment, 0);
        assert_eq!(refused(&[Facts { header: Err(HeaderFault::Version(2)), ..blank }]).what, "format 2 is unknown to this version");
    }

    #[test]
    fn what_was_read_had_been_durable_and_is_not_cut() {
        let floor = |offset| Some(Floor { offset, reader: "job hot".to_owned() });
        let keep = |segments: &[Facts], floor: Option<Floor>| keep_read(decide(0, segments), segments, floor.as_ref());
        let newest = Facts { trailer: None, scan: Some(Scan { summary: Summary::new(10), stop: Stop::Clean }), ..sealed(10, 20, 2) };
        let blank = Facts { header: Err(HeaderFault::Damaged), trailer: None, blank: true, bytes: 30, ..sealed(10, 20, 2) };
        for (segments, at) in [(vec![sealed(0, 10, 1)], 1), (vec![sealed(0, 10, 1), newest], 1), (vec![sealed(0, 10, 1), blank], 1)] {
            for enough in [None, floor(9), floor(10)] {
                assert_eq!(keep(&segments, enough), decide(0, &segments));
            }
            let Decision::Refuse(damage) = keep(&segments, floor(13)) else { panic!("{segments:?}") };
            assert_eq!((damage.segment, damage.offsets), (at, 10..13));
            assert!(damage.what.contains("job hot has read all before offset 13, and the log ends at 10"), "{}", damage.what);
        }
        assert_eq!(keep(&[], floor(3)), decide(0, &[]));
    }

    #[test]
    fn a_torn_tail_is_cut_and_damage_is_not() {
        use crate::log::frame::Fault;
        let newest = |stop| {
            let scan = Scan { summary: Summary::new(0), stop };
            [Facts { trailer: None, scan: Some(scan), ..sealed(0, 10, 1) }]
        };
        let torn = decide(0, &newest(Stop::Torn { content_end: 90, fault: Fault::Short }));
        assert_eq!(torn, Decision::Open { discard_newest: false, tail: Tail::Continue { torn_until: Some(90) } });
        let damage = refused(&newest(Stop::Damaged { resumes: 7, fault: Fault::Checksum }));
        assert_eq!((damage.byte, damage.offsets), (64, 0..7));
    }
}
