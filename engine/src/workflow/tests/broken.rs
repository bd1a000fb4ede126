//! What a bad file is told: whole reports, beside the files in `broken/`.
//!
//! `SNAPSHOTS=overwrite cargo test` writes the reports again.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use snapbox::{Data, assert_data_eq, str};

use super::kinds::{Memory, broken, load_from, render};
use super::loading::GOOD;

/// Loads `broken/NAME.toml`, and holds what is said of it against `broken/NAME.txt`.
fn check(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/workflow/tests/broken");
    let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    let report = broken(&text);
    assert_data_eq!(&report, Data::read_from(&folder.join(format!("{name}.txt")), None).raw());
    report
}

macro_rules! files {
    ($($test:ident $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*
    };
}

files! {
    bad_toml "bad-toml",
    cycle_of_three "cycle-of-three",
    duplicate_name "duplicate-name",
    layers_protection_and_the_end "layers-protection-and-the-end",
    missing_task "missing-task",
    names_keys_units_and_words "names-keys-units-and-words",
    nulls_of_what_is_left_out "nulls-of-what-is-left-out",
    quotes_in_quotes "quotes-in-quotes",
    references_to_nothing "references-to-nothing",
    self_cycle "self-cycle",
    too_much_of_a_pool "pools",
    unknown_key "unknown-key",
    unknown_kind "unknown-kind",
    unknown_output "unknown-output",
    wrong_type "wrong-type",
}

#[test]
fn secrets_do_not_stand_in_files() {
    let report = check("secrets-do-not-stand-in-files");
    assert!(!report.contains("hunter22"), "{report}");
}

#[test]
fn spans_with_crlf_tabs_multibyte_and_escapes() {
    let report = broken(
        "[tasks.a]\r\nuses = \"fetch\"\r\n\twith.url = \"caf\\u00e9 \u{1F600}\\t${tasks.nope.x}\"\r\n\
         with.labels = { \"ö\" = \"\"\"\r\nzwei ${site.nope}\r\n\"\"\" }\r\n",
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-reference

  × `tasks.nope` does not exist
   ╭─[test.toml:3:32]
 2 │ uses = "fetch"
 3 │     with.url = "caf/u00e9 😀/t${tasks.nope.x}"
   ·                                 ─────┬────
   ·                                      ╰── no task has this name
 4 │ with.labels = { "ö" = """
   ╰────
  help: tasks: a

workflow::unknown-reference

  × `site` has no `nope`
   ╭─[test.toml:5:13]
 4 │ with.labels = { "ö" = """
 5 │ zwei ${site.nope}
   ·             ──┬─
   ·               ╰── not there
 6 │ """ }
   ╰────
  help: `site` has: domain, edge, first, name, nodes

2 errors in 1 file

"#]]
    );
}

#[test]
fn includes() {
    let sources =
        Memory::of("include = [\"more.toml\", \"gone.toml\"]\n[tasks.a]\nuses = \"look\"\n")
            .with("more.toml", "include = [\"test.toml\"]\n[tasks.a]\nuses = \"loook\"\n");
    let report = render(&load_from(&sources).err().unwrap());
    assert_data_eq!(
        report,
        str![[r#"
workflow::include

  × `gone.toml` cannot be read
   ╭─[test.toml:1:25]
 1 │ include = ["more.toml", "gone.toml"]
   ·                         ─────┬─────
   ·                              ╰── no such file
 2 │ [tasks.a]
   ╰────
  help: a path is relative to the file that includes it

workflow::include

  × `test.toml` is included twice, or includes itself
   ╭─[more.toml:1:12]
 1 │ include = ["test.toml"]
   ·            ─────┬─────
   ·                 ╰── already read
 2 │ [tasks.a]
   ╰────
  help: each file is included once, by one other file

workflow::duplicate-name

  × the task `a` is there twice
   ╭─[more.toml:2:8]
 1 │ include = ["test.toml"]
 2 │ [tasks.a]
   ·        ┬
   ·        ╰── and again here
 3 │ uses = "loook"
   ╰────
  help: first here: test.toml:2; rename one of the two tasks

workflow::unknown-kind

  × there is no kind `loook`
   ╭─[more.toml:3:8]
 2 │ [tasks.a]
 3 │ uses = "loook"
   ·        ───┬───
   ·           ╰── no kind has this name
   ╰────
  help: did you mean `look`?

4 errors in 2 files

"#]]
    );
}

#[test]
fn a_long_cycle_is_elided() {
    let mut text = String::new();
    for i in 0..50 {
        writeln!(text, "[tasks.t{i}]\nuses = \"notify\"\nneeds = [\"t{}\"]", (i + 1) % 50).unwrap();
    }
    assert_data_eq!(
        broken(&text),
        str![[r#"
workflow::cycle

  × tasks need each other in a circle: t0 → t1 → t2 → t3 → … 42 more … → t46 → t47 → t48 → t49 →
  │ t0
    ╭─[test.toml:3:10]
  2 │ uses = "notify"
  3 │ needs = ["t1"]
    ·          ──┬─
    ·            ╰── `t0` needs `t1`
  4 │ [tasks.t1]
  5 │ uses = "notify"
  6 │ needs = ["t2"]
    ·          ──┬─
    ·            ╰── `t1` needs `t2`
  7 │ [tasks.t2]
  8 │ uses = "notify"
  9 │ needs = ["t3"]
    ·          ──┬─
    ·            ╰── `t2` needs `t3`
 10 │ [tasks.t3]
    ╰────
     ╭─[test.toml:150:10]
 149 │ uses = "notify"
 150 │ needs = ["t0"]
     ·          ──┬─
     ·            ╰── `t49` needs `t0`
     ╰────
  help: take one of these needs or references out

1 error in 1 file

"#]]
    );
}

/// Loading never panics and never hangs, whatever is thrown away.
#[test]
fn every_beginning_of_a_file_is_fine_or_told() {
    for at in (0..GOOD.len()).step_by(11).filter(|at| GOOD.is_char_boundary(*at)) {
        broken(&GOOD[..at]);
    }
}

/// Something that a finger may leave in a file.
fn slip() -> impl Strategy<Value = String> {
    let parts = [
        "\"",
        "'",
        "${",
        "}",
        "[",
        "]",
        "=",
        "\n",
        "\r\n",
        "\t",
        "ä",
        "\u{1F600}",
        "\\",
        "\\u00e9",
        "#",
        "tasks.",
        "each.key",
        "[*]",
        "(",
        ")",
        "%{ if ",
        "$${",
        "layer:",
        "null",
        "1e999",
        ",",
        "/",
    ];
    prop_oneof![proptest::sample::select(parts.to_vec()).prop_map(str::to_owned), "\\PC{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_typed_is_fine_or_told(
        slips in proptest::collection::vec((0..GOOD.len(), 0..12_usize, slip()), 1..4)
    ) {
        let mut text = GOOD.to_owned();
        for (at, length, slip) in slips {
            let near = |text: &str, mut at: usize| {
                at = at.min(text.len());
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let (start, end) = (near(&text, at), near(&text, at + length));
            text.replace_range(start..end, &slip);
        }
        broken(&text);
    }
}
