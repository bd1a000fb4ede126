//! Killing a run at every step, and going on.

use std::sync::Arc;

use crate::runner::{Options, RunError, Summary};
use crate::workflow::Workflow;

use super::build::{execute, options};
use super::{MemoryStore, Power, World};

/// A world and a disk on the same power, and what runs there.
pub struct Stage {
    /// The mains.
    pub power: Arc<Power>,
    /// The world.
    pub world: Arc<World>,
    /// The disk.
    pub store: Arc<MemoryStore>,
}

impl Default for Stage {
    fn default() -> Self {
        let power = Arc::new(Power::default());
        Self {
            world: Arc::new(World::new(Arc::clone(&power))),
            store: Arc::new(MemoryStore::new(Arc::clone(&power))),
            power,
        }
    }
}

impl Stage {
    /// Runs until the power is cut, if it is: `None`.
    pub async fn live(
        &self,
        workflow: &Arc<Workflow>,
        options: Options,
    ) -> Option<Result<Summary, RunError>> {
        tokio::select! {
            biased;
            () = self.power.is_cut() => None,
            ended = execute(workflow, &self.store, options) => Some(ended),
        }
    }

    /// Switches the power on again, as after a reboot.
    pub fn reboot(&self) {
        self.power.restore();
        self.store.restart();
    }

    /// Runs, is killed at each of these steps (counted from each start), and goes on each time
    /// until a session comes to its end.
    ///
    /// # Errors
    ///
    /// As [`Run::execute`](crate::runner::Run::execute), for the last session.
    pub async fn live_through(
        &self,
        workflow: &Arc<Workflow>,
        cuts: &[u64],
        tune: impl Fn(&mut Options),
    ) -> Result<Summary, RunError> {
        for cut in cuts {
            self.power.cut_at(self.power.steps() + cut);
            let mut options = options(&self.store, 1);
            tune(&mut options);
            if let Some(ended) = self.live(workflow, options).await {
                return ended;
            }
            self.reboot();
        }
        self.power.restore();
        let mut options = options(&self.store, 1);
        tune(&mut options);
        execute(workflow, &self.store, options).await
    }
}
