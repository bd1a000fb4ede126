//! What a bad file is told: whole reports.

use snapbox::{assert_data_eq, str};

use super::kinds::{Memory, broken, load_from, render};

#[test]
fn unknown_key() {
    let report = broken(
        r#"
[tasks.a]
uses = "fetch"
nedds = ["b"]
url = "x"
with = { url = "x", retires = 3 }
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-key

  × there is no key `nedds` here
   ╭─[test.toml:4:1]
 3 │ uses = "fetch"
 4 │ nedds = ["b"]
   · ──┬──
   ·   ╰── unknown key
 5 │ url = "x"
   ╰────
  help: did you mean `needs`?

workflow::unknown-key

  × there is no key `url` here
   ╭─[test.toml:5:1]
 4 │ nedds = ["b"]
 5 │ url = "x"
   · ─┬─
   ·  ╰── unknown key
 6 │ with = { url = "x", retires = 3 }
   ╰────
  help: parameters of the kind stand under `with`: `with.url`

workflow::unknown-key

  × the kind `fetch` has no parameter `retires`
   ╭─[test.toml:6:21]
 5 │ url = "x"
 6 │ with = { url = "x", retires = 3 }
   ·                     ───┬───
   ·                        ╰── unknown parameter
   ╰────
  help: did you mean `retries`?

3 errors in 1 file

"#]]
    );
}

#[test]
fn unknown_kind() {
    let report = broken("[tasks.a]\nuses = \"fecth\"\n\n[tasks.b]\nuses = \"cook\"\n");
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-kind

  × there is no kind `fecth`
   ╭─[test.toml:2:8]
 1 │ [tasks.a]
 2 │ uses = "fecth"
   ·        ───┬───
   ·           ╰── no kind has this name
 3 │
   ╰────
  help: did you mean `fetch`?

workflow::unknown-kind

  × there is no kind `cook`
   ╭─[test.toml:5:8]
 4 │ [tasks.b]
 5 │ uses = "cook"
   ·        ───┬──
   ·           ╰── no kind has this name
   ╰────
  help: did you mean `look`?

2 errors in 1 file

"#]]
    );
}

#[test]
fn missing_task() {
    let report = broken(
        r#"
[tasks.fetch-image]
uses = "fetch"
with.url = "x"

[tasks.bake]
uses = "fetch"
needs = ["fetch-imge", "nothing/key", "fetch-image/key"]
with.url = "${tasks.fetch-images.file}"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-task

  × there is no task `fetch-imge`
   ╭─[test.toml:8:10]
 7 │ uses = "fetch"
 8 │ needs = ["fetch-imge", "nothing/key", "fetch-image/key"]
   ·          ──────┬─────
   ·                ╰── no task has this name
 9 │ with.url = "${tasks.fetch-images.file}"
   ╰────
  help: did you mean `fetch-image`?

workflow::unknown-task

  × there is no task `nothing`
   ╭─[test.toml:8:24]
 7 │ uses = "fetch"
 8 │ needs = ["fetch-imge", "nothing/key", "fetch-image/key"]
   ·                        ──────┬──────
   ·                              ╰── no task has this name
 9 │ with.url = "${tasks.fetch-images.file}"
   ╰────
  help: tasks: bake, fetch-image

workflow::unknown-instance

  × there is no instance `fetch-image/key`
   ╭─[test.toml:8:39]
 7 │ uses = "fetch"
 8 │ needs = ["fetch-imge", "nothing/key", "fetch-image/key"]
   ·                                       ────────┬────────
   ·                                               ╰── no instance has this key
 9 │ with.url = "${tasks.fetch-images.file}"
   ╰────
  help: `fetch-image` has no `for-each`; write `fetch-image`

workflow::unknown-reference

  × `tasks.fetch-images` does not exist
   ╭─[test.toml:9:15]
 8 │ needs = ["fetch-imge", "nothing/key", "fetch-image/key"]
 9 │ with.url = "${tasks.fetch-images.file}"
   ·               ─────────┬────────
   ·                        ╰── no task has this name
   ╰────
  help: did you mean `tasks.fetch-image`?

4 errors in 1 file

"#]]
    );
}

