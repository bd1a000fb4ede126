use std::sync::Arc;
use std::time::Duration;

use crate::kind::Effect;
use crate::testing::{MemoryStore, Power, Simulated, Sketch, World, execute, options, workflow};

struct Stage {
    world: Arc<World>,
    store: Arc<MemoryStore>,
}

fn stage() -> Stage {
    let power = Arc::new(Power::default());
    let world = Arc::new(World::new(Arc::clone(&power)));
    Stage { world, store: Arc::new(MemoryStore::new(power)) }
}

fn layered(stage: &Stage, layers: u32, width: u32) -> Vec<Sketch> {
    (0..layers * width)
        .map(|id| {
            let layer = id / width;
            let needs = if layer == 0 { 0..0 } else { (layer - 1) * width..layer * width };
            let kind = Simulated::new(&stage.world, Effect::Converge);
            Sketch::new(&format!("t{id}"), kind, needs)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_layered_run_takes_one_commit_a_layer() {
    let stage = stage();
    let workflow = workflow(layered(&stage, 125, 8), &[]);
    let mut options = options(&stage.store, 1);
    options.slots = 8;
    let summary = execute(&workflow, &stage.store, options).await.unwrap();
    assert_eq!(summary.counts().applied, 1000);
    assert!(stage.store.appends() <= 126 + 3, "{}", stage.store.appends());
    assert!(summary.took < Duration::from_secs(1), "nothing waited: {:?}", summary.took);
}
