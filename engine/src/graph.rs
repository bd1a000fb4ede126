//! Who needs whom: an immutable, acyclic graph whose vertices are numbered topologically.

/// Vertices `0..instances` are instances, the rest are barriers (`layer:X`), which cost nothing.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    parents: Vec<Vec<u32>>,
    children: Vec<Vec<u32>>,
    instances: u32,
}

impl Graph {
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
