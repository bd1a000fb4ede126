//! What a good file becomes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::kinds::{Made, Memory, load_from, loaded};
use crate::kind::{Effect, OnDrift};
use crate::workflow::{Unresolved, Workflow};
use crate::{Instance, InstanceName};

pub(super) const GOOD: &str = r#"
[workflow]
name = "good"
description = "All there is"
requires = ">= 0.1"
layers = ["early", "late"]

[inputs.writes]
type = "integer"
default = 2

[pools]
write = "${inputs.writes}"
"host:*" = 1

[tasks.check]
uses = "look"
layer = "early"

[tasks.image]
uses = "fetch"
layer = "early"
with.url = "https://${site.domain}/image"

[tasks.node]
uses = "fetch"
layer = "late"
needs = ["layer:early"]
for-each = "${site.nodes}"
with.url = "${tasks.image.file}/${each.key}?at=${each.value.address}"
with.retries = "${inputs.writes + 1}"
with.sizes = [1, "${tasks.image.size}"]
with.password = "${tasks.image.token}"
pools = { write = 1, "host:${each.value.host}" = 1 }
timeout = "10m"
settle = "5s"
retry = { attempts = 5, backoff = "1s", max = "10s" }
tags = ["disk"]
on-drift = "fix"

[tasks.first]
uses = "fetch"
layer = "late"
with.url = "${tasks.node[site.first.name].file}"
lives-in = "node/${site.first.name}"

[tasks.all]
uses = "fetch"
layer = "late"
needs = ["node", { task = "node", each = ["worker0"] }, "node/worker0"]
with.url = '$${literal} ${join(",", values(tasks.node)[*].file)} %%{ done }'

[tasks.edge]
uses = "fetch"
when = "${site.edge != false}"
needs = ["all"]
with.url = "${site.edge.url}"

[tasks.tell]
uses = "notify"
needs = ["edge"]
fresh = "24h"

[outputs]
files = "${keys(tasks.node)}"
token = "${tasks.image.token}"
"#;

fn id(workflow: &Workflow, name: &str) -> Instance {
    workflow.find(&InstanceName::parse(name)).unwrap()
}

fn names(workflow: &Workflow, ids: &[Instance]) -> Vec<String> {
    ids.iter().map(|id| workflow.instance(*id).name.to_string()).collect()
}

#[test]
fn instances_have_numbers_needs_pools_and_hosts() {
    let workflow = loaded(GOOD);
    let all: Vec<String> = workflow.names().iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        ["check", "image", "node/controlplane0", "node/worker0", "first", "all", "edge", "tell"]
    );
    let node = workflow.instance(id(&workflow, "node/worker0"));
    assert_eq!(names(&workflow, &node.needs), ["check", "image"]);
    assert_eq!(node.each.as_ref().unwrap()["role"], "worker");
    let pools: Vec<(&str, u32, u32)> = node
        .pools
        .iter()
        .map(|(pool, n)| (workflow.pools[*pool].name.as_str(), workflow.pools[*pool].size, *n))
        .collect();
    assert_eq!(pools, [("write", 2, 1), ("host:pve", 1, 1)]);
    let first = workflow.instance(id(&workflow, "first"));
    assert_eq!(names(&workflow, &first.lives_in), ["node/controlplane0"]);
    let edge = workflow.instance(id(&workflow, "edge"));
    assert!(edge.skipped);
    let tell = workflow.instance(id(&workflow, "tell"));
    assert_eq!(names(&workflow, &tell.needs), ["all"], "what is skipped is transparent");
}

#[test]
fn a_task_has_what_its_file_says_and_else_what_its_kind_says() {
    let workflow = loaded(GOOD);
    let task = workflow.task_of(id(&workflow, "node/worker0"));
    assert_eq!(task.timeout, Duration::from_mins(10));
    assert_eq!(task.settle.within, Duration::from_secs(5));
    assert_eq!((task.retry.attempts, task.retry.max), (5, Duration::from_secs(10)));
    assert_eq!(task.layer, Some(1));
    assert_eq!((task.on_drift, task.for_each), (OnDrift::Fix, true));
    let image = workflow.task_of(id(&workflow, "image"));
    assert_eq!(image.on_drift, OnDrift::Report);
    let tell = workflow.task_of(id(&workflow, "tell"));
    assert_eq!((tell.effect, tell.fresh), (Effect::Action, Some(Duration::from_hours(24))));
}

#[test]
fn parameters_are_resolved_and_secrets_are_known() {
    let workflow = loaded(GOOD);
    let node = id(&workflow, "node/worker0");
    let image = id(&workflow, "image");
    let unknown = workflow.resolve(node, &Made::default()).unwrap_err();
    assert!(matches!(unknown, Unresolved::Unknown(which) if which == image));
    let made = Made::default().with(&workflow, "image", json!({ "file": "disk", "size": 7 }));
    let resolved = workflow.resolve(node, &made).unwrap();
    assert_eq!(
        resolved.params,
        json!({
            "url": "disk/worker0?at=127.2.2.1",
            "retries": 3,
            "sizes": [1, 7],
            "password": "s3cret",
        })
    );
    assert_eq!(resolved.secret, BTreeSet::from(["/password".to_owned()]));
    let read: Vec<String> = workflow
        .reads(node)
        .into_iter()
        .map(|read| format!("{}.{}", workflow.instance(read.instance).name, read.field.unwrap()))
        .collect();
    assert_eq!(read, ["image.file", "image.size", "image.token"]);
}

