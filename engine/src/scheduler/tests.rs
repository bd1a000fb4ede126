use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What a test says of one instance.
#[derive(Debug, Clone, Default)]
struct Sketch {
    needs: Vec<u32>,
    pools: Vec<(usize, u32)>,
    rank: u64,
    finally: bool,
    passive: bool,
}

fn graph(sketches: &[Sketch]) -> Graph {
    let edges: Vec<(u32, u32)> = (0..)
        .zip(sketches)
        .flat_map(|(child, sketch)| sketch.needs.iter().map(move |parent| (*parent, child)))
        .collect();
    Graph::new(sketches.len(), 0, &edges).unwrap().graph
}

fn setup<'g>(graph: &'g Graph, sketches: &[Sketch], pools: &[u32], slots: u32) -> Setup<'g> {
    Setup {
        graph,
        ranks: sketches.iter().map(|sketch| sketch.rank).collect(),
        pools: pools.to_vec(),
        requests: sketches.iter().map(|sketch| sketch.pools.clone()).collect(),
        passive: sketches.iter().map(|sketch| sketch.passive).collect(),
        finally: sketches.iter().map(|sketch| sketch.finally).collect(),
        first: vec![false; sketches.len()],
        slots,
        fail_fast: false,
    }
}

fn needing(needs: &[u32]) -> Sketch {
    Sketch { needs: needs.to_vec(), ..Sketch::default() }
}

fn starts(commands: Vec<Command>) -> Vec<u32> {
    commands
        .into_iter()
        .filter_map(|command| match command {
            Command::Start(id) => Some(id.0),
            Command::Blocked(..) => None,
        })
        .collect()
}

fn good(id: u32) -> [Event; 1] {
    [Event::Finished(Instance(id), Ended::Succeeded)]
}

fn bad(id: u32) -> [Event; 1] {
    [Event::Finished(Instance(id), Ended::Failed)]
}

#[test]
fn the_longest_tail_goes_first() {
    let ranks = [3, 9, 5];
    let sketches = ranks.map(|rank| Sketch { rank, ..Sketch::default() });
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[], 2));
    assert_eq!(starts(scheduler.begin()), [1, 2]);
    assert_eq!(starts(scheduler.on(good(2))), [0]);
}

#[test]
fn settling_frees_the_slot_and_keeps_the_pools() {
    let pools = vec![(0, 1)];
    let sketches = [
        Sketch { pools: pools.clone(), rank: 3, ..Sketch::default() },
        Sketch { pools, rank: 2, ..Sketch::default() },
        Sketch::default(),
    ];
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[1], 1));
    assert_eq!(starts(scheduler.begin()), [0]);
    assert_eq!(starts(scheduler.on([Event::Settling(Instance(0))])), [2]);
    assert!(starts(scheduler.on(good(2))).is_empty());
    assert_eq!(starts(scheduler.on(good(0))), [1]);
}

#[test]
fn a_pause_holds_neither_slot_nor_pool() {
    let pools = vec![(0, 1)];
    let sketches = [
        Sketch { pools: pools.clone(), rank: 3, ..Sketch::default() },
        Sketch { pools, rank: 2, ..Sketch::default() },
    ];
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[1], 1));
    assert_eq!(starts(scheduler.begin()), [0]);
    let later = [Event::Finished(Instance(0), Ended::Later)];
    assert_eq!(starts(scheduler.on(later)), [1]);
    assert!(starts(scheduler.on([Event::RetryDue(Instance(0))])).is_empty());
    assert!(!scheduler.is_over());
    assert_eq!(starts(scheduler.on(good(1))), [0]);
    assert!(starts(scheduler.on(good(0))).is_empty());
    assert!(scheduler.is_over());
}

#[test]
fn what_is_blocked_names_everything_that_failed_before_it() {
    let sketches = [needing(&[]), needing(&[]), needing(&[0, 1]), needing(&[2])];
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[], 4));
    scheduler.begin();
    assert_eq!(scheduler.on(bad(0)), []);
    let both = vec![Instance(0), Instance(1)];
    assert_eq!(
        scheduler.on(bad(1)),
        [Command::Blocked(Instance(2), both.clone()), Command::Blocked(Instance(3), both)]
    );
    assert!(scheduler.is_over());
}

