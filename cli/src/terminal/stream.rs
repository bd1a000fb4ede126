//! A run as JSON: one object for each event, in the order of history, once it is durable.

use std::sync::Arc;

use flow_engine::event::{Body, Event};
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
    is_full: bool,
}

impl Stream {
    /// A printer for a workflow.
    pub(crate) fn new(terminal: Terminal, workflow: Arc<Workflow>) -> Self {
        Self { terminal, workflow, is_full: false }
    }
}

/// Fields whose names or keys are the user's own.
const THEIRS: [&str; 6] = ["outputs", "params", "inputs", "secrets", "files", "handle"];

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
    let body = match &event.body {
        Body::End(ended) => json!({ "type": "end", "how": ended }),
        Body::Run(_)
        | Body::Intent(_)
        | Body::Record { .. }
        | Body::Outcome(_)
        | Body::Edit { .. } => serde_json::to_value(&event.body).unwrap_or_default(),
    };
    if let (Value::Object(mut body), Value::Object(object)) = (spelled(body), &mut object) {
        if let Some(took) = body.remove("took") {
            body.insert("took-ms".to_owned(), took);
        }
        object.extend(body);
    }
    object
}

/// A stored or foreign form in the spelling of this one: hyphens in the names of fields.
pub(crate) fn spelled(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| {
                let value = if THEIRS.contains(&name.as_str()) { value } else { spelled(value) };
                (name.replace('_', "-"), value)
            };
            fields.into_iter().map(field).collect()
        }
        Value::Array(items) => items.into_iter().map(spelled).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
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
        self.is_full = false;
        for event in events {
            let name = event.instance.map(|id| self.workflow.instance(id).name.as_str());
            self.terminal.object(&object(event, name));
        }
    }

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}

    fn disk_is_full(&mut self) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.terminal.object(&json!({ "flow": VERSION, "type": "disk-full" }));
        }
    }
}

#[cfg(test)]
mod tests {
    use flow_engine::event::{Intent, RunEnded};
    use flow_engine::{RunId, Seq, Token};

    use super::*;

    #[test]
    fn fields_are_spelled_alike_and_names_of_the_user_are_kept() {
        let event = |body| Event { seq: Seq(3), run: RunId(1), instance: None, at: 7, body };
        let intent = Intent { attempt: Attempt(1), token: Token::default(), from_absent: true };
        assert_eq!(
            object(&event(Body::Intent(intent)), Some("a")),
            json!({
                "flow": 1, "seq": 3, "run": 1, "at": 7, "instance": "a",
                "type": "intent", "attempt": 1, "from-absent": true,
            })
        );
        assert_eq!(object(&event(Body::End(RunEnded::Failed)), None)["how"], "failed");
        assert_eq!(
            spelled(json!({ "probe_ms": [{ "lives_in": 1 }], "outputs": { "my_own": 1 } })),
            json!({ "probe-ms": [{ "lives-in": 1 }], "outputs": { "my_own": 1 } })
        );
    }
}
