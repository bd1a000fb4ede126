//! Broken files: each with its code, its place and help; all errors of a file together.

use crate::support::Room;

/// Name, the broken text, and the codes with the words that the report must show.
const BROKEN: [(&str, &str, &[&str]); 10] = [
    (
        "unknown key",
        "[tasks.a]\nuses = \"shell\"\nretrys = 3\nwith.apply = [\"true\"]\n",
        &["workflow::unknown-key", "retrys"],
    ),
    (
        "unknown kind",
        "[tasks.a]\nuses = \"shel\"\nwith.apply = [\"true\"]\n",
        &["workflow::unknown-kind", "shell"],
    ),
    (
        "missing task",
        "[tasks.a]\nuses = \"shell\"\nneeds = [\"bb\"]\nwith.apply = [\"true\"]\n",
        &["workflow::unknown-task", "bb"],
    ),
    (
        "cycle of three",
        "[tasks.a]\nuses = \"shell\"\nneeds = [\"b\"]\nwith.apply = [\"true\"]\n\
         [tasks.b]\nuses = \"shell\"\nneeds = [\"c\"]\nwith.apply = [\"true\"]\n\
         [tasks.c]\nuses = \"shell\"\nneeds = [\"a\"]\nwith.apply = [\"true\"]\n",
        &["workflow::cycle", "a", "b", "c"],
    ),
    (
        "self-cycle",
        "[tasks.a]\nuses = \"shell\"\nneeds = [\"a\"]\nwith.apply = [\"true\"]\n",
        &["workflow::cycle"],
    ),
    (
        "wrong type in with",
        "[tasks.a]\nuses = \"shell\"\nwith.apply = [\"true\"]\nwith.sh = \"yes\"\n",
        &["workflow::type", "sh"],
    ),
    (
        "output that does not exist",
        "[tasks.a]\nuses = \"shell\"\nwith.apply = [\"true\"]\nwith.outputs = [\"ip\"]\n\
         [tasks.b]\nuses = \"shell\"\nwith.apply = [\"echo\", \"${tasks.a.pi}\"]\n",
        &["workflow::unknown-output", "pi"],
    ),
    (
        "unknown pool",
        "[tasks.a]\nuses = \"shell\"\npools = { write = 1 }\nwith.apply = [\"true\"]\n",
        &["workflow::unknown-pool", "write"],
    ),
    (
        "duplicate name",
        "[tasks.a]\nuses = \"shell\"\nwith.apply = [\"true\"]\n\
         [tasks.a]\nuses = \"shell\"\nwith.apply = [\"true\"]\n",
        &["workflow::", "a"],
    ),
    ("bad TOML", "[tasks.a\nuses = \"shell\"\n", &["workflow::syntax"]),
];

#[test]
fn every_broken_file_is_refused_with_code_place_and_help() {
    let room = Room::new();
    for (name, tasks, words) in BROKEN {
        room.write("broken.toml", &format!("[workflow]\nname = \"broken\"\n\n{tasks}"));
        for command in ["validate", "run"] {
            let said = room.flow(&[command, "broken.toml"]);
            assert_eq!(said.code, Some(65), "{name}: {said:#?}");
            for word in words {
                assert!(said.err.contains(word), "{name}: `{word}` is not in {}", said.err);
            }
            assert!(said.err.contains("[broken.toml:"), "{name}: no place in {}", said.err);
            assert!(said.err.contains("help:"), "{name}: no help in {}", said.err);
            assert!(!room.path().join(".flow").exists(), "{name}: state was made");
        }
    }
}

#[test]
fn several_errors_of_a_file_are_told_together() {
    let room = Room::new();
    let text = "[workflow]\nname = \"broken\"\n\n\
                [tasks.a]\nuses = \"shel\"\n\
                [tasks.b]\nuses = \"shell\"\nneeds = [\"nobody\"]\nwith.apply = [\"true\"]\n\
                [tasks.c]\nuses = \"shell\"\nfoo = 1\nwith.apply = [\"true\"]\n";
    room.write("broken.toml", text);
    let said = room.flow(&["validate", "broken.toml"]);
    for code in ["workflow::unknown-kind", "workflow::unknown-task", "workflow::unknown-key"] {
        assert!(said.err.contains(code), "{code} is missing in {}", said.err);
    }
    assert!(said.err.contains("3 errors"), "{}", said.err);
}