#[test]
fn what_is_passed_through_passes_failures_on_too() {
    let passive = Sketch { passive: true, ..needing(&[0]) };
    let sketches = [needing(&[]), passive, needing(&[1])];
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[], 4));
    assert_eq!(starts(scheduler.begin()), [0]);
    assert_eq!(scheduler.on(bad(0)), [Command::Blocked(Instance(2), vec![Instance(0)])]);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[], 4));
    scheduler.begin();
    assert_eq!(starts(scheduler.on(good(0))), [2]);
}

#[test]
fn after_a_stop_nothing_starts() {
    let sketches = [needing(&[]), needing(&[0])];
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[], 4));
    scheduler.begin();
    assert_eq!(scheduler.on([Event::Stop, good(0)[0]]), []);
    assert!(scheduler.is_over());
    assert_eq!(scheduler.unstarted(), [(Instance(1), Vec::new())]);
}

/// What comes last, and its scheduler with `fail_fast`.
fn last_of(others: Sketch) -> Vec<Sketch> {
    vec![needing(&[]), others, Sketch { finally: true, ..Sketch::default() }]
}

#[test]
fn the_failure_of_the_last_of_all_others_does_not_hold_up_what_comes_last() {
    let sketches = last_of(Sketch { passive: true, ..Sketch::default() });
    let graph = graph(&sketches);
    let setup = setup(&graph, &sketches, &[], 4);
    let mut scheduler = Scheduler::new(Setup { fail_fast: true, ..setup });
    assert_eq!(starts(scheduler.begin()), [0]);
    assert_eq!(starts(scheduler.on(bad(0))), [2]);
    scheduler.on(bad(2));
    assert!(scheduler.is_over());
}

#[test]
fn what_pauses_when_the_rest_is_given_up_is_not_tried_again() {
    let sketches = last_of(Sketch::default());
    let graph = graph(&sketches);
    let setup = setup(&graph, &sketches, &[], 4);
    let mut scheduler = Scheduler::new(Setup { fail_fast: true, ..setup });
    assert_eq!(starts(scheduler.begin()), [0, 1]);
    scheduler.on([Event::Finished(Instance(1), Ended::Later)]);
    assert_eq!(starts(scheduler.on(bad(0))), [2]);
    scheduler.on([Event::Finished(Instance(2), Ended::Later)]);
    assert_eq!(scheduler.on([Event::RetryDue(Instance(1))]), []);
    assert_eq!(starts(scheduler.on([Event::RetryDue(Instance(2))])), [2]);
    scheduler.on(good(2));
    assert!(scheduler.is_over());
    assert_eq!(scheduler.unstarted(), [(Instance(1), Vec::new())]);
}

#[test]
fn a_barrier_is_passed_when_all_behind_it_are_through() {
    let edges = [(0, 3), (1, 3), (3, 2)];
    let graph = Graph::new(3, 1, &edges).unwrap().graph;
    let sketches = [needing(&[]), needing(&[]), needing(&[])];
    let mut setup = setup(&graph, &sketches, &[], 4);
    setup.ranks.push(0);
    let mut scheduler = Scheduler::new(setup);
    assert_eq!(starts(scheduler.begin()), [0, 1]);
    assert!(starts(scheduler.on(good(0))).is_empty());
    assert_eq!(starts(scheduler.on(good(1))), [2]);
}

