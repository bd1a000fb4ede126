//! The book says what the binary does: generated pages are fresh, examples load, links resolve.
//!
//! `UPDATE_DOCS=1 cargo test --workspace docs` rewrites the generated pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Room;

/// What generated pages begin with.
const GENERATED: &str = "<!-- Generated: UPDATE_DOCS=1 cargo test --workspace -->\n\n";

/// Folders whose sources may hold diagnostic codes.
const CRATES: [&str; 5] = ["cli", "engine", "lab", "state", "tasks"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder that end so; neither build products nor state.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, end));
            }
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Compares a page with what it should say, or rewrites it.
fn fresh(page: &str, text: &str) {
    let path = root().join("docs/reference").join(page);
    let text = format!("{GENERATED}{}\n", text.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, text).unwrap();
        return;
    }
    let stale = "is stale: UPDATE_DOCS=1 cargo test --workspace";
    assert!(read(&path) == text, "docs/reference/{page} {stale}");
}

#[test]
fn the_page_of_kinds_is_fresh() {
    let room = Room::new();
    let mut page = String::from("# Kinds\n\nWhat a task can use; the same as `flow explain`.\n");
    for line in room.ok(&["explain", "--json"]).out.lines() {
        let kind: Value = serde_json::from_str(line).unwrap();
        let name = kind["name"].as_str().unwrap();
        let manual = room.ok(&["explain", name]).out;
        write!(page, "\n## {name}\n\n```text\n{}\n```\n", manual.trim_end()).unwrap();
    }
    fresh("kinds.md", &page);
}

#[test]
fn the_page_of_the_command_line_is_fresh() {
    let room = Room::new();
    let mut page = String::from("# Command line\n");
    help(&room, &[], &mut page);
    fresh("cli.md", &page);
}

/// Adds the help of a command and of its subcommands.
fn help(room: &Room, command: &[&str], page: &mut String) {
    let mut arguments = command.to_vec();
    arguments.push("--help");
    let said = room.ok(&arguments).out;
    let title = ["flow"].iter().chain(command).copied().collect::<Vec<_>>().join(" ");
    write!(page, "\n## {title}\n\n```text\n{}\n```\n", said.trim_end()).unwrap();
    let lines = said.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = lines.take_while(|line| line.starts_with("  "));
    for line in commands.filter(|line| !line.starts_with("   ")) {
        let name = line.split_whitespace().next().filter(|name| *name != "help");
        let Some(name) = name else { continue };
        help(room, &[command, &[name]].concat(), page);
    }
}

#[test]
fn the_page_of_diagnostic_codes_is_fresh() {
    let mut page = String::from(
        "# Diagnostic codes\n\nEach message has a code, and most have a line of help. The codes, and \
         the sources that they come\nfrom:\n\n|Code|Source|\n|--|--|\n",
    );
    for (code, sources) in codes() {
        let sources: Vec<String> = sources.iter().map(|source| format!("`{source}`")).collect();
        writeln!(page, "|`{code}`|{}|", sources.join(", ")).unwrap();
    }
    fresh("errors.md", &page);
}

/// Each diagnostic code with the sources that give it.
fn codes() -> BTreeMap<String, BTreeSet<String>> {
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in CRATES.iter().flat_map(|part| files(&root().join(part).join("src"), ".rs")) {
        let source = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if ["/tests", "/testing", "/conformance"].iter().any(|part| source.contains(part)) {
            continue;
        }
        let text = read(&path);
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let mut found = attributes(text);
        found.extend(literals(text));
        if source.starts_with("tasks/src/site/") {
            found.extend(problems(text));
        }
        for code in found {
            codes.entry(code).or_default().insert(source.clone());
        }
    }
    codes
}

/// `code(a::b)` and `code("a::b-c")` of diagnostics.
fn attributes(text: &str) -> Vec<String> {
    let codes = text.split("diagnostic(").skip(1);
    let codes = codes.filter_map(|rest| rest.trim_start().strip_prefix("code("));
    let codes = codes.filter_map(|rest| rest.split_once(')'));
    codes.map(|(code, _)| code.trim().trim_matches('"').to_owned()).collect()
}

/// `"a::b"`: codes given as text.
fn literals(text: &str) -> Vec<String> {
    let parts = text.split('"').filter(|part| {
        let word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        };
        part.split_once("::").is_some_and(|(area, name)| word(area) && word(name))
    });
    parts.map(str::to_owned).collect()
}

/// The rules of the site: `Problem::new(source, "code", …)`.
fn problems(text: &str) -> Vec<String> {
    let calls = text.split("Problem::new(").skip(1);
    let codes = calls.filter_map(|call| call.split('"').nth(1));
    codes.map(|code| format!("site::{code}")).collect()
}

#[test]
fn exit_codes_are_those_of_the_source() {
    let page = read(&root().join("docs/reference/exit-codes.md"));
    let source = read(&root().join("cli/src/exit.rs"));
    let said = source.lines().filter_map(|line| line.trim().strip_prefix("Self::"));
    let codes: BTreeSet<u8> = said
        .filter_map(|line| line.split_once(" => ")?.1.trim_end_matches(',').parse().ok())
        .collect();
    let rows = page.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let listed: BTreeSet<u8> = rows.filter_map(|code| code.trim().parse().ok()).collect();
    assert_eq!(codes, listed);
}