#[test]
fn cycle_of_three() {
    let report = broken(
        r#"
[tasks.a]
uses = "notify"
needs = ["b"]

[tasks.b]
uses = "notify"
needs = ["c"]

[tasks.c]
uses = "fetch"
needs = ["a"]
with.url = "x"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::cycle

  × tasks need each other in a circle: a → b → c → a
    ╭─[test.toml:4:10]
  3 │ uses = "notify"
  4 │ needs = ["b"]
    ·          ─┬─
    ·           ╰── `a` needs `b`
  5 │
  6 │ [tasks.b]
  7 │ uses = "notify"
  8 │ needs = ["c"]
    ·          ─┬─
    ·           ╰── `b` needs `c`
  9 │
 10 │ [tasks.c]
 11 │ uses = "fetch"
 12 │ needs = ["a"]
    ·          ─┬─
    ·           ╰── `c` needs `a`
 13 │ with.url = "x"
    ╰────
  help: take one of these needs or references out

1 error in 1 file

"#]]
    );
}

#[test]
fn self_cycle() {
    let report = broken(
        r#"
[workflow]
layers = ["one"]

[tasks.a]
uses = "fetch"
with.url = "${tasks.a.file}"

[tasks.b]
uses = "notify"
layer = "one"
needs = ["layer:one"]
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::cycle

  × `a` needs itself
   ╭─[test.toml:7:15]
 6 │ uses = "fetch"
 7 │ with.url = "${tasks.a.file}"
   ·               ──────┬─────
   ·                     ╰── needs itself
 8 │
   ╰────
  help: take this need or reference out

workflow::cycle

  × `b` waits for the layer that it is part of
    ╭─[test.toml:12:10]
 11 │ layer = "one"
 12 │ needs = ["layer:one"]
    ·          ─────┬─────
    ·               ╰── would wait for itself
    ╰────
  help: name the tasks of the layer that it needs

2 errors in 1 file

"#]]
    );
}

#[test]
fn wrong_type() {
    let report = broken(
        r#"
[tasks.a]
uses = "fetch"
with.url = 3
with.retries = "many"
with.sizes = [1, "two", "${tasks.b.file}"]
with.labels = { ok = "yes", bad = ["no"] }

[tasks.b]
uses = "fetch"
with.url = "${site.nodes}"
with.sizes = "${tasks.c.image}"
with.source = { fil = "x" }

[tasks.c]
uses = "fetch"
with.retries = "${1 + 1.5}"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::type

  × `with.url` is a number, but must be a string
   ╭─[test.toml:4:12]
 3 │ uses = "fetch"
 4 │ with.url = 3
   ·            ┬
   ·            ╰── does not fit
 5 │ with.retries = "many"
   ╰────
  help: `flow explain fetch` shows what it takes

workflow::type

  × `with.retries` is a string, but must be a whole number
   ╭─[test.toml:5:16]
 4 │ with.url = 3
 5 │ with.retries = "many"
   ·                ───┬──
   ·                   ╰── does not fit
 6 │ with.sizes = [1, "two", "${tasks.b.file}"]
   ╰────
  help: `flow explain fetch` shows what it takes

workflow::type

  × `with.sizes.1` is a string, but must be a whole number
   ╭─[test.toml:6:18]
 5 │ with.retries = "many"
 6 │ with.sizes = [1, "two", "${tasks.b.file}"]
   ·                  ──┬──
   ·                    ╰── does not fit
 7 │ with.labels = { ok = "yes", bad = ["no"] }
   ╰────
  help: `flow explain fetch` shows what it takes

workflow::type

  × `with.sizes.2` must be a whole number, but this puts out a string
   ╭─[test.toml:6:25]
 5 │ with.retries = "many"
 6 │ with.sizes = [1, "two", "${tasks.b.file}"]
   ·                         ────────┬────────
   ·                                 ╰── is a string
 7 │ with.labels = { ok = "yes", bad = ["no"] }
   ╰────
  help: convert it: `tostring`, `tonumber`, `join`, `jsonencode`; or read another field

workflow::type

  × `with.labels.bad` is a list, but must be a string
   ╭─[test.toml:7:35]
 6 │ with.sizes = [1, "two", "${tasks.b.file}"]
 7 │ with.labels = { ok = "yes", bad = ["no"] }
   ·                                   ───┬──
   ·                                      ╰── expected a string
 8 │
   ╰────
  help: `flow explain fetch` shows what it takes

workflow::type

  × `with.url` is a table, but must be a string
    ╭─[test.toml:11:12]
 10 │ uses = "fetch"
 11 │ with.url = "${site.nodes}"
    ·            ───────┬───────
    ·                   ╰── does not fit
 12 │ with.sizes = "${tasks.c.image}"
    ╰────
  help: the expression is evaluated at load; look at what it reads

workflow::type

  × `with.sizes` must be a list, but this puts out a table
    ╭─[test.toml:12:14]
 11 │ with.url = "${site.nodes}"
 12 │ with.sizes = "${tasks.c.image}"
    ·              ─────────┬────────
    ·                       ╰── is a table
 13 │ with.source = { fil = "x" }
    ╰────
  help: convert it: `tostring`, `tonumber`, `join`, `jsonencode`; or read another field

workflow::type

  × `with.source` is a table, which does not fit
    ╭─[test.toml:13:15]
 12 │ with.sizes = "${tasks.c.image}"
 13 │ with.source = { fil = "x" }
    ·               ──────┬──────
    ·                     ╰── fits none of its forms
 14 │
    ╰────
  help: expected { env = … } or { file = … } or { command = … }

workflow::missing-parameter

  × the kind `fetch` needs `url`
    ╭─[test.toml:17:1]
 16 │ uses = "fetch"
 17 │ with.retries = "${1 + 1.5}"
    · ──┬─
    ·   ╰── not here
    ╰────
  help: `flow explain fetch` shows an example

9 errors in 1 file

"#]]
    );
}