/// One claimant of two pools among a crowd that wants only one of them.
#[test]
fn i10_who_wants_two_pools_is_not_starved_by_those_who_want_one() {
    let slots = 4;
    let both = Sketch { pools: vec![(0, 1), (1, 1)], rank: 1_000_000, ..Sketch::default() };
    let crowd = (0..1000_u64).map(|rank| Sketch {
        pools: vec![(usize::from(rank % 2 == 0), 1)],
        rank,
        ..Sketch::default()
    });
    // Both pools are taken when it becomes ready, and come back at different times.
    let first = [0, 1].map(|pool| Sketch { pools: vec![(pool, 1)], ..Sketch::default() });
    let mut sketches: Vec<Sketch> = first.into_iter().chain(crowd).collect();
    sketches.push(Sketch { needs: vec![0], ..both });
    let claimant = 1002;
    for sketch in &mut sketches[..2] {
        sketch.rank = 2_000_000;
    }
    let graph = graph(&sketches);
    let mut scheduler = Scheduler::new(setup(&graph, &sketches, &[1, 1], slots));
    let mut running: std::collections::VecDeque<u32> = starts(scheduler.begin()).into();
    let mut passed = 0;
    while let Some(id) = running.pop_front() {
        if id == claimant {
            assert!(passed <= 2 * slots + 1, "passed over {passed} times");
            return;
        }
        let started = starts(scheduler.on(good(id)));
        passed += u32::try_from(started.iter().filter(|id| **id != claimant).count()).unwrap();
        running.extend(started);
    }
    panic!("the claimant never started");
}

prop_compose! {
    fn sketches()(count in 1..40_u32)(
        parts in prop::collection::vec(
            (
                prop::collection::vec(any::<prop::sample::Index>(), 0..4),
                prop::collection::btree_map(0..3_usize, 1..3_u32, 0..3),
                0..5_u64,
                prop::bool::weighted(0.1),
                prop::bool::weighted(0.1),
            ),
            count as usize..=count as usize,
        ),
    ) -> Vec<Sketch> {
        (0_usize..)
            .zip(parts)
            .map(|(id, (needs, pools, rank, passive, finally))| {
                let needs = needs.into_iter().filter(|_| id > 0);
                let needs = needs.map(|index| u32::try_from(index.index(id)).unwrap());
                Sketch {
                    needs: needs.collect(),
                    pools: pools.into_iter().collect(),
                    rank,
                    passive,
                    finally,
                }
            })
            .collect::<Vec<Sketch>>()
    }
}

/// What runs last is needed by nothing that does not.
fn without_needs_of_last(mut sketches: Vec<Sketch>) -> Vec<Sketch> {
    let last: Vec<bool> = sketches.iter().map(|sketch| sketch.finally).collect();
    for sketch in sketches.iter_mut().filter(|sketch| !sketch.finally) {
        sketch.needs.retain(|need| !last[*need as usize]);
    }
    sketches
}

/// A naive account of what a scheduler may do, next to the real one.
struct Model<'s> {
    sketches: &'s [Sketch],
    sizes: [u32; 3],
    slots: usize,
    working: BTreeSet<u32>,
    settling: BTreeSet<u32>,
    paused: BTreeSet<u32>,
    good: BTreeSet<u32>,
    bad: BTreeSet<u32>,
    /// One has failed, and nothing but what comes last may start.
    halted: bool,
    stopped: bool,
}

impl<'s> Model<'s> {
    fn new(sketches: &'s [Sketch], sizes: [u32; 3], slots: u32) -> Self {
        Self {
            sketches,
            sizes,
            slots: slots as usize,
            working: BTreeSet::new(),
            settling: BTreeSet::new(),
            paused: BTreeSet::new(),
            good: BTreeSet::new(),
            bad: BTreeSet::new(),
            halted: false,
            stopped: false,
        }
    }

    fn through(&self, id: u32) -> bool {
        let passed = self.sketches[id as usize].passive && self.may_follow(id);
        self.good.contains(&id) || passed
    }

    /// Whether all that it waits for has ended well; what comes last waits only for its like.
    fn may_follow(&self, id: u32) -> bool {
        let sketch = &self.sketches[id as usize];
        let counts = |need: &&u32| !sketch.finally || self.sketches[**need as usize].finally;
        sketch.needs.iter().filter(counts).all(|need| self.through(*need))
    }

    /// Whether what comes last may begin.
    fn others_are_over(&self) -> bool {
        (0..).zip(self.sketches).filter(|(_, other)| !other.finally && !other.passive).all(
            |(id, _)| {
                let ended = self.good.contains(&id) || self.bad.contains(&id);
                let busy = self.working.contains(&id) || self.settling.contains(&id);
                ended || (self.halted && !busy)
            },
        )
    }

