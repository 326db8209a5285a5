//! A run of the real log in a simulated world: records, repetitions, clocks that jump, retention, readers, faults, power cuts.
//! Invariant: everything that happens is drawn from the seed, and the log itself is the one that is shipped, but for its threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::batch::{ContentType, ProducerSequence, Record};
use crate::contract::{Arrival, Disk};
use crate::error::ErrorKind;
use crate::ids::Offset;
use crate::locks::lock;
use crate::time::SECOND;

use super::super::appender::{Appender, Place, Uuids};
use super::super::floors::Floor;
use super::super::open;
use super::super::partition::Partition;
use super::super::pending::Pending;
use super::super::producer_snapshot;
use super::super::producers::Producers;
use super::super::retention::Policy;
use super::super::writer::Writer;
use super::oracle::{Damage, Found, Oracle, Sent};
use super::plan::{Fault, Lie};
use super::{SimClock, SimDisk, damage};

const ROUNDS_MAX: u32 = 8;
const STEPS_MAX: u32 = 40;
const DEVICES: usize = 4;
/// A device repeats only what lies so far back, well within what the log remembers.
const REPEATED_MAX: usize = 40;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Two runs of one seed have the same.
    pub trace: u64,
    /// Starts of the log.
    pub starts: u64,
    /// Records that were stored.
    pub stored: u64,
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Records that were sent again and recognised.
    pub repeated: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Runs that ended because flipped bits were found: 0 or 1.
    pub damaged: u64,
}

/// Runs one seed. Errors: what the log did that it must not, for a person.
pub fn simulate(seed: u64, lie: Lie) -> Result<Ran, String> {
    let mut world = World::new(seed, lie);
    let rounds = world.dice.random_range(1..=ROUNDS_MAX);
    for _ in 0..rounds {
        if world.round().map_err(|what| format!("seed {seed}: {what}"))? == Found::Damage {
            world.ran.damaged = 1;
            break;
        }
    }
    world.ran.trace = lock(&world.disk.faults.plan).trace() ^ world.traces;
    Ok(world.ran)
}

struct World {
    dice: StdRng,
    /// For readers alone, so that all else stays as a seed had it before there were any.
    readers: StdRng,
    lie: Lie,
    disk: SimDisk,
    clock: Arc<SimClock>,
    uuids: Arc<AtomicU64>,
    oracle: Oracle,
    /// What each device sent, the last at the end.
    sent: Vec<Vec<Sent>>,
    sequences: [u64; DEVICES],
    unnumbered: u64,
    damage: Damage,
    segment_bytes: u64,
    traces: u64,
    ran: Ran,
}

/// An open log without a thread.
struct Open {
    partition: Arc<Partition>,
    writer: Writer,
    failed_at: Option<Offset>,
}