#[test]
fn unknown_output() {
    let report = broken(
        r#"
[tasks.a]
uses = "fetch"
with.url = "x"

[tasks.b]
uses = "fetch"
with.url = "${tasks.a.flie}"
with.labels = { sum = "${tasks.a.image.sha265}" }

[tasks.c]
uses = "notify"

[outputs]
size = "${tasks.a.sizes}"
none = "${tasks.c.anything}"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-output

  × `a` puts out no `flie`
   ╭─[test.toml:8:22]
 7 │ uses = "fetch"
 8 │ with.url = "${tasks.a.flie}"
   ·                      ──┬──
   ·                        ╰── no such output
 9 │ with.labels = { sum = "${tasks.a.image.sha265}" }
   ╰────
  help: did you mean `file`?

workflow::unknown-output

  × there is no `sha265` in this output
    ╭─[test.toml:9:39]
  8 │ with.url = "${tasks.a.flie}"
  9 │ with.labels = { sum = "${tasks.a.image.sha265}" }
    ·                                       ───┬───
    ·                                          ╰── no such field
 10 │
    ╰────
  help: did you mean `sha256`?

workflow::unknown-output

  × `a` puts out no `sizes`
    ╭─[test.toml:15:18]
 14 │ [outputs]
 15 │ size = "${tasks.a.sizes}"
    ·                  ───┬──
    ·                     ╰── no such output
 16 │ none = "${tasks.c.anything}"
    ╰────
  help: did you mean `size`?

workflow::unknown-output

  × `c` puts out no `anything`
    ╭─[test.toml:16:18]
 15 │ size = "${tasks.a.sizes}"
 16 │ none = "${tasks.c.anything}"
    ·                  ────┬────
    ·                      ╰── no such output
    ╰────
  help: the kind `notify` puts nothing out, as it is used here

4 errors in 1 file

"#]]
    );
}

#[test]
fn pools() {
    let report = broken(
        r#"
[pools]
write = 2
"host:*" = 1

[tasks.a]
uses = "notify"
pools = { wirte = 1 }

[tasks.b]
uses = "notify"
pools = { write = 3, "host:pve" = 2, "disk:x" = 1 }
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-pool

  × there is no pool `wirte`
   ╭─[test.toml:8:11]
 7 │ uses = "notify"
 8 │ pools = { wirte = 1 }
   ·           ──┬──
   ·             ╰── not among [pools]
 9 │
   ╰────
  help: did you mean `write`?

workflow::pool-too-small

  × `b` takes 3 of the pool `write`, which has 2
   ╭─[test.toml:3:1]
 2 │ [pools]
 3 │ write = 2
   · ──┬──
   ·   ╰── size 2
 4 │ "host:*" = 1
   ╰────
    ╭─[test.toml:12:19]
 11 │ uses = "notify"
 12 │ pools = { write = 3, "host:pve" = 2, "disk:x" = 1 }
    ·                   ┬
    ·                   ╰── would wait for ever
    ╰────
  help: make the pool larger or take less of it

workflow::pool-too-small

  × `b` takes 2 of the pool `host:pve`, which has 1
   ╭─[test.toml:4:1]
 3 │ write = 2
 4 │ "host:*" = 1
   · ────┬───
   ·     ╰── size 1
 5 │
   ╰────
    ╭─[test.toml:12:35]
 11 │ uses = "notify"
 12 │ pools = { write = 3, "host:pve" = 2, "disk:x" = 1 }
    ·                                   ┬
    ·                                   ╰── would wait for ever
    ╰────
  help: make the pool larger or take less of it

workflow::unknown-pool

  × there is no pool `disk:x`
    ╭─[test.toml:12:38]
 11 │ uses = "notify"
 12 │ pools = { write = 3, "host:pve" = 2, "disk:x" = 1 }
    ·                                      ────┬───
    ·                                          ╰── not among [pools]
    ╰────
  help: pools: host:*, write

4 errors in 1 file

"#]]
    );
}

