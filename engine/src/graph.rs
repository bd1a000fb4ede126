//! Who needs whom: an immutable, acyclic graph whose vertices are numbered topologically.
//!
//! Nothing here recurses, so a chain of 100 000 instances is as good as any other graph.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// How many members a strongly connected part may have to be searched for its shortest cycle.
const SEARCHED: usize = 1000;

/// Vertices `0..instances` are instances, the rest are barriers (`layer:X`), which cost nothing.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    parents: Adjacency,
    children: Adjacency,
    instances: u32,
}

/// A graph, and what became of the numbers that its edges were given in.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The graph.
    pub graph: Graph,
    /// The new number of each old one.
    pub number: Vec<u32>,
}

/// Vertices that need each other, each the next one and the last one the first; old numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<u32>);

impl Graph {
    /// Numbers `instances` vertices, and `barriers` more, so that nothing needs a later one.
    ///
    /// An edge is `(needed, needing)`. Among the orders that are possible, it is the one that
    /// stays next to the given numbers, so it depends on nothing but them. Barriers are numbered
    /// after all instances, in an order of their own.
    ///
    /// # Errors
    ///
    /// One cycle for each set of vertices that need each other, short ones as short as possible.
    ///
    /// # Panics
    ///
    /// With more than `u32::MAX` vertices, or an edge to a vertex that is not there.
    #[expect(clippy::new_ret_no_self, reason = "the new numbers come with it")]
    pub fn new(
        instances: usize,
        barriers: usize,
        edges: &[(u32, u32)],
    ) -> Result<Numbered, Vec<Cycle>> {
        let count = instances + barriers;
        let distinct: Vec<(u32, u32)> = {
            let mut edges = edges.to_vec();
            edges.sort_unstable();
            edges.dedup();
            edges
        };
        let children = Adjacency::new(count, &distinct);
        let Some(number) = number(instances, count, &children) else {
            return Err(cycles(count, &distinct, &children));
        };
        let mut renumbered: Vec<(u32, u32)> = distinct
            .iter()
            .map(|(from, to)| (number[*from as usize], number[*to as usize]))
            .collect();
        renumbered.sort_unstable();
        let children = Adjacency::new(count, &renumbered);
        for edge in &mut renumbered {
            *edge = (edge.1, edge.0);
        }
        renumbered.sort_unstable();
        let parents = Adjacency::new(count, &renumbered);
        Ok(Numbered { graph: Self { parents, children, instances: small(instances) }, number })
    }

    /// How many vertices are instances.
    #[must_use]
    pub fn instances(&self) -> u32 {
        self.instances
    }

    /// How many vertices there are, barriers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a vertex is a barrier.
    #[must_use]
    pub fn is_barrier(&self, vertex: u32) -> bool {
        vertex >= self.instances
    }

    /// What a vertex needs, directly.
    #[must_use]
    pub fn parents(&self, vertex: u32) -> &[u32] {
        self.parents.of(vertex)
    }

    /// What needs a vertex, directly.
    #[must_use]
    pub fn children(&self, vertex: u32) -> &[u32] {
        self.children.of(vertex)
    }

    /// What the given vertices need, however far away, barriers included; not they themselves,
    /// unless one needs another.
    #[must_use]
    pub fn ancestors(&self, of: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        reach(&self.parents, of)
    }

    /// What needs the given vertices, however far away.
    #[must_use]
    pub fn descendants(&self, of: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        reach(&self.children, of)
    }

