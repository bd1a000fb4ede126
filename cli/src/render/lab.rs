//! The lab's world as it stands.

use flow_lab::Status;
use serde_json::Value;

use super::text::{count, pad, width};

/// What a table begins with, if its rows have it.
const FIRST: [&str; 3] = ["vmid", "name", "status"];

/// The lines of a status.
pub(crate) fn status(status: &Status) -> Vec<String> {
    let mut lines = vec![match &status.owner {
        Some(owner) => {
            let since = moment(&owner.since);
            format!(
                "running since {since} in pid {} on {}: {}",
                owner.pid, owner.host, owner.command
            )
        }
        None => "not running; its world as it stands".to_owned(),
    }];
    for (title, rows) in
        [("vms", &status.vms), ("machines", &status.machines), ("clusters", &status.clusters)]
    {
        lines.extend(table(title, rows));
    }
    let writes: u64 = status.counts.iter().map(|count| count.times).sum();
    let objects = count(status.counts.len(), "object");
    lines.push(String::new());
    lines.extend(status.faults.iter().map(|fault| format!("fault  {fault}")));
    lines.push(format!(
        "{} to {objects}",
        count(usize::try_from(writes).unwrap_or(usize::MAX), "write")
    ));
    lines
}

/// Rows of equal form below a title and the names of their fields; nothing if there are none.
fn table(title: &str, rows: &[Value]) -> Vec<String> {
    let Some(Value::Object(fields)) = rows.first() else { return Vec::new() };
    let first = FIRST.into_iter().filter(|name| fields.contains_key(*name));
    let others = fields.keys().map(String::as_str).filter(|name| !FIRST.contains(name));
    let columns: Vec<&str> = first.chain(others).collect();
    let mut cells = vec![columns.iter().map(|name| name.replace('_', "-")).collect::<Vec<_>>()];
    for row in rows {
        cells.push(columns.iter().map(|name| cell(&row[*name])).collect());
    }
    let widest = |at: usize| cells.iter().map(|row| width(&row[at])).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    let line = |row: &Vec<String>| {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, to)| pad(cell, *to)).collect();
        format!("  {}", padded.join("  ")).trim_end().to_owned()
    };
    let mut lines = vec![String::new(), title.to_owned()];
    lines.extend(cells.iter().map(line));
    lines
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A moment of RFC 3339 in UTC, to the minute; as it is, if it is none.
fn moment(written: &str) -> String {
    match (written.get(..16), written.ends_with('Z')) {
        (Some(minute), true) => format!("{} UTC", minute.replace('T', " ")),
        (Some(_) | None, _) => written.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn a_world_is_told_in_tables() {
        let world = serde_json::from_value(json!({
            "running": true,
            "owner": {
                "pid": 7, "host": "laptop", "command": "flow lab serve", "octet": 2,
                "since": "2026-11-25T14:02:09.139715965Z",
            },
            "speed": 60.0,
            "vms": [{ "name": "controlplane0", "status": "running", "vmid": 1500, "lock": null }],
            "machines": [],
            "clusters": [{ "nodes": 5, "nodes_ready": 4, "addresses": ["127.2.3.1", "127.2.3.2"] }],
            "counts": [{ "system": "proxmox", "object": "vm/1500", "verb": "create", "times": 1 }],
            "faults": ["proxmox:POST */config:reply-lost:1"],
        }));
        assert_data_eq!(
            status(&world.unwrap()).join("\n") + "\n",
            str![[r#"
running since 2026-11-25 14:02 UTC in pid 7 on laptop: flow lab serve

vms
  vmid  name           status   lock
  1500  controlplane0  running  -

clusters
  addresses            nodes  nodes-ready
  127.2.3.1 127.2.3.2  5      4

fault  proxmox:POST */config:reply-lost:1
1 write to 1 object

"#]]
        );
    }
}
