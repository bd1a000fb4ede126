//! Counted resources: all that an instance takes, or none; and who waits for them.

use std::collections::BTreeMap;

use super::queue::Place;

/// Instances in the order in which they should start.
type Line = BTreeMap<Place, u32>;

#[derive(Debug)]
struct Pool {
    free: u32,
    /// Who tried to start and found too little of this pool.
    parked: Line,
    /// Everybody ready who wants some of it, parked here or not.
    wanting: Line,
    /// Who was passed over too often; the first of them alone may take any.
    reserved: Line,
}

/// Who should be looked at (again), each with its place in the order.
type Woken = Vec<(Place, u32)>;

#[derive(Debug)]
pub(super) struct Pools {
    all: Vec<Pool>,
    requests: Vec<Vec<(usize, u32)>>,
    /// How often somebody later in the order took what an instance waits for.
    passed: Vec<u32>,
    bound: u32,
    aged: Vec<u32>,
}

impl Pools {
    pub(super) fn new(sizes: Vec<u32>, requests: Vec<Vec<(usize, u32)>>, slots: u32) -> Self {
        let all = sizes
            .into_iter()
            .map(|free| Pool {
                free,
                parked: Line::new(),
                wanting: Line::new(),
                reserved: Line::new(),
            })
            .collect();
        let passed = vec![0; requests.len()];
        Self { all, requests, passed, bound: slots.saturating_mul(2), aged: Vec::new() }
    }

    /// An instance became ready.
    pub(super) fn wait(&mut self, id: u32, place: Place) {
        self.passed[id as usize] = 0;
        for (pool, _) in &self.requests[id as usize] {
            self.all[*pool].wanting.insert(place, id);
        }
    }

    /// Takes everything that an instance asks for, or parks it at the first pool that lacks.
    ///
    /// Either way the answer is who should be looked at (again).
    pub(super) fn take(&mut self, id: u32, place: Place) -> Result<Woken, Woken> {
        let requests = std::mem::take(&mut self.requests[id as usize]);
        let lacking = requests.iter().find(|(pool, amount)| !self.all[*pool].has(*amount, id));
        let answer = if let Some((lacking, _)) = lacking.copied() {
            self.all[lacking].parked.insert(place, id);
            // What was held ready for this one may serve somebody else.
            let others = requests.iter().map(|(pool, _)| *pool).filter(|pool| *pool != lacking);
            Err(self.wake(others))
        } else {
            for (pool, amount) in &requests {
                let pool = &mut self.all[*pool];
                pool.free -= amount;
                pool.wanting.remove(&place);
                pool.reserved.remove(&place);
            }
            self.pass_over(&requests, place);
            // Others waited because these were reserved.
            let opened = requests.iter().map(|(pool, _)| *pool).filter(|_| place.is_aged());
            Ok(self.wake(opened))
        };
        self.requests[id as usize] = requests;
        answer
    }

    /// Gives everything back that an instance took. The answer is who may try now.
    pub(super) fn give_back(&mut self, id: u32) -> Woken {
        let requests = std::mem::take(&mut self.requests[id as usize]);
        for (pool, amount) in &requests {
            self.all[*pool].free += amount;
        }
        let woken = self.wake(requests.iter().map(|(pool, _)| *pool));
        self.requests[id as usize] = requests;
        woken
    }

    /// Those that were passed over too often since the last question.
    pub(super) fn take_aged(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.aged)
    }

    /// Reserves for an instance whatever it asks for.
    pub(super) fn promote(&mut self, id: u32, old: Place, new: Place) {
        let Self { all, requests, .. } = self;
        for (pool, _) in &requests[id as usize] {
            let pool = &mut all[*pool];
            if pool.parked.remove(&old).is_some() {
                pool.parked.insert(new, id);
            }
            pool.wanting.remove(&old);
            pool.wanting.insert(new, id);
            pool.reserved.insert(new, id);
        }
    }

    /// Nobody waits any more.
    pub(super) fn forget_waiting(&mut self) {
        for pool in &mut self.all {
            pool.parked.clear();
            pool.wanting.clear();
            pool.reserved.clear();
        }
    }

    fn pass_over(&mut self, requests: &[(usize, u32)], place: Place) {
        let mut passed: Vec<u32> = requests
            .iter()
            .flat_map(|(pool, _)| self.all[*pool].wanting.range(..place).map(|(_, id)| *id))
            .collect();
        passed.sort_unstable();
        passed.dedup();
        for id in passed {
            let times = &mut self.passed[id as usize];
            *times += 1;
            if *times == self.bound {
                self.aged.push(id);
            }
        }
    }

    /// Takes those out of the parked that could start with what is free now.
    fn wake(&mut self, pools: impl Iterator<Item = usize>) -> Woken {
        let mut woken = Woken::new();
        for index in pools {
            let pool = &mut self.all[index];
            let mut fits = Woken::new();
            let mut budget = pool.free;
            let candidates: &mut dyn Iterator<Item = (&Place, &u32)> =
                match pool.reserved.first_key_value() {
                    Some((holder, _)) => &mut pool.parked.get_key_value(holder).into_iter(),
                    None => &mut pool.parked.iter(),
                };
            for (place, id) in candidates {
                if budget == 0 {
                    break;
                }
                let amount = amount_of(&self.requests[*id as usize], index);
                if amount <= budget {
                    budget -= amount;
                    fits.push((*place, *id));
                }
            }
            for (place, _) in &fits {
                pool.parked.remove(place);
            }
            woken.extend(fits);
        }
        woken
    }
}

impl Pool {
    fn has(&self, amount: u32, id: u32) -> bool {
        let mine = self.reserved.first_key_value().is_none_or(|(_, holder)| *holder == id);
        mine && amount <= self.free
    }
}

fn amount_of(requests: &[(usize, u32)], pool: usize) -> u32 {
    requests.iter().find(|(index, _)| *index == pool).map_or(0, |(_, amount)| *amount)
}
