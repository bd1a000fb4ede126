//! The picture for programs.

use serde_json::{Value, json};

use super::{Picture, Times};

/// The picture as one object of JSON.
pub(crate) fn object(picture: &Picture<'_>) -> Value {
    let workflow = picture.workflow;
    let name = |id| workflow.instance(id).name.as_str();
    let layer = |layer: Option<usize>| layer.map(|layer| workflow.layers[layer].as_str());
    let tasks: Vec<_> = workflow
        .tasks
        .iter()
        .enumerate()
        .map(|(index, task)| {
            json!({
                "name": task.name,
                "kind": task.kind.name(),
                "effect": task.effect,
                "layer": layer(task.layer),
                "protected": task.protected,
                "tags": task.tags,
                "instances": picture.instances(index).map(name).collect::<Vec<_>>(),
            })
        })
        .collect();
    let edges: Vec<_> = workflow
        .ids()
        .flat_map(|id| {
            let parents = workflow.instance(id).needs.iter();
            parents.map(move |parent| json!([name(*parent), name(id)]))
        })
        .collect();
    let layers = picture.layers();
    let layers = layers
        .iter()
        .filter_map(|layer| Some(json!({ "name": layer.name?, "done-ms": layer.done })));
    json!({
        "flow": crate::terminal::stream::VERSION,
        "type": "graph",
        "workflow": workflow.name,
        "times": match picture.times {
            Times::Expected => "expected",
            Times::Learned => "learned",
        },
        "layers": layers.collect::<Vec<_>>(),
        "tasks": tasks,
        "instances": instances(picture),
        "edges": edges,
        "critical-path": {
            "took-ms": u64::try_from(picture.took().as_millis()).unwrap_or(u64::MAX),
            "instances": picture.path.iter().map(|id| name(*id)).collect::<Vec<_>>(),
        },
    })
}

/// The instances with their places in the whole.
fn instances(picture: &Picture<'_>) -> Vec<Value> {
    let workflow = picture.workflow;
    let name = |id| workflow.instance(id).name.as_str();
    workflow
        .ids()
        .map(|id| {
            let def = workflow.instance(id);
            json!({
                "name": name(id),
                "task": workflow.task_of(id).name,
                "skipped": def.skipped,
                "lives-in": def.lives_in.iter().map(|host| name(*host)).collect::<Vec<_>>(),
                "took-ms": picture.durations[id.index()],
                "done-ms": picture.done[id.index()],
            })
        })
        .collect()
}
