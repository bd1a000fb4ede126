//! Expressions, as they stand in a workflow.

use serde_json::{Value, json};

use super::{Leaf, Parsed, Scope};

fn parsed(text: &str) -> Leaf {
    match Leaf::parse(text, String::new()).unwrap() {
        Parsed::Leaf(leaf) => *leaf,
        Parsed::Literal(literal) => panic!("{literal} has no expression"),
    }
}

/// The value of an expression, or the words of its failure.
fn value(text: &str) -> Value {
    let site = json!({
        "name": "lab",
        "secret": "hunter22",
        "nodes": { "b": { "at": 2 }, "a": { "at": 1 } },
        "list": ["x", "y", "x"],
        "nothing": null,
    });
    let each = json!({ "key": "a", "value": { "at": 1 } });
    let scope = Scope { site: Some(&site), each: Some(&each), ..Scope::default() };
    parsed(text).evaluate_in(&scope).unwrap_or_else(|error| Value::String(error.message))
}

#[test]
fn one_whole_expression_keeps_its_type() {
    assert_eq!(value("${site.nodes}"), json!({ "a": { "at": 1 }, "b": { "at": 2 } }));
    assert_eq!(value("${site.nodes[each.key].at + 1}"), json!(2));
    assert_eq!(value("${site.name} ${1 + 1} ${true}"), json!("lab 2 true"));
    assert_eq!(value("${site.nothing}"), Value::Null);
    assert_eq!(value("${1.5}"), json!(1.5));
}

#[test]
fn escapes_stand_for_themselves() {
    for (text, expected) in
        [("plain", "plain"), ("$${a}", "${a}"), ("%%{ if }", "%{ if }"), ("100 % $", "100 % $")]
    {
        match Leaf::parse(text, String::new()).unwrap() {
            Parsed::Literal(literal) => assert_eq!(literal, expected),
            Parsed::Leaf(_) => panic!("{text} has no expression"),
        }
    }
    assert_eq!(value("$${x} ${site.name} \\n"), json!("${x} lab \\n"));
}

#[test]
fn functions_are_pure_and_say_what_is_wrong() {
    for (text, expected) in [
        (r#"${coalesce(site.nothing, "d")}"#, json!("d")),
        ("${keys(site.nodes)}", json!(["a", "b"])),
        ("${values(site.nodes)[*].at}", json!([1, 2])),
        ("${length(site.nodes)}", json!(2)),
        (r#"${join("-", site.list)}"#, json!("x-y-x")),
        (r#"${split(",", "a,b")}"#, json!(["a", "b"])),
        ("${upper(site.name)}", json!("LAB")),
        (r#"${format("%s-%d%%", "a", 7)}"#, json!("a-7%")),
        (r#"${cidrhost("10.2.0.0/16", 257)}"#, json!("10.2.1.1")),
        (r#"${cidrhost("10.2.0.0/16", -1)}"#, json!("10.2.255.255")),
        (r#"${cidrhost("fd00::/64", 5)}"#, json!("fd00::5")),
        ("${jsonencode(site.nodes)}", json!(r#"{"a":{"at":1},"b":{"at":2}}"#)),
        (r#"${jsondecode("[1]")}"#, json!([1])),
        (r"${merge(site.nodes, {c = 3})}", json!({ "a": {"at": 1}, "b": {"at": 2}, "c": 3 })),
        (r#"${lookup(site.nodes, "z", 9)}"#, json!(9)),
        (r#"${contains(site.list, "x")}"#, json!(true)),
        ("${distinct(site.list)}", json!(["x", "y"])),
        ("${flatten([[1], [2, [3]]])}", json!([1, 2, 3])),
        ("${concat([1], [2])}", json!([1, 2])),
        (r#"${sort(["b", "a"])}"#, json!(["a", "b"])),
        ("${tostring(7)}", json!("7")),
        (r#"${tonumber("7") + 1}"#, json!(8)),
        ("${max(1, 3, 2)}", json!(3)),
        ("${min(2, 1)}", json!(1)),
        ("${range(3)}", json!([0, 1, 2])),
        (r#"${base64decode(base64encode("hi"))}"#, json!("hi")),
        (r#"${zipmap(["a"], [1])}"#, json!({ "a": 1 })),
        (r#"${trimspace("  a ")}"#, json!("a")),
        (r#"${replace("a.b", ".", "-")}"#, json!("a-b")),
        (r#"${[for k, n in site.nodes : "${k}${n.at}" if n.at > 1]}"#, json!(["b2"])),
        (r#"${each.key == "a" ? 1 : site.missing}"#, json!(1)),
        ("%{ if true }yes%{ else }no%{ endif }", json!("yes")),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn failures_never_quote_a_value() {
    for (text, words) in [
        ("${upper(site.nodes)}", "`upper`: expected a string, found a table"),
        ("${site.secret + 1}", "`+` does not apply to a string and a number"),
        ("${keys(site.secret)}", "`keys`: expected a table, found a string"),
        ("${site.secret.x}", "expected an object, found a string"),
        ("a ${site.nothing}", "null cannot stand inside a string"),
        ("a ${site.nodes}", "a table cannot stand inside a string"),
        ("${lower()}", "`lower`: expected 1 positional arguments, got 0"),
        (
            r#"${lookup(site.nodes, "z")}"#,
            "`lookup`: the table has no such key, and there is no default",
        ),
        ("${site.list[7]}", "the list has no element 7"),
        ("${cidrhost(site.secret, 1)}", "`cidrhost`: expected a network as 10.0.0.0/16"),
    ] {
        assert_eq!(value(text), json!(words), "{text}");
    }
}

#[test]
fn references_are_found_without_evaluating() {
    let told = |text: &str| -> Vec<String> {
        let leaf = parsed(text);
        let found = leaf.found.references.iter();
        found
            .map(|reference| {
                let guard = if reference.guarded { "?" } else { "" };
                format!("{}{guard}", &text[reference.span.clone()])
            })
            .collect()
    };
    assert_eq!(
        told("${tasks.a-b[each.key].x} ${site.n}"),
        ["tasks.a-b[each.key].x", "each.key", "site.n",]
    );
    assert_eq!(told("${a ? tasks.x.y : site.z}"), ["tasks.x.y?", "site.z?"]);
    assert_eq!(told("${[for site in tasks.x : site.y]}"), ["tasks.x"]);
    assert_eq!(told(r#"${join(",", values(tasks.x)[*].y)}"#), ["tasks.x"]);
    assert_eq!(
        told("%{ for n in site.list }${n} ${inputs.m}%{ endfor }"),
        ["site.list", "inputs.m"]
    );
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    let deep = format!("${{{}1{}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(Leaf::parse(&deep, String::new()).is_err());
}
