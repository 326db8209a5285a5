//! Which rows belong together, in one partition. Invariant: the fragments of a key do not overlap, and two of them that are at most a
//! gap apart are one session; which fragment a row extends depends on the rows before it alone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::states::Place;
use crate::time::Micros;

const NONE: u32 = u32::MAX;
/// `due` of what has left.
const LEFT: Micros = Micros::MIN;

/// Rows of a key that follow one another closely.
#[derive(Debug, Clone)]
pub struct Fragment {
    /// Number of the key.
    pub key: usize,
    /// Time of the first row.
    pub first: Micros,
    /// Time of the last row.
    pub last: Micros,
    /// Number of rows.
    pub rows: u64,
    /// Where its state is, once it has one.
    pub place: Option<Place>,
    /// Its group among those that a batch touches; the operator's.
    pub group: Option<u32>,
    /// Whether the watermark has passed its first row: then nothing comes before it any more.
    pub begun: bool,
    older: u32,
    newer: u32,
    /// When to look at it again; its entry in the queue has the same time.
    due: Micros,
}

/// What the watermark made certain. All in the order of time.
#[derive(Debug, Default)]
pub struct Passed {
    /// Fragments whose session has begun and is still open, the first of each session.
    pub begun: Vec<u32>,
    /// Pairs: the state of the second is to be merged into that of the first.
    pub folds: Vec<(u32, u32)>,
    /// Fragments of closed sessions, one session after the other, each from its first to its last.
    pub closed: Vec<u32>,
    /// Where each closed session ends in `closed`.
    pub ends: Vec<usize>,
}

/// The open fragments of all keys.
pub struct Fragments {
    gap: Micros,
    all: Vec<Fragment>,
    free: Vec<u32>,
    /// The newest fragment of each key, or `NONE`.
    newest: Vec<u32>,
    queue: BinaryHeap<Reverse<(Micros, u32)>>,
}