#[test]
fn variables_are_those_of_the_source() {
    let page = read(&root().join("docs/reference/env.md"));
    let source = read(&root().join("cli/src/env.rs"));
    let names: BTreeSet<&str> =
        source.split('"').filter(|part| part.starts_with("FLOW_")).collect();
    let rows = page.lines().filter_map(|line| line.strip_prefix("|`")?.split('`').next());
    let listed: BTreeSet<&str> = rows.filter(|name| name.starts_with("FLOW_")).collect();
    let listed: BTreeSet<&str> = listed
        .into_iter()
        .map(|name| if name.starts_with("FLOW_INPUT_") { "FLOW_INPUT_" } else { name })
        .collect();
    assert_eq!(names, listed);
}

/// Two tasks that succeed, one that fails, and one that it blocks.
const PRINTING: &str = r#"
[workflow]
name = "printing"

[tasks.good]
uses = "shell"
with.sh = true
with.apply = "echo hello; echo size=3 > $FLOW_OUTPUT"
with.outputs = ["size"]

[tasks.bad]
uses = "shell"
with.apply = ["false"]

[tasks.blocked]
uses = "shell"
needs = ["bad"]
with.apply = ["true"]

[outputs]
size = "${tasks.good.size}"
"#;

#[test]
fn every_line_of_json_is_documented() {
    let room = Room::new();
    room.write("printing.toml", PRINTING);
    let page = read(&root().join("docs/reference/json.md"));
    let (_, page) = page.split_once("## Events").unwrap();
    let commands: [&[&str]; 14] = [
        &["validate", "printing.toml"],
        &["validate", "no-such-workflow"],
        &["status"],
        &["run", "printing.toml"],
        &["run", "printing.toml", "--only", "good"],
        &["resume", "1"],
        &["plan", "printing.toml"],
        &["graph", "printing.toml"],
        &["status"],
        &["runs"],
        &["logs", "--run", "1"],
        &["why", "bad"],
        &["output"],
        &["lab", "status"],
    ];
    let mut seen = BTreeSet::new();
    for command in commands {
        let said = room.flow(&[command, &["--json"]].concat());
        assert!(!said.out.is_empty(), "{command:?}: {said:#?}");
        for line in said.out.lines() {
            let object: Value = serde_json::from_str(line).unwrap();
            let kind = object["type"].as_str().unwrap();
            let row = page.lines().find(|row| row.starts_with(&format!("|`{kind}`|")));
            let row = row.unwrap_or_else(|| panic!("docs/reference/json.md lacks `{kind}`"));
            let envelope = ["flow", "type", "seq", "run", "at", "instance"];
            for field in object.as_object().unwrap().keys() {
                let told =
                    row.contains(&format!("`{field}`")) || envelope.contains(&field.as_str());
                assert!(told, "docs/reference/json.md: `{kind}` lacks `{field}`");
            }
            seen.insert(kind.to_owned());
        }
    }
    let all = "blocked change end error graph intent lab log outcome output past-run plan record run \
               selection status summary validated why";
    let all: BTreeSet<String> = all.split_whitespace().map(str::to_owned).collect();
    assert_eq!(seen, all, "the commands above print all of these");
}

#[test]
fn links_resolve() {
    let mut broken = Vec::new();
    for path in files(&root(), ".md") {
        let text = read(&path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !path.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    for path in files(&docs, ".md") {
        let page = path.strip_prefix(&docs).unwrap().to_string_lossy().into_owned();
        assert!(
            page == "SUMMARY.md" || summary.contains(&format!("]({page})")),
            "docs/SUMMARY.md lacks {page}"
        );
    }
}

/// The fenced blocks of a language in a page.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn examples_load() {
    let room = Room::new();
    let mut validated = 0;
    let pages = [root().join("README.md"), root().join("CONTRIBUTING.md")];
    for path in files(&root().join("docs"), ".md").into_iter().chain(pages) {
        for (number, block) in blocks(&read(&path), "toml").iter().enumerate() {
            let place = format!("{}, block {}", path.display(), number + 1);
            let name = format!("example-{validated}.toml");
            let is_site = block.contains("[site]");
            if is_site {
                // A whole site is checked with the workflow that reads all of it.
                room.write(&format!("sites/{name}"), block);
            } else {
                room.write(&name, block);
            }
            let said = if is_site {
                room.flow(&["validate", "bootstrap", "--site", &format!("sites/{name}")])
            } else if block.contains("${site.") {
                room.flow(&["validate", &name, "--site", "lab"])
            } else {
                room.flow(&["validate", &name])
            };
            assert_eq!(said.code, Some(0), "{place}: {said:#?}");
            validated += 1;
        }
    }
    assert!(validated > 0, "there are examples");
}

#[test]
fn the_shipped_example_site_is_right() {
    let room = Room::new();
    room.ok(&["validate", "bootstrap", "--site", "example"]);
}
