//! How many transactions a run takes: the floor is one for each turn of a bare walker.

use super::*;

async fn appends(sketches: impl FnOnce(&Stage) -> Vec<Sketch>) -> usize {
    let stage = Stage::default();
    let sketches = sketches(&stage);
    let count = sketches.len();
    let workflow = workflow(sketches, &[]);
    let mut options = options(&stage.store, 1);
    options.slots = 8;
    let summary = execute(&workflow, &stage.store, options).await.unwrap();
    assert_eq!(summary.counts().applied, count);
    assert!(summary.took < Duration::from_secs(1), "nothing waited: {:?}", summary.took);
    stage.store.appends()
}

fn layered(stage: &Stage, count: u32, width: u32) -> Vec<Sketch> {
    (0..count)
        .map(|id| {
            let layer = id / width;
            let needs: Vec<u32> = if layer == 0 {
                Vec::new()
            } else {
                ((layer - 1) * width..layer * width).collect()
            };
            sketch(stage, &format!("t{id}"), Effect::Converge, &needs)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_in_layers() {
    assert!(appends(|stage| layered(stage, 1000, 8)).await <= 126 + 3);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_in_layers() {
    assert!(appends(|stage| layered(stage, 10_000, 8)).await <= 1251 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_side_by_side() {
    assert!(appends(|stage| layered(stage, 1000, 1000)).await <= 127 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_in_a_row() {
    assert!(appends(|stage| layered(stage, 1000, 1)).await <= 1001 + 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_do_takes_five_appends_at_most() {
    let stage = Stage::default();
    let workflow = workflow(layered(&stage, 1000, 8), &[]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    let (before, effects) = (stage.store.appends(), stage.world.effects().len());
    let summary = execute(&workflow, &stage.store, options(&stage.store, 2)).await.unwrap();
    assert_eq!(summary.counts().as_recorded, 1000);
    assert_eq!(stage.world.effects().len(), effects);
    assert!(stage.store.appends() - before <= 5, "{}", stage.store.appends() - before);
}