impl Fragments {
    /// Rows belong together if they are at most `gap` microseconds apart.
    pub fn new(gap: Micros) -> Self {
        Self { gap, all: Vec::new(), free: Vec::new(), newest: Vec::new(), queue: BinaryHeap::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    /// Memory that they take, in bytes.
    pub fn bytes(&self) -> usize {
        let queued = self.queue.capacity() * size_of::<(Micros, u32)>();
        self.all.capacity() * size_of::<Fragment>() + (self.free.capacity() + self.newest.capacity()) * size_of::<u32>() + queued
    }

    /// One of them.
    pub fn get(&self, fragment: u32) -> &Fragment {
        &self.all[fragment as usize]
    }

    /// One of them, to change what is public in it.
    pub fn get_mut(&mut self, fragment: u32) -> &mut Fragment {
        &mut self.all[fragment as usize]
    }

    /// All of them, in no order that means anything.
    pub fn each(&self) -> impl Iterator<Item = u32> {
        (0..self.all.len() as u32).filter(|&f| self.all[f as usize].due != LEFT)
    }

    /// Keys have the numbers below `keys`.
    pub fn grow(&mut self, keys: usize) {
        self.newest.resize(keys.max(self.newest.len()), NONE);
    }

    /// The fragment that a row of the key extends, extended, and whether it is a new one. No row comes at or behind the watermark.
    pub fn extend(&mut self, key: usize, time: Micros) -> (u32, bool) {
        let (mut left, mut right) = (self.newest[key], NONE);
        while left != NONE && self.get(left).first > time {
            right = left;
            left = self.get(left).older;
        }
        if left != NONE && time <= self.get(left).last.saturating_add(self.gap) {
            let fragment = self.get_mut(left);
            fragment.last = fragment.last.max(time);
            fragment.rows += 1;
            return (left, false);
        }
        if right != NONE && self.get(right).first <= time.saturating_add(self.gap) {
            let fragment = self.get_mut(right);
            fragment.first = time;
            fragment.rows += 1;
            self.look_again(right, time);
            return (right, false);
        }
        let new = Fragment {
            key,
            first: time,
            last: time,
            rows: 1,
            place: None,
            group: None,
            begun: false,
            older: left,
            newer: right,
            due: LEFT,
        };
        (self.insert(new), true)
    }

    /// Puts back a fragment of a snapshot, newer than all of its key.
    pub fn restore(&mut self, key: usize, (first, last): (Micros, Micros), rows: u64, begun: bool) -> u32 {
        let older = self.newest[key];
        let (place, group) = (None, None);
        self.insert(Fragment { key, first, last, rows, place, group, begun, older, newer: NONE, due: LEFT })
    }

    fn insert(&mut self, new: Fragment) -> u32 {
        let (older, newer, key) = (new.older, new.newer, new.key);
        let due = if new.begun { new.last.saturating_add(self.gap) } else { new.first };
        let at = self.free.pop().unwrap_or(self.all.len() as u32);
        if at as usize == self.all.len() {
            self.all.push(new)
        } else {
            self.all[at as usize] = new
        }
        self.link(older, at, key);
        self.link(at, newer, key);
        self.look_again(at, due);
        at
    }

    fn link(&mut self, older: u32, newer: u32, key: usize) {
        if older != NONE {
            self.get_mut(older).newer = newer;
        }
        if newer == NONE { self.newest[key] = older } else { self.get_mut(newer).older = older }
    }

    fn look_again(&mut self, fragment: u32, due: Micros) {
        self.get_mut(fragment).due = due;
        self.queue.push(Reverse((due, fragment)));
    }

    /// Whether two neighbours are one session.
    fn together(&self, older: u32, newer: u32) -> bool {
        older != NONE && newer != NONE && self.get(newer).first.saturating_sub(self.get(older).last) <= self.gap
    }

    /// All rows that come have times from `ahead` on. What is in `folds` and `closed` has left, and is read until `forget`.
    pub fn pass(&mut self, ahead: Micros) -> Passed {
        let mut passed = Passed::default();
        while let Some(&Reverse((due, fragment))) = self.queue.peek().filter(|Reverse((due, _))| *due < ahead) {
            self.queue.pop();
            if self.get(fragment).due != due {
                continue;
            }
            let end = self.get(fragment).last.saturating_add(self.gap);
            if !self.get(fragment).begun {
                self.begin(fragment, &mut passed);
                self.look_again(fragment, end);
            } else if end >= ahead {
                self.look_again(fragment, end);
            } else if !self.together(fragment, self.get(fragment).newer) {
                self.close(fragment, &mut passed);
            }
        }
        passed.begun.retain(|&f| self.get(f).due != LEFT);
        passed
    }

    /// No row comes before this fragment: the one before it has all its rows, and its state can go into the states before it.
    fn begin(&mut self, fragment: u32, passed: &mut Passed) {
        self.get_mut(fragment).begun = true;
        let older = self.get(fragment).older;
        if !self.together(older, fragment) {
            passed.begun.push(fragment);
            return;
        }
        let oldest = self.get(older).older;
        if self.together(oldest, older) {
            passed.folds.push((oldest, older));
            let (last, rows) = (self.get(older).last, self.get(older).rows);
            let into = self.get_mut(oldest);
            into.last = last;
            into.rows += rows;
            self.leave(older);
        }
    }

    /// Lets go of the session that ends with `newest`.
    fn close(&mut self, newest: u32, passed: &mut Passed) {
        let begin = passed.closed.len();
        let mut next = newest;
        loop {
            passed.closed.push(next);
            let older = self.get(next).older;
            let more = self.together(older, next);
            self.leave(next);
            if !more {
                break;
            }
            next = older;
        }
        passed.closed[begin..].reverse();
        passed.ends.push(passed.closed.len());
    }

    fn leave(&mut self, fragment: u32) {
        let Fragment { older, newer, key, .. } = *self.get(fragment);
        self.link(older, newer, key);
        self.get_mut(fragment).due = LEFT;
    }

    /// A fragment that has left is not read any more.
    pub fn forget(&mut self, fragment: u32) {
        self.free.push(fragment);
    }

    /// Keys have other numbers now: `renumbered` has the new one of each old one that has a fragment.
    pub fn renumber(&mut self, renumbered: &[usize], keys: usize) {
        let old = std::mem::replace(&mut self.newest, vec![NONE; keys]);
        for (number, newest) in old.into_iter().enumerate().filter(|(_, f)| *f != NONE) {
            self.newest[renumbered[number]] = newest;
            let mut fragment = newest;
            while fragment != NONE {
                self.get_mut(fragment).key = renumbered[number];
                fragment = self.get(fragment).older;
            }
        }
    }
}