#[test]
fn duplicate_name() {
    let report = broken(
        "[tasks.a]\nuses = \"notify\"\n\n[tasks.b]\nuses = \"notify\"\nuses = \"notify\"\n\n\
         [tasks.a]\nuses = \"notify\"\n",
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::duplicate-name

  × `uses` is there twice
   ╭─[test.toml:6:1]
 5 │ uses = "notify"
 6 │ uses = "notify"
   · ──┬─
   ·   ╰── the second one
 7 │
   ╰────
  help: a name may be used once in a table; rename or remove one of the two

workflow::duplicate-name

  × `a` is there twice
   ╭─[test.toml:8:8]
 7 │
 8 │ [tasks.a]
   ·        ┬
   ·        ╰── the second one
 9 │ uses = "notify"
   ╰────
  help: a name may be used once in a table; rename or remove one of the two

workflow::duplicate-name

  × `uses` is there twice
   ╭─[test.toml:9:1]
 8 │ [tasks.a]
 9 │ uses = "notify"
   · ──┬─
   ·   ╰── the second one
   ╰────
  help: a name may be used once in a table; rename or remove one of the two

3 errors in 1 file

"#]]
    );
}

#[test]
fn bad_toml() {
    let report = broken(
        r#"
[tasks.a]
uses = notify
needs = ["b"

[tasks.b]
with.url = "x"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::syntax

  × missing comma between array elements, expected `,`
   ╭─[test.toml:6:1]
 5 │
 6 │ [tasks.b]
   · ▲
   · ╰── here
 7 │ with.url = "x"
   ╰────
  help: the file must be TOML: strings in quotes, one key for each line

1 error in 1 file

"#]]
    );
    let report = broken("[tasks.a]\nwith.url = \"${join(\",\", site.names)}\"\n");
    assert_data_eq!(
        report,
        str![[r#"
workflow::syntax

  × unexpected key or value, expected newline, `#`
   ╭─[test.toml:2:21]
 1 │ [tasks.a]
 2 │ with.url = "${join(",", site.names)}"
   ·                     ▲
   ·                     ╰── here
   ╰────
  help: an expression with quotes stands in single ones: '${join(",", …)}'

1 error in 1 file

"#]]
    );
}

#[test]
fn references_to_nothing() {
    let report = broken(
        r#"
[tasks.node]
uses = "fetch"
for-each = "${site.nodes}"
with.url = "${each.value.adress}"

[tasks.a]
uses = "fetch"
with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }

[tasks.b]
uses = "notify"
when = "${tasks.a.file}"
needs = ["node/${each.key}"]
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::unknown-reference

  × `each.value` has no `adress`
   ╭─[test.toml:5:26]
 4 │ for-each = "${site.nodes}"
 5 │ with.url = "${each.value.adress}"
   ·                          ───┬──
   ·                             ╰── not there
 6 │
   ╰────
  help: did you mean `address`?

workflow::unknown-reference

  × `sites` is not known
    ╭─[test.toml:9:15]
  8 │ uses = "fetch"
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
    ·               ──┬──
    ·                 ╰── nothing has this name
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ╰────
  help: did you mean `site`?

workflow::unknown-function

  × there is no function `uper`
    ╭─[test.toml:9:29]
  8 │ uses = "fetch"
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
    ·                             ──┬─
    ·                               ╰── no function has this name
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ╰────
  help: did you mean `upper`?

workflow::unknown-reference

  × `site` has no `nmae`
    ╭─[test.toml:9:39]
  8 │ uses = "fetch"
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
    ·                                       ──┬─
    ·                                         ╰── not there
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ╰────
  help: did you mean `name`?

workflow::unknown-reference

  × `HOME` is not known
    ╭─[test.toml:9:48]
  8 │ uses = "fetch"
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
    ·                                                ──┬─
    ·                                                  ╰── nothing has this name
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ╰────
  help: an expression starts with site, inputs, tasks, each, run, workflows; for a literal
        `${HOME}` write `$${HOME}`

workflow::unknown-reference

  × `each` is not known here
    ╭─[test.toml:9:56]
  8 │ uses = "fetch"
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
    ·                                                        ────┬───
    ·                                                            ╰── this task has no `for-each`
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ╰────
  help: `each.key` and `each.value` exist in a task with `for-each` only

workflow::unknown-reference

  × `node` has an instance for each key
    ╭─[test.toml:10:26]
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ·                          ───────┬───────
    ·                                 ╰── says no key
 11 │
    ╰────
  help: take one by its key, `tasks.node[each.key].file`, or all of them, `values(tasks.node)
        [*].file`

workflow::unknown-reference

  × `node` has an instance for each key
    ╭─[test.toml:10:54]
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ·                                                      ─────┬────
    ·                                                           ╰── says no key
 11 │
    ╰────
  help: take one by its key, `tasks.node[each.key]`, or all of them, `values(tasks.node)`

workflow::unknown-instance

  × there is no instance `node/w`
    ╭─[test.toml:10:79]
  9 │ with.url = "${sites.name} ${uper(site.nmae)} ${HOME} ${each.key}"
 10 │ with.labels = { one = "${tasks.node.file}", two = "${tasks.node}", three = '${tasks.node["w"].file}' }
    ·                                                                               ──────────┬─────────
    ·                                                                                         ╰── no instance has this key
 11 │
    ╰────
  help: keys: controlplane0, worker0

workflow::not-static

  × `tasks` cannot be read here
    ╭─[test.toml:14:11]
 13 │ uses = "notify"
 14 │ when = "${tasks.a.file}"
    ·           ──────┬─────
    ·                 ╰── known only while the workflow runs
 15 │ needs = ["node/${each.key}"]
    ╰────
  help: only `with` and `[outputs]` read it; elsewhere expressions read `site`, `inputs` and
        `each`, so that the whole graph is known at load

workflow::unknown-reference

  × `each` is not known here
    ╭─[test.toml:15:18]
 14 │ when = "${tasks.a.file}"
 15 │ needs = ["node/${each.key}"]
    ·                  ────┬───
    ·                      ╰── this task has no `for-each`
    ╰────
  help: `each.key` and `each.value` exist in a task with `for-each` only

11 errors in 1 file

"#]]
    );
}

#[test]
fn secrets_do_not_stand_in_files() {
    let report = broken(
        r#"
[tasks.a]
uses = "fetch"
with.url = "x"
with.password = "hunter22"
"#,
    );
    assert!(!report.contains("hunter22"), "{report}");
    assert_data_eq!(
        report,
        str![[r#"
workflow::literal-secret

  × `with.password` is secret and cannot stand in a file
   ╭─[test.toml:5:17]
 4 │ with.url = "x"
 5 │ with.password = **********
   ·                 ─────┬────
   ·                      ╰── a secret here
   ╰────
  help: read it from a task that made it, or from a secret input

1 error in 1 file

"#]]
    );
}

#[test]
fn layers_protection_and_the_end() {
    let report = broken(
        r#"
[workflow]
layers = ["early", "late"]

[tasks.a]
uses = "notify"
layer = "early"
needs = ["b", "layer:late"]

[tasks.b]
uses = "notify"
layer = "late"

[tasks.c]
uses = "notify"
layer = "lat"
protected = true
lives-in = ["b", "layer:early"]
needs = ["end"]

[tasks.end]
uses = "notify"
finally = true
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::later-layer

  × `a` of the layer `early` needs `b`, which is in the layer `late`
   ╭─[test.toml:8:10]
 7 │ layer = "early"
 8 │ needs = ["b", "layer:late"]
   ·          ─┬─
   ·           ╰── a later layer
 9 │
   ╰────
  help: a task needs its own or an earlier layer: move one of the two, or `a` on

workflow::later-layer

  × `a` of the layer `early` needs the layer `late`
   ╭─[test.toml:8:15]
 7 │ layer = "early"
 8 │ needs = ["b", "layer:late"]
   ·               ──────┬─────
   ·                     ╰── a later layer
 9 │
   ╰────
  help: a task needs its own or an earlier layer: move one of the two, or `a` on

workflow::unknown-layer

  × there is no layer `lat`
    ╭─[test.toml:16:9]
 15 │ uses = "notify"
 16 │ layer = "lat"
    ·         ──┬──
    ·           ╰── not among [workflow] layers
 17 │ protected = true
    ╰────
  help: did you mean `late`?

workflow::protected-in-unprotected

  × `c` is protected, but lives in `b`, which is not
    ╭─[test.toml:18:13]
  9 │
 10 │ [tasks.b]
    ·        ┬
    ·        ╰── not protected
 11 │ uses = "notify"
 12 │ layer = "late"
 13 │
 14 │ [tasks.c]
 15 │ uses = "notify"
 16 │ layer = "lat"
 17 │ protected = true
 18 │ lives-in = ["b", "layer:early"]
    ·             ─┬─
    ·              ╰── would be destroyed under it
 19 │ needs = ["end"]
    ╰────
  help: add `protected = true` to `b`, or take it from `c`

workflow::type

  × nothing lives in a layer
    ╭─[test.toml:18:18]
 17 │ protected = true
 18 │ lives-in = ["b", "layer:early"]
    ·                  ──────┬──────
    ·                        ╰── expected tasks or instances
 19 │ needs = ["end"]
    ╰────
  help: name the tasks without which this one cannot exist

workflow::finally

  × `end` runs when all others have ended
    ╭─[test.toml:19:10]
 18 │ lives-in = ["b", "layer:early"]
 19 │ needs = ["end"]
    ·          ──┬──
    ·            ╰── comes last
 20 │
    ╰────
  help: add `finally = true` to `c` as well

6 errors in 1 file

"#]]
    );
}

#[test]
fn nulls_of_what_is_left_out() {
    let report = broken(
        r#"
[tasks.a]
uses = "fetch"
when = "${site.edge != false}"
with.url = "${site.edge.url}"

[tasks.b]
uses = "fetch"
with.url = "${tasks.a.file}"
with.labels = { good = '${coalesce(tasks.a.file, "none")}', bad = "at ${tasks.a.file}" }
with.retries = "${tasks.a.size}"
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::null

  × `with.url` is null, but must be a string
    ╭─[test.toml:9:12]
  8 │ uses = "fetch"
  9 │ with.url = "${tasks.a.file}"
    ·            ────────┬────────
    ·                    ╰── is null here
 10 │ with.labels = { good = '${coalesce(tasks.a.file, "none")}', bad = "at ${tasks.a.file}" }
    ╰────
  help: `coalesce(…, DEFAULT)` gives it a value where there is none

workflow::expression

  × null cannot stand inside a string
    ╭─[test.toml:10:73]
  9 │ with.url = "${tasks.a.file}"
 10 │ with.labels = { good = '${coalesce(tasks.a.file, "none")}', bad = "at ${tasks.a.file}" }
    ·                                                                         ──────┬─────
    ·                                                                               ╰── fails
 11 │ with.retries = "${tasks.a.size}"
    ╰────
  help: give it a value by `coalesce(…, "…")`

2 errors in 1 file

"#]]
    );
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
fn names_keys_units_and_words() {
    let report = broken(
        r#"
[workflow]
name = "My Flow"
requires = ">= 99"

[inputs.count]
type = "integer"
default = "two"

[inputs.needed]

[tasks.Create_VM]
uses = "notify"
timeout = "10"
on-drift = "repair"
retry = { attempts = 0 }
fresh = "1 day"

[tasks.create-vm1]
uses = "look"
fresh = "1d"

[tasks.create-vml]
uses = "notify"
for-each = ["a/b", "x", "X"]
"#,
    );
    assert_data_eq!(
        report,
        str![[r#"
workflow::name

  × `My Flow` cannot be the name of a workflow
   ╭─[test.toml:3:8]
 2 │ [workflow]
 3 │ name = "My Flow"
   ·        ────┬────
   ·            ╰── not a name
 4 │ requires = ">= 99"
   ╰────
  help: names are made of a-z, 0-9 and `-`: `my-flow`

workflow::requires

  × the workflow requires flow >= 99
   ╭─[test.toml:4:12]
 3 │ name = "My Flow"
 4 │ requires = ">= 99"
   ·            ───┬───
   ·               ╰── this is flow 0.1.0
 5 │
   ╰────
  help: take another release of flow, or of the workflow

workflow::input

  × the input `count` is a string, but must be a whole number
   ╭─[test.toml:6:9]
 5 │
 6 │ [inputs.count]
   ·         ──┬──
   ·           ╰── as `default` says
 7 │ type = "integer"
   ╰────
  help: expected a whole number

workflow::missing-input

  × the input `needed` has no value
    ╭─[test.toml:10:9]
  9 │
 10 │ [inputs.needed]
    ·         ───┬──
    ·            ╰── no default, and none given
 11 │
    ╰────
  help: give it by `--set needed=…` or FLOW_INPUT_NEEDED

workflow::name

  × `Create_VM` cannot be the name of a task
    ╭─[test.toml:12:8]
 11 │
 12 │ [tasks.Create_VM]
    ·        ────┬────
    ·            ╰── not a name
 13 │ uses = "notify"
    ╰────
  help: names are made of a-z, 0-9 and `-`: `create-vm`

workflow::type

  × `timeout` is not a duration
    ╭─[test.toml:14:11]
 13 │ uses = "notify"
 14 │ timeout = "10"
    ·           ──┬─
    ·             ╰── not a duration
 15 │ on-drift = "repair"
    ╰────
  help: write a number with its unit: "500ms", "2s", "10m", "1h30m", "7d"

workflow::type

  × `on-drift` cannot be "repair"
    ╭─[test.toml:15:12]
 14 │ timeout = "10"
 15 │ on-drift = "repair"
    ·            ────┬───
    ·                ╰── not one of the words
 16 │ retry = { attempts = 0 }
    ╰────
  help: `on-drift` is one of "fix", "report", "ignore"

workflow::type

  × `attempts` is a number, but must be a number of 1 or more
    ╭─[test.toml:16:22]
 15 │ on-drift = "repair"
 16 │ retry = { attempts = 0 }
    ·                      ┬
    ·                      ╰── expected a number of 1 or more
 17 │ fresh = "1 day"
    ╰────
  help: for example: attempts = 3

workflow::type

  × `fresh` is not a duration
    ╭─[test.toml:17:9]
 16 │ retry = { attempts = 0 }
 17 │ fresh = "1 day"
    ·         ───┬───
    ·            ╰── not a duration
 18 │
    ╰────
  help: write a number with its unit: "500ms", "2s", "10m", "1h30m", "7d"

workflow::not-an-action

  × `fresh` means nothing for `create-vm1`
    ╭─[test.toml:21:9]
 20 │ uses = "look"
 21 │ fresh = "1d"
    ·         ──┬─
    ·           ╰── only an action can be fresh
 22 │
    ╰────
  help: only tasks that leave nothing to look at are run again after a while

workflow::confusable-name

  × the tasks `create-vm1` and `create-vml` look alike
    ╭─[test.toml:23:8]
 18 │
 19 │ [tasks.create-vm1]
    ·        ─────┬────
    ·             ╰── first here
 20 │ uses = "look"
 21 │ fresh = "1d"
 22 │
 23 │ [tasks.create-vml]
    ·        ─────┬────
    ·             ╰── looks like the other one
 24 │ uses = "notify"
    ╰────
  help: rename one of the two tasks

workflow::name

  × `a/b` cannot be a key
    ╭─[test.toml:25:12]
 24 │ uses = "notify"
 25 │ for-each = ["a/b", "x", "X"]
    ·            ────────┬────────
    ·                    ╰── makes a bad key
    ╰────
  help: a key is made of letters, digits, `-`, `_` and `.`

workflow::duplicate-name

  × the keys `X` and `x` differ by case only
    ╭─[test.toml:25:12]
 24 │ uses = "notify"
 25 │ for-each = ["a/b", "x", "X"]
    ·            ────────┬────────
    ·                    ╰── keys must be distinct
    ╰────
  help: each key makes one instance, and names it in files as well

13 errors in 1 file

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
    use std::fmt::Write as _;

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