    /// The instances that a vertex waits for, seen through barriers and through what is
    /// `transparent` (skipped instances), in order.
    #[must_use]
    pub fn needs(&self, vertex: u32, transparent: impl Fn(u32) -> bool) -> Vec<u32> {
        let through = |vertex: u32| self.is_barrier(vertex) || transparent(vertex);
        let direct = self.parents(vertex);
        if !direct.iter().any(|parent| through(*parent)) {
            return direct.to_vec();
        }
        let mut passed = BTreeSet::new();
        let mut open = vec![vertex];
        let mut needs = Vec::new();
        while let Some(vertex) = open.pop() {
            for parent in self.parents(vertex) {
                if !through(*parent) {
                    needs.push(*parent);
                } else if passed.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        needs.sort_unstable();
        needs.dedup();
        needs
    }
}

/// Everything that can be reached.
fn reach(along: &Adjacency, from: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<u32> = from.into_iter().collect();
    while let Some(vertex) = open.pop() {
        for next in along.of(vertex) {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}

/// Neighbours, one flat list for all vertices.
#[derive(Debug, Clone)]
struct Adjacency {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Default for Adjacency {
    fn default() -> Self {
        Self { starts: vec![0], targets: Vec::new() }
    }
}

impl Adjacency {
    /// `edges` are sorted.
    fn new(count: usize, edges: &[(u32, u32)]) -> Self {
        let mut starts = vec![0_u32; count + 1];
        for (from, _) in edges {
            starts[*from as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        Self { starts, targets: edges.iter().map(|(_, to)| *to).collect() }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, vertex: u32) -> &[u32] {
        let vertex = vertex as usize;
        &self.targets[self.starts[vertex] as usize..self.starts[vertex + 1] as usize]
    }
}

/// The new number of each vertex; `None` where there is a cycle.
fn number(instances: usize, count: usize, children: &Adjacency) -> Option<Vec<u32>> {
    let mut waiting = vec![0_u32; count];
    for child in &children.targets {
        waiting[*child as usize] += 1;
    }
    // Barriers go first, so that they keep nobody from a number next to the given one.
    let rank = |vertex: u32| (vertex < small(instances), vertex);
    let mut ready: BinaryHeap<Reverse<(bool, u32)>> = (0..small(count))
        .filter(|vertex| waiting[*vertex as usize] == 0)
        .map(|vertex| Reverse(rank(vertex)))
        .collect();
    let mut number = vec![0_u32; count];
    let (mut next_instance, mut next_barrier) = (0, small(instances));
    while let Some(Reverse((is_instance, vertex))) = ready.pop() {
        let next = if is_instance { &mut next_instance } else { &mut next_barrier };
        number[vertex as usize] = *next;
        *next += 1;
        for child in children.of(vertex) {
            waiting[*child as usize] -= 1;
            if waiting[*child as usize] == 0 {
                ready.push(Reverse(rank(*child)));
            }
        }
    }
    (next_instance + (next_barrier - small(instances)) == small(count)).then_some(number)
}

/// One cycle for each strongly connected part.
fn cycles(count: usize, edges: &[(u32, u32)], children: &Adjacency) -> Vec<Cycle> {
    let mut graph = DiGraph::<(), ()>::with_capacity(count, edges.len());
    for _ in 0..count {
        graph.add_node(());
    }
    graph.extend_with_edges(edges.iter().map(|(a, b)| (NodeIndex::from(*a), NodeIndex::from(*b))));
    let mut cycles: Vec<Cycle> = kosaraju_scc(&graph)
        .into_iter()
        .map(|part| part.into_iter().map(|v| small(v.index())).collect::<Vec<u32>>())
        .filter(|part| part.len() > 1 || children.of(part[0]).contains(&part[0]))
        .map(|mut part| {
            part.sort_unstable();
            shortest(&part, count, children)
        })
        .collect();
    cycles.sort_by_key(|cycle| cycle.0.iter().min().copied());
    cycles
}

/// A shortest cycle within a part, begun at its smallest member.
fn shortest(part: &[u32], count: usize, children: &Adjacency) -> Cycle {
    let mut inside = vec![false; count];
    for vertex in part {
        inside[*vertex as usize] = true;
    }
    let starts = if part.len() <= SEARCHED { part } else { &part[..1] };
    let mut best: Option<Vec<u32>> = None;
    for start in starts {
        let bound = best.as_ref().map_or(usize::MAX, Vec::len);
        if let Some(found) = cycle_from(*start, bound, &inside, children) {
            best = Some(found);
        }
    }
    let mut cycle = best.expect("a strongly connected part has a cycle through each member");
    let least = cycle.iter().enumerate().min_by_key(|(_, v)| **v).map_or(0, |(at, _)| at);
    cycle.rotate_left(least);
    Cycle(cycle)
}

/// The shortest way from a vertex back to it, if it is shorter than `bound`.
fn cycle_from(start: u32, bound: usize, inside: &[bool], children: &Adjacency) -> Option<Vec<u32>> {
    const UNSEEN: u32 = u32::MAX;
    let mut from = vec![UNSEEN; inside.len()];
    let mut open = VecDeque::from([(start, 1_usize)]);
    while let Some((vertex, length)) = open.pop_front() {
        if length >= bound {
            return None;
        }
        for next in children.of(vertex) {
            if *next == start {
                let mut path = vec![vertex];
                let mut at = vertex;
                while at != start {
                    at = from[at as usize];
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            if inside[*next as usize] && from[*next as usize] == UNSEEN {
                from[*next as usize] = vertex;
                open.push_back((*next, length + 1));
            }
        }
    }
    None
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a workflow is checked for its size")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn build(instances: usize, edges: &[(u32, u32)]) -> Result<Numbered, Vec<Cycle>> {
        Graph::new(instances, 0, edges)
    }

    #[test]
    fn numbers_stay_next_to_the_given_ones() {
        let numbered = build(4, &[(3, 0)]).unwrap();
        assert_eq!(numbered.number, [3, 0, 1, 2]);
        assert_eq!(build(3, &[(0, 1), (1, 2)]).unwrap().number, [0, 1, 2]);
    }

    #[test]
    fn a_barrier_is_a_vertex_behind_all_instances() {
        // 0 and 1 are before the barrier 3, 2 is after it.
        let graph = Graph::new(3, 1, &[(0, 3), (1, 3), (3, 2)]).unwrap().graph;
        assert_eq!(graph.parents(2), [3]);
        assert_eq!(graph.needs(2, |_| false), [0, 1]);
        assert_eq!(graph.ancestors([2]), BTreeSet::from([0, 1, 3]));
        assert_eq!(graph.descendants([0]), BTreeSet::from([2, 3]));
    }

    #[test]
    fn what_is_skipped_is_transparent() {
        let graph = build(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]).unwrap().graph;
        assert_eq!(graph.needs(3, |v| v == 2), [0, 1]);
        assert_eq!(graph.needs(3, |v| v == 1 || v == 2), [0]);
        assert_eq!(graph.needs(3, |_| false), [0, 2]);
    }

    #[test]
    fn the_shortest_cycle_is_named() {
        let edges = [(0, 1), (1, 2), (2, 3), (3, 0), (2, 1)];
        assert_eq!(build(4, &edges).unwrap_err(), [Cycle(vec![1, 2])]);
        assert_eq!(build(1, &[(0, 0)]).unwrap_err(), [Cycle(vec![0])]);
    }

    #[test]
    fn a_hundred_thousand_in_a_row_and_in_a_ring() {
        let chain: Vec<(u32, u32)> = (0..99_999).map(|i| (i, i + 1)).collect();
        let graph = build(100_000, &chain).unwrap().graph;
        assert_eq!(graph.ancestors([99_999]).len(), 99_999);
        let mut ring = chain;
        ring.push((99_999, 0));
        assert_eq!(build(100_000, &ring).unwrap_err()[0].0.len(), 100_000);
    }

    fn edges() -> impl Strategy<Value = (u32, Vec<(u32, u32)>)> {
        (1..24_u32).prop_flat_map(|count| {
            (Just(count), proptest::collection::vec((0..count, 0..count), 0..60))
        })
    }

    /// Everything reachable, found by following edges until nothing is new.
    fn naive(edges: &[(u32, u32)], from: u32) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        loop {
            let before = seen.len();
            for (a, b) in edges {
                if *a == from || seen.contains(a) {
                    seen.insert(*b);
                }
            }
            if seen.len() == before {
                return seen;
            }
        }
    }

    proptest! {
        #[test]
        fn either_a_numbering_or_real_cycles((count, edges) in edges()) {
            let cyclic = (0..count).any(|v| naive(&edges, v).contains(&v));
            match build(count as usize, &edges) {
                Ok(Numbered { number, graph }) => {
                    prop_assert!(!cyclic);
                    let distinct: BTreeSet<u32> = number.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), count as usize);
                    for (a, b) in &edges {
                        prop_assert!(number[*a as usize] < number[*b as usize]);
                    }
                    for v in 0..count {
                        let expected: BTreeSet<u32> =
                            naive(&edges, v).into_iter().map(|w| number[w as usize]).collect();
                        prop_assert_eq!(graph.descendants([number[v as usize]]), expected);
                    }
                }
                Err(cycles) => {
                    prop_assert!(cyclic);
                    for Cycle(cycle) in cycles {
                        for (i, v) in cycle.iter().enumerate() {
                            let next = cycle[(i + 1) % cycle.len()];
                            prop_assert!(edges.contains(&(*v, next)));
                        }
                        let distinct: BTreeSet<&u32> = cycle.iter().collect();
                        prop_assert_eq!(distinct.len(), cycle.len());
                    }
                }
            }
        }
    }
}
