//! Which instance starts next: pure, without clocks, intents or disks.
//!
//! A vertex is ready once everything that it needs has ended well. Among those that are ready the
//! longest tail starts first, as soon as a slot and *all* its pools are free. What finds a pool
//! busy is parked at that pool, and is looked at again only when some of it comes back. What was
//! passed over too often reserves its pools, so that nothing waits for ever.

mod pools;
mod queue;

use crate::graph::Graph;
use crate::id::Instance;
use pools::Pools;
use queue::{Place, Queue};

/// How many blockers are named at most; with more, a person looks at the first ones anyway.
const NAMED_BLOCKERS: usize = 16;

/// What a scheduler is made of. All lists but `pools` have one entry for each instance.
#[derive(Debug, Clone)]
pub struct Setup<'g> {
    /// Who needs whom.
    pub graph: &'g Graph,
    /// The length of the tail that starts with each vertex (barriers included).
    pub ranks: Vec<u64>,
    /// The size of each pool.
    pub pools: Vec<u32>,
    /// What each instance takes: (pool, amount).
    pub requests: Vec<Vec<(usize, u32)>>,
    /// Instances that are only passed through: skipped, or outside of the selection.
    pub passive: Vec<bool>,
    /// Instances that start when all others have ended, however.
    pub finally: Vec<bool>,
    /// Instances that go first among those with the same tail (they failed or are open).
    pub first: Vec<bool>,
    /// How many may work at a time.
    pub slots: u32,
    /// Whether one failure stops everything that has not started.
    pub fail_fast: bool,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An instance only waits now: its slot is free, its pools are not.
    Settling(Instance),
    /// An instance is done with this try.
    Finished(Instance, Ended),
    /// The pause before another try is over.
    RetryDue(Instance),
    /// Nothing new may start.
    Stop,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well: what needs it may go on.
    Succeeded,
    /// For good: what needs it is blocked.
    Failed,
    /// It is tried again after [`Event::RetryDue`]; until then it holds nothing.
    Later,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start a try.
    Start(Instance),
    /// It cannot start in this run, because these have failed (the first ones, by number).
    Blocked(Instance, Vec<Instance>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Needs something that has not ended.
    Waiting,
    /// Could start.
    Ready,
    /// Holds a slot and its pools.
    Working,
    /// Holds its pools.
    Settling,
    /// Holds nothing until its retry is due.
    Paused,
    /// Ended well, or was passed through.
    Through,
    /// Failed, or blocked.
    Bad,
}

/// Decides what starts when. See the [module documentation](self).
#[derive(Debug)]
pub struct Scheduler<'g> {
    graph: &'g Graph,
    phases: Vec<Phase>,
    /// How many parents have not ended; for `finally`, only those that are `finally` too.
    left: Vec<u32>,
    /// The failed instances behind a vertex that cannot start.
    blockers: Vec<Vec<Instance>>,
    passive: Vec<bool>,
    denied: Vec<Instance>,
    finally: Vec<bool>,
    /// How many vertices that are not `finally` have not ended.
    others: usize,
    busy: usize,
    paused: usize,
    pools: Pools,
    queue: Queue,
    free_slots: u32,
    fail_fast: bool,
    halted: bool,
    stopped: bool,
}

impl<'g> Scheduler<'g> {
    /// A scheduler that has started nothing yet.
    #[must_use]
    pub fn new(setup: Setup<'g>) -> Self {
        let Setup { graph, ranks, pools, requests, passive, finally, first, slots, fail_fast } =
            setup;
        let slots = slots.max(1);
        let left = parents_left(graph, &finally);
        let last = finally.iter().filter(|last| **last).count();
        Self {
            graph,
            phases: vec![Phase::Waiting; graph.len()],
            left,
            blockers: vec![Vec::new(); graph.len()],
            passive,
            denied: Vec::new(),
            finally,
            others: graph.len() - last,
            busy: 0,
            paused: 0,
            queue: Queue::new(&ranks, &first),
            pools: Pools::new(pools, requests, slots),
            free_slots: slots,
            fail_fast,
            halted: false,
            stopped: false,
        }
    }

    /// Blocks what needs a passive instance, since that does not hold. To be said before
    /// [`Scheduler::begin`].
    pub fn deny(&mut self, instance: Instance) {
        self.denied.push(instance);
    }

