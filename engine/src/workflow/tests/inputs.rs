//! What a workflow is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::kinds::{Made, Memory, load_given, render, site};
use crate::workflow::{Given, Source, Sources, Workflow, load};
use crate::{Instance, InstanceName};

const TEXT: &str = r#"
[inputs.count]
type = "integer"
default = 1

[inputs.size]
type = "string"
default = "s"
one-of = ["s", "m"]

[inputs.tag]
default = "v1"
pattern = "v[0-9]+"

[inputs.names]
default = ["a"]

[inputs.on-time]
default = false

[tasks.a]
uses = "fetch"
with.url = "${inputs.count}${inputs.size}${inputs.tag}${inputs.on-time}"
for-each = "${inputs.names}"
"#;

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn find(workflow: &Workflow, name: &str) -> Instance {
    workflow.find(&InstanceName::parse(name)).unwrap()
}

/// The url of `a/KEY`, or what was said.
fn url(given: Given, key: &str) -> String {
    match load_given(&Memory::of(TEXT), &Given { site: site(), ..given }) {
        Ok(workflow) => {
            let a = find(&workflow, &format!("a/{key}"));
            let params = workflow.resolve(a, &Made::default()).unwrap().params;
            params["url"].as_str().unwrap().to_owned()
        }
        Err(diagnostics) => {
            let told = diagnostics.problems().iter();
            told.map(|problem| format!("{problem} ({})", problem.remedy().unwrap()))
                .collect::<Vec<_>>()
                .join("\n")
        }
    }
}

#[test]
fn set_goes_before_environment_before_file_before_default() {
    assert_eq!(url(Given::default(), "a"), "1sv1false");
    let file = BTreeMap::from([
        ("count".to_owned(), json!(2)),
        ("size".to_owned(), json!("m")),
        ("names".to_owned(), json!(["x"])),
    ]);
    let environment = strings(&[("FLOW_INPUT_COUNT", "3"), ("FLOW_INPUT_ON_TIME", "true")]);
    let given = Given { environment, file, ..Given::default() };
    assert_eq!(url(given.clone(), "x"), "3mv1true");
    let set = strings(&[("count", "4"), ("names", "[\"y\", \"z\"]")]);
    assert_eq!(url(Given { set, ..given }, "z"), "4mv1true");
}

#[test]
fn what_does_not_fit_is_told() {
    let set = |pairs: &[(&str, &str)]| url(Given { set: strings(pairs), ..Given::default() }, "a");
    assert_eq!(
        set(&[("count", "many")]),
        "the input `count` must be a whole number (expected a whole number)"
    );
    assert_eq!(set(&[("size", "xl")]), "the input `size` cannot be \"xl\" (one of \"s\", \"m\")");
    assert_eq!(
        set(&[("tag", "v1x")]),
        "the input `tag` cannot be \"v1x\" (it must match `v[0-9]+`)"
    );
    assert_eq!(
        set(&[("cuont", "1")]),
        "`--set` names `cuont`, which the workflow does not take (did you mean `count`?)"
    );
}

/// A source that follows references of the environment.
struct Following(Memory);

impl Sources for Following {
    fn workflow(&self, name: &str, includer: Option<&str>) -> Result<Source, String> {
        self.0.workflow(name, includer)
    }

    fn file(&self, path: &str, reader: &str) -> Result<String, String> {
        self.0.file(path, reader)
    }

    fn secret(&self, reference: &Value) -> Option<Result<String, String>> {
        Some(match reference["env"].as_str()? {
            "TOKEN" => Ok("hunter22".to_owned()),
            "SHORT" => Ok("abc".to_owned()),
            _ => Err("the variable is not set".to_owned()),
        })
    }
}

fn with_secret(text: &str, reference: &str) -> Result<Workflow, String> {
    let text = format!("[inputs.token]\nsecret = true\n{text}");
    let set = strings(&[("token", reference)]);
    let given = Given { site: site(), set, ..Given::default() };
    let sources = Following(Memory::of(&text));
    load(&sources, "test.toml", &given, &super::kinds::registry())
        .map_err(|diagnostics| render(&diagnostics))
}

#[test]
fn a_secret_input_is_a_reference_until_it_is_read() {
    let text = "[tasks.a]\nuses = \"fetch\"\nwith.url = \"https://${inputs.token}@x\"\n\
                with.password = \"${inputs.token}\"\n";
    let workflow = with_secret(text, "env:TOKEN").unwrap();
    assert_eq!(workflow.roots.inputs, json!({ "token": { "env": "TOKEN" } }));
    assert!(!format!("{:?}", workflow.roots).contains("hunter22"));
    let resolved = workflow.resolve(find(&workflow, "a"), &Made::default()).unwrap();
    assert_eq!(resolved.params, json!({ "url": "https://hunter22@x", "password": "hunter22" }));
    let tainted = ["/password", "/url"].map(str::to_owned);
    assert_eq!(resolved.secret, BTreeSet::from(tainted));
}

#[test]
fn a_secret_input_takes_no_literal_and_only_tasks_read_it() {
    let text = "[tasks.a]\nuses = \"notify\"\nwhen = \"${inputs.token != 1}\"\n";
    for (reference, words) in [
        ("hunter22", "is secret and takes a reference only"),
        ("env:SHORT", "is shorter than 8 bytes"),
        ("env:OTHER", "the variable is not set"),
        ("env:TOKEN", "a secret input cannot be read here"),
    ] {
        let report = with_secret(text, reference).err().unwrap();
        assert!(report.contains(words) && !report.contains("hunter22"), "{report}");
    }
}

#[test]
fn a_secret_input_with_an_error_is_a_secret_to_its_readers() {
    let text = "[tasks.a]\nuses = \"fetch\"\nwith.url = \"https://${inputs.token}@x\"\n\
                with.password = \"${inputs.token}\"\n\
                [tasks.b]\nuses = \"fetch\"\nwith.url = \"${inputs.token}\"\n";
    for reference in ["hunter22", "env:SHORT", "env:OTHER"] {
        let report = with_secret(text, reference).err().unwrap();
        assert!(report.contains("the input `token`") || report.contains("the secret input"));
        assert!(report.ends_with("1 error in 1 file\n"), "{report}");
    }
}

#[test]
fn an_input_is_not_nested_deeper_than_can_be_read_again() {
    let deep = |levels| (0..levels).fold(json!("a"), |inner, _| json!([inner]));
    let url = |levels| {
        let file = BTreeMap::from([("names".to_owned(), deep(levels))]);
        url(Given { file, ..Given::default() }, "a")
    };
    assert_eq!(url(1), "1sv1false");
    assert!(url(65).starts_with("the input `names` is nested more than 64 levels deep"));
}