    fn end(&mut self, id: u32, ended: Ended, fail_fast: bool) {
        self.working.remove(&id);
        self.settling.remove(&id);
        let set = match ended {
            Ended::Later => &mut self.paused,
            Ended::Failed => &mut self.bad,
            Ended::Succeeded => &mut self.good,
        };
        set.insert(id);
        let stops_the_rest = fail_fast && ended == Ended::Failed;
        self.halted |= stops_the_rest && !self.sketches[id as usize].finally;
    }

    fn start(&mut self, id: u32) {
        let sketch = &self.sketches[id as usize];
        self.paused.remove(&id);
        assert!(!self.good.contains(&id) && !self.bad.contains(&id), "{id} twice");
        assert!(!self.stopped, "{id} after a stop");
        assert!(self.may_follow(id), "{id} before what it needs");
        assert!(if sketch.finally { self.others_are_over() } else { !self.halted }, "{id}");
        assert!(self.working.insert(id));
        assert!(self.working.len() <= self.slots, "more work than slots");
        for pool in 0..3 {
            let taken: u32 = self
                .working
                .iter()
                .chain(&self.settling)
                .flat_map(|id| &self.sketches[*id as usize].pools)
                .filter(|(wanted, _)| *wanted == pool)
                .map(|(_, amount)| amount)
                .sum();
            assert!(taken <= self.sizes[pool], "pool {pool} is exceeded");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// I10, and that every instance comes to an end, whatever happens in whatever order.
    #[test]
    fn i10_pools_are_never_exceeded_and_nothing_dead_locks(
        sketches in sketches(),
        slots in 1..6_u32,
        choices in prop::collection::vec((any::<prop::sample::Index>(), 0..10_u32), 400),
        last in any::<prop::sample::Index>(),
        fail_fast in any::<bool>(),
        stop_at in prop::option::weighted(0.2, 0..60_usize),
    ) {
        let sketches = without_needs_of_last(sketches);
        let graph = graph(&sketches);
        let sizes = [2, 3, 4];
        let setup = setup(&graph, &sketches, &sizes, slots);
        let mut scheduler = Scheduler::new(Setup { fail_fast, ..setup });
        let mut model = Model::new(&sketches, sizes, slots);
        let mut commands = scheduler.begin();
        let mut choices = choices.into_iter();
        for step in 0.. {
            for command in commands {
                match command {
                    Command::Start(id) => model.start(id.0),
                    Command::Blocked(id, blockers) => {
                        prop_assert!(!blockers.is_empty());
                        model.bad.insert(id.0);
                    }
                }
            }
            let sets = [&model.working, &model.settling, &model.paused];
            let active: Vec<u32> = sets.iter().flat_map(|set| set.iter().copied()).collect();
            if active.is_empty() {
                break;
            }
            if stop_at == Some(step) {
                model.stopped = true;
                commands = scheduler.on([Event::Stop]);
                continue;
            }
            let (which, what) = choices.next().unwrap_or((last, 9));
            let id = active[which.index(active.len())];
            if model.paused.remove(&id) {
                commands = scheduler.on([Event::RetryDue(Instance(id))]);
                continue;
            }
            if what < 2 && model.working.remove(&id) {
                model.settling.insert(id);
                commands = scheduler.on([Event::Settling(Instance(id))]);
                continue;
            }
            let ended = match what {
                3 => Ended::Later,
                4 => Ended::Failed,
                _ => Ended::Succeeded,
            };
            model.end(id, ended, fail_fast);
            commands = scheduler.on([Event::Finished(Instance(id), ended)]);
        }
        prop_assert!(scheduler.is_over());
        let unstarted = scheduler.unstarted();
        if !model.stopped {
            let given_up = |id: &Instance| model.halted && !sketches[id.index()].finally;
            prop_assert!(unstarted.iter().all(|(id, _)| given_up(id)), "{unstarted:?}");
        }
        let active = sketches.iter().filter(|sketch| !sketch.passive).count();
        prop_assert_eq!(model.good.len() + model.bad.len() + unstarted.len(), active);
    }
}