    /// The first commands.
    pub fn begin(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        let roots: Vec<u32> = self.vertices().filter(|v| self.may_release(*v)).collect();
        for vertex in roots {
            if self.phases[vertex as usize] == Phase::Waiting {
                self.release(vertex, &mut commands);
            }
        }
        self.turn(&mut commands);
        commands
    }

    /// Takes in what happened in one turn, and answers with everything that can start now.
    pub fn on(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Command> {
        let mut commands = Vec::new();
        for event in events {
            match event {
                Event::Settling(id) => self.settle(id),
                Event::Finished(id, ended) => self.finish(id, ended, &mut commands),
                Event::RetryDue(id) => self.resume(id),
                Event::Stop => self.stopped = true,
            }
        }
        self.turn(&mut commands);
        commands
    }

    /// Whether nothing works, settles or pauses, and nothing can start any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let more = self.paused > 0 || !self.queue.is_empty();
        self.busy == 0 && (self.stopped || !more)
    }

    /// How many instances hold a slot or settle.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Instances that never started although nothing they need has failed for good, and those
    /// that wait for a failed one together with others: `(instance, blockers)`.
    #[must_use]
    pub fn unstarted(&self) -> Vec<(Instance, Vec<Instance>)> {
        self.vertices()
            .filter(|v| *v < self.graph.instances() && !self.passive[*v as usize])
            .filter(|v| {
                matches!(self.phases[*v as usize], Phase::Waiting | Phase::Ready | Phase::Paused)
            })
            .map(|v| (Instance(v), self.blockers[v as usize].clone()))
            .collect()
    }

