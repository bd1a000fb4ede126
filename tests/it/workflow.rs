//! Workflows of shell tasks, as a newcomer writes them.

use crate::support::Room;

/// Ten tasks, of which the sixth fails.
const TEN: &str = r#"
[workflow]
name = "ten"

[tasks.first]
uses = "shell"
with.creates = "first.txt"
with.apply = ["touch", "first.txt"]

[tasks.each]
uses = "shell"
for-each = ["a", "b", "c"]
needs = ["first"]
with.creates = "${each.key}.txt"
with.apply = ["touch", "${each.key}.txt"]

[tasks.count]
uses = "shell"
needs = ["each"]
with.sh = true
with.apply = "echo files=$(ls ?.txt | wc -l) > $FLOW_OUTPUT"
with.outputs = ["files"]

[tasks.tell]
uses = "shell"
with.apply = ["echo", "${tasks.count.files} files"]

[tasks.middle]
uses = "shell"
needs = ["count"]
with.apply = ["false"]

[tasks.after]
uses = "shell"
needs = ["middle"]
with.creates = "after.txt"
with.apply = ["touch", "after.txt"]

[tasks.beside]
uses = "shell"
needs = ["first"]
with.creates = "beside.txt"
with.apply = ["touch", "beside.txt"]

[tasks.last]
uses = "shell"
needs = ["after", "beside"]
with.apply = ["true"]

[outputs]
files = "${tasks.count.files}"
"#;

#[test]
fn a_workflow_fails_in_the_middle_is_edited_and_resumes() {
    let room = Room::new();
    room.write("ten.toml", TEN);
    let failed = room.flow(&["run", "ten.toml"]);
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert!(failed.err.contains("middle"), "{failed:#?}");
    assert!(failed.err.contains("1 failed (at "), "when it failed: {failed:#?}");
    assert!(failed.err.contains("flow resume"), "the next command is named: {failed:#?}");
    assert!(room.path().join("beside.txt").exists(), "other branches go on");
    assert!(!room.path().join("after.txt").exists());

    room.write("ten.toml", &TEN.replace(r#"["false"]"#, r#"["true"]"#));
    let resumed = room.ok(&["resume"]);
    assert!(room.path().join("after.txt").exists(), "{resumed:#?}");
    assert_eq!(room.ok(&["output", "files"]).out.trim(), "3");
    let output: serde_json::Value =
        serde_json::from_str(&room.ok(&["output", "files", "--json"]).out).unwrap();
    assert_eq!((&output["type"], &output["value"]), (&"output".into(), &"3".into()));
    assert!(room.ok(&["logs", "tell"]).out.contains("3 files"));
    assert!(!room.path().join(".flow/sites/lab").exists(), "no lab was started");

    let again = room.ok(&["run", "ten.toml"]);
    assert!(again.err.contains("nothing to do"), "{again:#?}");
    assert!(room.ok(&["resume"]).err.contains("nothing to go on with"), "says so");
    let next = room.ok(&["status"]).out;
    assert!(next.contains("flow run ten.toml"), "a command that can be typed: {next}");
    // What cannot be printed is no success.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let graph = room.command(&["graph", "ten.toml"]).stdout(full).output().unwrap();
    assert_eq!(graph.status.code(), Some(74), "{graph:?}");
}

#[test]
fn resume_goes_on_where_something_ran_last() {
    let room = Room::new();
    room.ok(&["run", "bootstrap", "--until", "check-config"]);
    room.write("ten.toml", TEN);
    assert_eq!(room.flow(&["run", "ten.toml"]).code, Some(1));
    let resumed = room.flow(&["resume"]);
    assert!(resumed.err.contains("run 1 of ten on local"), "{resumed:#?}");
}

#[test]
fn a_second_writer_is_told_who_holds_the_site() {
    let room = Room::new();
    // The task ends when the file is there, or its own deadline is over.
    room.write(
        "long.toml",
        r#"
[workflow]
name = "long"

[tasks.wait]
uses = "shell"
with.sh = true
with.apply = "touch began; for i in $(seq 600); do test -e go && exit 0; sleep 0.1; done; exit 1"
"#,
    );
    let first = room.command(&["run", "long.toml"]).spawn().unwrap();
    let pid = first.id().to_string();
    crate::support::wait_for("the first run", || room.path().join("began").exists());
    let second = room.flow(&["run", "long.toml"]);
    room.write("go", "");
    let first = crate::support::finish(first, &["the first run"]);
    assert_eq!(second.code, Some(5), "{second:#?}");
    assert!(second.err.contains(&pid), "names the pid: {second:#?}");
    assert!(second.err.contains("flow run long.toml"), "names the command: {second:#?}");
    assert_eq!(first.code, Some(0), "{first:#?}");
}

#[test]
fn json_is_one_object_a_line_and_only_on_stdout() {
    let room = Room::new();
    room.write("ten.toml", &TEN.replace(r#"["false"]"#, r#"["true"]"#));
    let said = room.ok(&["run", "ten.toml", "--json"]);
    assert_eq!(said.err, "");
    let objects: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects.iter().all(|object| object["flow"] == 1));
    assert_eq!(objects[0]["type"], "run");
    assert_eq!(objects.last().unwrap()["type"], "summary");
}
