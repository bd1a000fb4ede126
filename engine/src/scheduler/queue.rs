//! The order in which ready instances start.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The place of an instance in the order; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Passed over too often: in the order in which that came about. Else `u32::MAX`.
    aged: u32,
    tail: Reverse<u64>,
    unhurried: bool,
    id: u32,
}

impl Place {
    pub(super) fn is_aged(self) -> bool {
        self.aged != u32::MAX
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    places: Vec<Place>,
    ready: BTreeMap<Place, u32>,
    aged: u32,
}

impl Queue {
    pub(super) fn new(ranks: &[u64], first: &[bool]) -> Self {
        let places = (0_u32..)
            .zip(ranks)
            .map(|(id, rank)| Place {
                aged: u32::MAX,
                tail: Reverse(*rank),
                unhurried: !first.get(id as usize).copied().unwrap_or(false),
                id,
            })
            .collect();
        Self { places, ready: BTreeMap::new(), aged: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    pub(super) fn push(&mut self, id: u32) -> Place {
        let place = &mut self.places[id as usize];
        place.aged = u32::MAX;
        self.ready.insert(*place, id);
        *place
    }

    pub(super) fn put_back(&mut self, place: Place, id: u32) {
        self.ready.insert(place, id);
    }

    pub(super) fn pop(&mut self) -> Option<(Place, u32)> {
        self.ready.pop_first()
    }

    pub(super) fn clear(&mut self) {
        self.ready.clear();
    }

    /// Moves an instance before all that were not promoted earlier: its old and its new place.
    pub(super) fn promote(&mut self, id: u32) -> (Place, Place) {
        let old = self.places[id as usize];
        let new = Place { aged: self.aged, ..old };
        self.aged += 1;
        self.places[id as usize] = new;
        if self.ready.remove(&old).is_some() {
            self.ready.insert(new, id);
        }
        (old, new)
    }
}