    fn vertices(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.graph.len()).expect("a graph is checked for its size")
    }

    fn is_last(&self, vertex: u32) -> bool {
        self.finally.get(vertex as usize).copied().unwrap_or(false)
    }

    fn may_release(&self, vertex: u32) -> bool {
        self.left[vertex as usize] == 0 && (!self.is_last(vertex) || self.others == 0)
    }

    /// Starts what can start, until nothing can.
    fn turn(&mut self, commands: &mut Vec<Command>) {
        loop {
            if !self.stopped && !self.is_halted() {
                self.start_ready(commands);
            }
            if !self.begin_last(commands) {
                return;
            }
        }
    }

    fn start_ready(&mut self, commands: &mut Vec<Command>) {
        while self.free_slots > 0 {
            let Some((place, id)) = self.queue.pop() else { return };
            match self.pools.take(id, place) {
                Ok(woken) => {
                    self.phases[id as usize] = Phase::Working;
                    self.free_slots -= 1;
                    self.busy += 1;
                    self.requeue(woken);
                    self.promote();
                    commands.push(Command::Start(Instance(id)));
                }
                Err(woken) => self.requeue(woken),
            }
        }
    }

    /// A failure that stops the rest stops nothing that runs last, however the others end.
    fn is_halted(&self) -> bool {
        self.halted && self.others > 0
    }

    /// With a failure that stops the rest, `finally` instances still run once all is quiet.
    fn begin_last(&mut self, commands: &mut Vec<Command>) -> bool {
        if !self.is_halted() || self.busy > 0 || self.stopped {
            return false;
        }
        self.queue.clear();
        self.pools.forget_waiting();
        for phase in &mut self.phases {
            // Its retry is not due any more, whenever its time comes.
            if *phase == Phase::Paused {
                *phase = Phase::Waiting;
            }
        }
        self.paused = 0;
        self.others = 0;
        self.release_last(commands);
        true
    }

    fn resume(&mut self, id: Instance) {
        if self.phases[id.index()] == Phase::Paused && self.paused > 0 {
            self.paused -= 1;
            self.enqueue(id.0);
        }
    }

    fn settle(&mut self, id: Instance) {
        if self.phases[id.index()] == Phase::Working {
            self.phases[id.index()] = Phase::Settling;
            self.free_slots += 1;
        }
    }

    fn finish(&mut self, id: Instance, ended: Ended, commands: &mut Vec<Command>) {
        match self.phases[id.index()] {
            Phase::Working => self.free_slots += 1,
            Phase::Settling => {}
            Phase::Waiting | Phase::Ready | Phase::Paused | Phase::Through | Phase::Bad => return,
        }
        self.busy -= 1;
        let woken = self.pools.give_back(id.0);
        self.requeue(woken);
        match ended {
            Ended::Succeeded => self.pass(id.0, Vec::new(), commands),
            Ended::Failed => {
                self.halted |= self.fail_fast;
                self.pass(id.0, vec![id], commands);
            }
            Ended::Later => {
                self.phases[id.index()] = Phase::Paused;
                self.paused += 1;
            }
        }
    }

    /// A vertex has ended; everything that this releases or blocks follows. Not recursive.
    fn pass(&mut self, vertex: u32, blockers: Vec<Instance>, commands: &mut Vec<Command>) {
        let mut ended = vec![(vertex, blockers)];
        while let Some((vertex, blockers)) = ended.pop() {
            self.phases[vertex as usize] =
                if blockers.is_empty() { Phase::Through } else { Phase::Bad };
            if !self.is_last(vertex) {
                self.others -= 1;
            }
            let graph = self.graph;
            for &child in graph.children(vertex) {
                if self.is_last(child) && !self.is_last(vertex) {
                    continue;
                }
                self.block(child, &blockers);
                self.left[child as usize] -= 1;
                if self.may_release(child) {
                    self.arrive(child, &mut ended, commands);
                }
            }
        }
        if self.others == 0 {
            self.release_last(commands);
        }
    }

    fn release(&mut self, vertex: u32, commands: &mut Vec<Command>) {
        let mut ended = Vec::new();
        self.arrive(vertex, &mut ended, commands);
        for (vertex, blockers) in ended {
            self.pass(vertex, blockers, commands);
        }
    }

    /// Nothing stands before this vertex any more: it queues, is passed through, or is blocked.
    fn arrive(
        &mut self,
        vertex: u32,
        ended: &mut Vec<(u32, Vec<Instance>)>,
        commands: &mut Vec<Command>,
    ) {
        let passive = self.passive.get(vertex as usize).copied().unwrap_or(true);
        let mut blockers = std::mem::take(&mut self.blockers[vertex as usize]);
        if passive {
            blockers.extend(self.denied.iter().filter(|denied| denied.0 == vertex));
            ended.push((vertex, blockers));
        } else if blockers.is_empty() {
            self.enqueue(vertex);
        } else {
            commands.push(Command::Blocked(Instance(vertex), blockers.clone()));
            ended.push((vertex, blockers));
        }
    }

    fn release_last(&mut self, commands: &mut Vec<Command>) {
        let last: Vec<u32> = self
            .vertices()
            .filter(|v| self.is_last(*v) && self.left[*v as usize] == 0)
            .filter(|v| self.phases[*v as usize] == Phase::Waiting)
            .collect();
        for vertex in last {
            if self.phases[vertex as usize] == Phase::Waiting {
                self.release(vertex, commands);
            }
        }
    }

    fn block(&mut self, vertex: u32, blockers: &[Instance]) {
        let known = &mut self.blockers[vertex as usize];
        for blocker in blockers {
            if let Err(place) = known.binary_search(blocker) {
                known.insert(place, *blocker);
            }
        }
        known.truncate(NAMED_BLOCKERS);
    }

    fn enqueue(&mut self, vertex: u32) {
        self.phases[vertex as usize] = Phase::Ready;
        let place = self.queue.push(vertex);
        self.pools.wait(vertex, place);
    }

    fn requeue(&mut self, woken: Vec<(Place, u32)>) {
        for (place, id) in woken {
            self.queue.put_back(place, id);
        }
    }

    /// Whoever was passed over too often moves to the front and reserves its pools.
    fn promote(&mut self) {
        for id in self.pools.take_aged() {
            let (old, new) = self.queue.promote(id);
            self.pools.promote(id, old, new);
        }
    }
}

fn parents_left(graph: &Graph, finally: &[bool]) -> Vec<u32> {
    let count = u32::try_from(graph.len()).expect("a graph is checked for its size");
    let is_last = |v: u32| finally.get(v as usize).copied().unwrap_or(false);
    (0..count)
        .map(|vertex| {
            let counted =
                graph.parents(vertex).iter().filter(|p| !is_last(vertex) || is_last(**p)).count();
            u32::try_from(counted).expect("a graph is checked for its size")
        })
        .collect()
}

#[cfg(test)]
mod tests;