impl World {
    fn new(seed: u64, lie: Lie) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let disk = SimDisk::default();
        lock(&disk.faults.plan).lie = lie;
        let segment_bytes = dice.random_range(300..4_000);
        let mut world = Self {
            dice,
            readers: StdRng::seed_from_u64(!seed),
            lie,
            disk,
            clock: Arc::default(),
            uuids: Arc::default(),
            oracle: Oracle::default(),
            sent: vec![Vec::new(); DEVICES],
            sequences: [0; DEVICES],
            unnumbered: 0,
            damage: Damage::None,
            segment_bytes,
            traces: 0,
            ran: Ran::default(),
        };
        world.clock.set(1_780_000_000 * SECOND);
        world.create();
        world
    }

    /// The first segment, as a stream is made.
    fn create(&mut self) {
        let place = self.place();
        // A disk without faults so far.
        let made = self.disk.create_dir_all(&place.dir).map_err(|e| e.to_string());
        let made = made.and_then(|()| Appender::create_next(place, 0, Uuid::nil()).create().map_err(|e| format!("{e:?}")));
        assert!(made.is_ok(), "{made:?}");
    }

    fn place(&self) -> Place {
        Place {
            disk: Arc::new(self.disk.clone()),
            dir: PathBuf::from("log"),
            partition: 0,
            segment_bytes: self.segment_bytes,
            uuids: Uuids::Counted(self.uuids.clone()),
            ahead: None,
        }
    }

    /// From one start to the next crash.
    fn round(&mut self) -> Result<Found, String> {
        let Some(mut log) = self.start()? else { return Ok(Found::Damage) };
        if self.oracle.check(&log.partition, self.damage)? == Found::Damage {
            return Ok(Found::Damage);
        }
        for _ in 0..self.dice.random_range(1..=STEPS_MAX) {
            self.step(&mut log)?;
            if lock(&self.disk.faults.plan).is_off() {
                break;
            }
        }
        self.end(log);
        Ok(Found::Everything)
    }

    /// Opens the log, with a fault in the middle of it now and then; `None` if it reports the damage that was done.
    fn start(&mut self) -> Result<Option<Open>, String> {
        loop {
            let is_risky = self.dice.random_bool(0.15);
            if is_risky {
                let fault = if self.dice.random_bool(0.5) { Fault::PowerOff } else { Fault::Fails };
                let after = self.dice.random_range(0..30);
                lock(&self.disk.faults.plan).arm(after, fault);
            }
            // What a checkpoint may hold: nobody has read further than what was acknowledged.
            let end = self.oracle.acknowledged();
            let floor =
                self.readers.random_bool(0.3).then(|| Floor { offset: self.readers.random_range(0..=end), reader: "job".to_owned() });
            let opened = self.open(floor.as_ref());
            let struck = is_risky && !lock(&self.disk.faults.plan).disarm();
            self.ran.faults += u64::from(struck);
            match opened {
                Ok(log) => {
                    self.ran.starts += 1;
                    return Ok(Some(log));
                }
                Err(_) if struck => self.crash(),
                Err(_) if self.damage == Damage::Done => return Ok(None),
                Err(what) => return Err(format!("the log does not open: {what}")),
            }
        }
    }

    fn open(&self, floor: Option<&Floor>) -> Result<Open, String> {
        let place = self.place();
        let opened = open::open(&place, floor).map_err(|e| e.to_string())?;
        if !opened.missing.is_empty() {
            return Err(format!("offsets {:?} are told to be missing, and only retention has removed any", opened.missing));
        }
        let appender = opened.end?;
        let state = (opened.next, opened.received_last);
        let partition = Arc::new(Partition::new(
            ("sim/0".to_owned(), 0),
            place.disk.clone(),
            self.clock.clone(),
            opened.segments,
            state,
            Pending::default(),
        ));
        let recovered = producer_snapshot::recover(&partition, &place.dir).map_err(|e| e.to_string())?;
        let producers = if self.lie == Lie::RepeatsStored { Producers::default() } else { recovered.producers };
        partition.set_producers(producers);
        let writer = Writer::new(partition.clone(), appender, &place, recovered.snapshot_due);
        Ok(Open { partition, writer, failed_at: None })
    }

    fn step(&mut self, log: &mut Open) -> Result<(), String> {
        match self.dice.random_range(0..20) {
            0..10 => self.append(log)?,
            10..14 => {}
            14 => self.move_clock(),
            15 => self.retain(log)?,
            16 => log.partition.request_roll(),
            17 => self.arm(),
            _ => return self.read(log),
        }
        if self.dice.random_bool(0.7) {
            self.drain(log)?;
        }
        Ok(())
    }

    fn append(&mut self, log: &Open) -> Result<(), String> {
        for _ in 0..self.dice.random_range(1..12) {
            let sent = self.next_record();
            let producer = sent.number.map(|(epoch, sequence)| ProducerSequence { epoch, sequence });
            let topic = format!("devices/{}/telemetry", sent.device);
            let record = Record { device: &sent.device, topic: &topic, content_type: ContentType::Json, producer, payload: &sent.payload };
            match log.partition.append(&record) {
                Ok(_) if log.failed_at.is_some() => return Err("a failed log takes records".to_owned()),
                Ok((offset, arrival)) => {
                    self.oracle.taken(&sent, offset, arrival)?;
                    let counter = if arrival == Arrival::Duplicate { &mut self.ran.repeated } else { &mut self.ran.stored };
                    *counter += 1;
                    if self.lie == Lie::AckBeforeSync && arrival != Arrival::Duplicate {
                        self.oracle.acknowledge(offset + 1);
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Internal) => {}
                Err(e) => return Err(format!("{sent:?} was refused: {e}")),
            }
        }
        Ok(())
    }

    /// A record that was not sent before, or one of the last of its device again.
    fn next_record(&mut self) -> Sent {
        let at = self.dice.random_range(0..DEVICES);
        let device = format!("device-{at}");
        let padding = "x".repeat(self.dice.random_range(0..60) * usize::from(self.dice.random_bool(0.3)));
        if self.dice.random_bool(0.2) {
            self.unnumbered += 1;
            let payload = format!("{}{padding}", self.unnumbered).into_bytes();
            return Sent { device, number: None, payload };
        }
        let earlier = &self.sent[at];
        if !earlier.is_empty() && self.dice.random_bool(0.3) {
            let oldest = earlier.len().saturating_sub(REPEATED_MAX);
            return earlier[self.dice.random_range(oldest..earlier.len())].clone();
        }
        self.sequences[at] += 1;
        let sequence = self.sequences[at];
        let sent = Sent { number: Some((1, sequence)), payload: format!("{device}/{sequence}{padding}").into_bytes(), device };
        self.sent[at].push(sent.clone());
        sent
    }

    /// The writer's turn. After it failed, nothing becomes durable any more.
    fn drain(&mut self, log: &mut Open) -> Result<(), String> {
        let drained = log.writer.drain();
        let durable = log.partition.durable();
        match (drained, log.failed_at) {
            (_, Some(failed_at)) if durable != failed_at => {
                return Err(format!("{durable} became durable after the log failed at {failed_at}"));
            }
            (Err(_), None) => log.failed_at = Some(durable),
            _ => {}
        }
        self.oracle.acknowledge(durable);
        self.ran.acknowledged = self.oracle.acknowledged();
        Ok(())
    }

    fn read(&mut self, log: &Open) -> Result<(), String> {
        let (start, end) = (log.partition.start(), log.partition.durable());
        if start == end || lock(&self.disk.faults.plan).is_armed() {
            return Ok(());
        }
        let from = self.dice.random_range(start..end);
        match self.oracle.read(&log.partition, from, end) {
            Err(_) if self.damage == Damage::Done => Ok(()),
            read => read.map_err(|what| format!("{what:?}")),
        }
    }

    fn retain(&mut self, log: &Open) -> Result<(), String> {
        let (before, durable) = (log.partition.start(), log.partition.durable());
        let pinned_from = self.dice.random_range(before..=durable);
        let bytes_max = self.dice.random_bool(0.5).then(|| self.dice.random_range(0..8_000));
        let keep_from = self.dice.random_range(1_779_999_000..1_780_001_000) * SECOND;
        let age = self.dice.random_bool(0.5).then(|| (Duration::from_secs(self.dice.random_range(0..20)), keep_from));
        let policy = Policy { age, bytes_max, bytes_hard: None, pinned_from };
        let retained = log.partition.retain(&policy);
        let after = log.partition.start();
        if after > pinned_from || after < before {
            return Err(format!("retention moved the start from {before} to {after} past the pin {pinned_from}"));
        }
        self.oracle.retained_from(after);
        // An error is one of the disk, and injected.
        drop(retained);
        Ok(())
    }

    fn move_clock(&mut self) {
        let seconds = match self.dice.random_range(0..4) {
            0 => self.dice.random_range(-86_400..=86_400),
            1 => 315_360_000,
            _ => self.dice.random_range(0..60),
        };
        self.clock.set((1_780_000_000 + seconds) * SECOND);
        self.clock.pass(Duration::from_millis(self.dice.random_range(0..3_000)));
    }

    fn arm(&mut self) {
        let fault = [Fault::Fails, Fault::Fails, Fault::Full, Fault::PowerOff][self.dice.random_range(0..4)];
        let after = self.dice.random_range(0..16);
        lock(&self.disk.faults.plan).arm(after, fault);
        self.ran.faults += 1;
    }

    /// The process ends, in one way or another.
    fn end(&mut self, mut log: Open) {
        let is_orderly = log.failed_at.is_none() && self.dice.random_bool(0.2);
        if is_orderly && log.writer.drain().is_ok() {
            self.oracle.acknowledge(log.partition.durable());
            log.writer.finish();
        }
        drop(log);
        self.crash();
        let odds = if self.lie == Lie::ChecksumsRepaired { 0.5 } else { 0.05 };
        if self.dice.random_bool(odds) && damage::flip(&self.disk, &mut self.dice, self.lie) {
            self.damage = Damage::Done;
        }
    }

    /// A power cut, or the death of the process alone.
    fn crash(&mut self) {
        self.traces ^= lock(&self.disk.faults.plan).trace().rotate_left(7);
        let is_power_cut = lock(&self.disk.faults.plan).is_off() || self.dice.random_bool(0.6);
        let after = if is_power_cut {
            let odds = f64::from(self.dice.random_range(0..=4)) / 4.0;
            self.disk.crash(|| self.dice.random_bool(odds))
        } else {
            self.disk.kill()
        };
        lock(&after.faults.plan).lie = self.lie;
        self.disk = after;
    }
}
