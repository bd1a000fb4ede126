//! Who needs whom: an immutable, acyclic graph whose vertices are numbered topologically.

/// Vertices `0..instances` are instances, the rest are barriers (`layer:X`), which cost nothing.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    parents: Vec<Vec<u32>>,
    children: Vec<Vec<u32>>,
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
    /// Joins vertices by edges of (needed, needing).
    ///
    /// # Errors
    ///
    /// The vertices that form a cycle.
    pub fn new(
        instances: usize,
        barriers: usize,
        edges: &[(u32, u32)],
    ) -> Result<Numbered, Vec<Cycle>> {
        let vertices = instances + barriers;
        let mut graph = Self {
            parents: vec![Vec::new(); vertices],
            children: vec![Vec::new(); vertices],
            instances: u32::try_from(instances).expect("a graph is small"),
        };
        for (parent, child) in edges {
            graph.parents[*child as usize].push(*parent);
            graph.children[*parent as usize].push(*child);
        }
        Ok(Numbered { graph, number: (0..).take(vertices).collect() })
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
        self.parents.is_empty()
    }

    /// What a vertex needs, directly.
    #[must_use]
    pub fn parents(&self, vertex: u32) -> &[u32] {
        &self.parents[vertex as usize]
    }

    /// What needs a vertex, directly.
    #[must_use]
    pub fn children(&self, vertex: u32) -> &[u32] {
        &self.children[vertex as usize]
    }
}