#[test]
fn many_instances_are_read_as_a_table() {
    let workflow = loaded(GOOD);
    let made = Made::default().with(&workflow, "node/worker0", json!({ "file": "w" })).with(
        &workflow,
        "node/controlplane0",
        json!({ "file": "c" }),
    );
    let all = workflow.resolve(id(&workflow, "all"), &made).unwrap();
    assert_eq!(all.params, json!({ "url": "${literal} c,w %{ done }" }));
    let first = workflow.resolve(id(&workflow, "first"), &made).unwrap();
    assert_eq!(first.params, json!({ "url": "c" }));
    let files = workflow.resolve_output("files", &made).unwrap().unwrap();
    assert_eq!(files.params, json!(["controlplane0", "worker0"]));
    let made = made.with(&workflow, "image", json!({}));
    let token = workflow.resolve_output("token", &made).unwrap().unwrap();
    assert_eq!(token.secret, BTreeSet::from([String::new()]));
    assert!(workflow.resolve_output("nothing", &made).is_none());
}

#[test]
fn files_are_read_at_load_and_includes_are_joined() {
    let sources = Memory::of(
        "include = [\"more.toml\"]\n[tasks.a]\nuses = \"fetch\"\n\
         with.url = '${file(\"address\")}:${tasks.b.size}'\n",
    )
    .with("more.toml", "[tasks.b]\nuses = \"fetch\"\nwith.url = \"x\"\n")
    .with("address", "http://here");
    let workflow = load_from(&sources).unwrap();
    let made = Made::default().with(&workflow, "b", json!({ "size": 2 }));
    let resolved = workflow.resolve(id(&workflow, "a"), &made).unwrap();
    assert_eq!(resolved.params, json!({ "url": "http://here:2" }));
    assert!(workflow.text.contains("[tasks.a]") && workflow.text.contains("[tasks.b]"));
}

#[test]
fn what_is_left_out_may_read_what_is_not_there() {
    let workflow = loaded(
        r#"
        [tasks.node]
        uses = "notify"
        for-each = "${site.nodes}"

        [tasks.edge]
        uses = "fetch"
        for-each = "${site.edge.hosts}"
        when = "${site.edge != false}"
        with.url = "${site.edge.url}"

        [tasks.proxy]
        uses = "fetch"
        when = "${site.edge != false}"
        needs = ["node/${site.edge.node}", "edge", "node"]
        with.url = "${tasks.edge[site.edge.host].file}"

        [tasks.some]
        uses = "notify"
        for-each = "${site.nodes}"
        when = '${each.value.role == "worker"}'
        needs = ["proxy"]
        "#,
    );
    let shown: Vec<(String, bool)> =
        workflow.instances.iter().map(|def| (def.name.to_string(), def.skipped)).collect();
    let expected = [
        ("node/controlplane0", false),
        ("node/worker0", false),
        ("proxy", true),
        ("some/controlplane0", true),
        ("some/worker0", false),
    ];
    assert_eq!(shown, expected.map(|(name, skipped)| (name.to_owned(), skipped)));
    let worker = workflow.instance(id(&workflow, "some/worker0"));
    assert_eq!(names(&workflow, &worker.needs), ["node/controlplane0", "node/worker0"]);
}

#[test]
fn a_secret_read_through_a_table_is_known_as_one() {
    let workflow = loaded(
        r#"
        [tasks.node]
        uses = "fetch"
        for-each = ["a", "b"]
        with.url = "x"

        [tasks.open]
        uses = "fetch"
        with.url = '${join(",", values(tasks.node)[*].file)}'

        [tasks.secret]
        uses = "fetch"
        with.url = '${join(",", [for k, n in tasks.node : n.token])}'
        "#,
    );
    let made = Made::default().with(&workflow, "node/a", json!({ "file": "1" })).with(
        &workflow,
        "node/b",
        json!({ "file": "2" }),
    );
    let open = workflow.resolve(id(&workflow, "open"), &made).unwrap();
    assert_eq!((open.params, open.secret.len()), (json!({ "url": "1,2" }), 0));
    let secret = workflow.resolve(id(&workflow, "secret"), &made).unwrap();
    assert_eq!(secret.params, json!({ "url": "s3cret,s3cret" }));
    assert_eq!(secret.secret, BTreeSet::from(["/url".to_owned()]));
}

#[test]
fn needing_many_goes_through_one_vertex() {
    let workflow = loaded(
        "[tasks.a]\nuses = \"notify\"\nfor-each = '${[for i in range(100) : tostring(i)]}'\n\
         [tasks.b]\nuses = \"notify\"\nfor-each = '${[for i in range(100) : tostring(i)]}'\n\
         needs = [\"a\"]\n",
    );
    let edges: usize = (0..201).map(|v| workflow.graph.parents(v).len()).sum();
    assert_eq!((workflow.graph.len(), edges), (201, 200));
    assert_eq!(workflow.instance(id(&workflow, "b/7")).needs.len(), 100);
}

#[test]
fn a_definition_changes_with_what_a_task_does_only() {
    let definition = |text: &str| loaded(text).tasks[0].definition.clone();
    let base = definition("[tasks.a]\nuses = \"fetch\"\nwith.url = \"x\"\n");
    let hint =
        "[tasks.a]\nuses = \"fetch\"\nexpected = \"1s\"\ntags = [\"t\"]\nwith = { url = 'x' }\n";
    assert_eq!(definition(hint), base);
    assert_ne!(definition("[tasks.a]\nuses = \"fetch\"\nwith.url = \"y\"\n"), base);
}
