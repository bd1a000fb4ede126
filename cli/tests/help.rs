//! The binary as a newcomer meets it first. That it is built here is what `tests/` relies on.

use std::process::Command;

#[test]
fn help_names_the_commands_and_a_wrong_command_line_exits_64() {
    let flow = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_flow")).args(arguments).output().unwrap()
    };
    let help = flow(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for command in ["run", "resume", "plan", "graph", "status", "why", "output", "lab"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in {help}");
    }
    assert_eq!(flow(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(flow(&["run", "--jobs", "0"]).status.code(), Some(64));
}
