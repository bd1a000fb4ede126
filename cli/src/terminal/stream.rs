//! A run as JSON: one object for each event, in the order of history, once it is durable.

use std::sync::Arc;

use flow_engine::event::Event;
use flow_engine::report::{Progress, Reporter};
use flow_engine::workflow::Workflow;
use flow_engine::{Attempt, Instance};
use serde_json::{Value, json};

use super::Terminal;

/// Version of the form; a removed or changed field raises it.
pub(crate) const VERSION: u32 = 1;

/// Prints events as they become durable.
pub(crate) struct Stream {
    terminal: Terminal,
    workflow: Arc<Workflow>,
}

impl Stream {
    /// A printer for a workflow.
    pub(crate) fn new(terminal: Terminal, workflow: Arc<Workflow>) -> Self {
        Self { terminal, workflow }
    }
}

/// An event with its envelope.
pub(crate) fn object(event: &Event, instance: Option<&str>) -> Value {
    let mut object = json!({
        "flow": VERSION,
        "seq": event.seq,
        "run": event.run,
        "at": event.at,
    });
    if let Some(instance) = instance {
        object["instance"] = json!(instance);
    }
    if let (Ok(Value::Object(body)), Value::Object(object)) =
        (serde_json::to_value(&event.body), &mut object)
    {
        object.extend(body);
    }
    object
}

impl Reporter for Stream {
    fn progress(&mut self, progress: Progress) {
        let blocked = |instance, by: &[Instance]| {
            let name = |id: Instance| self.workflow.instance(id).name.as_str().to_owned();
            let by: Vec<_> = by.iter().map(|id| name(*id)).collect();
            json!({ "flow": VERSION, "type": "blocked", "instance": name(instance), "by": by })
        };
        if let Progress::Blocked(instance, by) = progress {
            self.terminal.object(&blocked(instance, &by));
        }
    }

    fn durable(&mut self, events: &[Event]) {
        for event in events {
            let name = event.instance.map(|id| self.workflow.instance(id).name.as_str());
            self.terminal.object(&object(event, name));
        }
    }

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}
}
