//! The command line of cilium-cli and the values it makes.

use serde_json::{Map, Value, json};

/// What the command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// `install`
    Install,
    /// `upgrade`
    Upgrade,
    /// `version`
    Version,
}

/// A parsed command line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) action: Action,
    /// The chart's version, without `v`.
    pub(super) version: String,
    pub(super) values: Value,
    pub(super) dry_run: bool,
}

/// The version that the image installs by itself.
const DEFAULT_VERSION: &str = "1.19.5";

/// Flags with a value that change nothing here.
const IGNORED: &[&str] = &[
    "--namespace",
    "-n",
    "--context",
    "--kubeconfig",
    "--wait-duration",
    "--chart-directory",
    "--repository",
    "--datapath-mode",
    "--list-versions",
    "--as",
    "--as-group",
    "--helm-release-name",
];
/// Flags without a value.
const SWITCHES: &[&str] = &[
    "--wait",
    "--reset-values",
    "--reuse-values",
    "--reset-then-reuse-values",
    "--disable-check",
    "--nodes-without-cilium",
];

impl Call {
    /// Reads the words after the image's entrypoint; `read_file` opens files in the container.
    pub(super) fn parse(
        words: &[String],
        read_file: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut words = words.iter().map(String::as_str).skip_while(|w| w.ends_with("cilium"));
        let action = match words.next() {
            Some("install") => Action::Install,
            Some("upgrade") => Action::Upgrade,
            Some("version") => Action::Version,
            Some(other) => return Err(format!("unknown command \"{other}\" for \"cilium\"")),
            None => return Err("no command given".to_owned()),
        };
        let mut call =
            Self { action, version: DEFAULT_VERSION.to_owned(), values: json!({}), dry_run: false };
        while let Some(word) = words.next() {
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word, None),
            };
            let mut value = || {
                let next = inline.clone().or_else(|| words.next().map(str::to_owned));
                next.ok_or_else(|| format!("flag needs an argument: {flag}"))
            };
            match flag {
                "--version" => call.version = version(&value()?)?,
                "--set" => set(&mut call.values, &value()?, true)?,
                "--set-string" => set(&mut call.values, &value()?, false)?,
                "--values" | "-f" | "--helm-values" => {
                    let path = value()?;
                    let text = read_file(&path)
                        .ok_or_else(|| format!("open {path}: no such file or directory"))?;
                    let file: Value = serde_yaml_ng::from_str(&text)
                        .map_err(|e| format!("failed to parse {path}: {e}"))?;
                    crate::kubernetes::patch::merge(&mut call.values, &file);
                }
                "--dry-run" | "--dry-run-helm-values" => call.dry_run = true,
                known if SWITCHES.contains(&known) => {}
                known if IGNORED.contains(&known) => drop(value()?),
                other => return Err(format!("unknown flag: {other}")),
            }
        }
        Ok(call)
    }
}

fn version(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches('v');
    let parts: Vec<Option<u32>> = bare.split('.').map(|p| p.parse().ok()).collect();
    match parts.as_slice() {
        [Some(1), Some(17..=20), Some(_)] => Ok(bare.to_owned()),
        _ => Err(format!(
            "chart \"cilium\" version \"{text}\" not found in https://helm.cilium.io repository"
        )),
    }
}

/// Lays `a.b=c,d={e,f}` over the values, as Helm reads it.
fn set(values: &mut Value, text: &str, typed: bool) -> Result<(), String> {
    for pair in split_outside_braces(text) {
        let (path, raw) = pair
            .split_once('=')
            .ok_or_else(|| format!("failed parsing --set data: key \"{pair}\" has no value"))?;
        let value = match raw.strip_prefix('{').and_then(|r| r.strip_suffix('}')) {
            Some(items) => Value::Array(
                items.split(',').filter(|i| !i.is_empty()).map(|i| scalar(i, typed)).collect(),
            ),
            None => scalar(raw, typed),
        };
        let mut place = &mut *values;
        for key in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
        *place = value;
    }
    Ok(())
}

fn split_outside_braces(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (index, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn scalar(text: &str, typed: bool) -> Value {
    match text {
        "true" if typed => json!(true),
        "false" if typed => json!(false),
        "null" if typed => Value::Null,
        number if typed => number.parse::<i64>().map_or_else(|_| json!(text), |n| json!(n)),
        _ => json!(text),
    }
}

/// What the chart's schema refuses. Unknown keys, such as a lower-case `mtu`, are no reason.
pub(super) fn check(values: &Value) -> Result<(), String> {
    let mut wrong = Vec::new();
    let proxy = &values["kubeProxyReplacement"];
    if !(proxy.is_null() || proxy.is_boolean() || matches!(proxy.as_str(), Some("true" | "false")))
    {
        wrong.push("- at '/kubeProxyReplacement': value must be one of 'true', 'false'".to_owned());
    }
    for (pointer, fits) in [
        ("/MTU", Value::is_i64 as fn(&Value) -> bool),
        ("/operator/replicas", Value::is_i64),
        ("/hubble/enabled", Value::is_boolean),
        ("/l2announcements/enabled", Value::is_boolean),
        ("/nodePort/bindProtection", Value::is_boolean),
        ("/cgroup/autoMount/enabled", Value::is_boolean),
        ("/securityContext/capabilities/ciliumAgent", Value::is_array),
        ("/securityContext/capabilities/cleanCiliumState", Value::is_array),
    ] {
        if values.pointer(pointer).is_some_and(|held| !held.is_null() && !fits(held)) {
            wrong.push(format!("- at '{pointer}': got the wrong type"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "values don't meet the specifications of the schema(s) in the following chart(s):\ncilium:\n{}",
        wrong.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_command_line_makes_values() {
        let line = "cilium install --version v1.19.8 --set ipam.mode=kubernetes,kubeProxyReplacement=true --set \
                    k8sServicePort=7445 --set-string cluster.id=1 --set \
                    securityContext.capabilities.ciliumAgent={CHOWN,KILL} -f /v/values.yaml --wait";
        let file = |path: &str| (path == "/v/values.yaml").then(|| "MTU: 1400\n".to_owned());
        let call = Call::parse(&words(line), &file).unwrap();
        assert_eq!(call.version, "1.19.8");
        assert_eq!(
            call.values,
            json!({
                "ipam": { "mode": "kubernetes" }, "kubeProxyReplacement": true, "k8sServicePort": 7445,
                "cluster": { "id": "1" }, "securityContext": { "capabilities": { "ciliumAgent": ["CHOWN", "KILL"] } },
                "MTU": 1400,
            })
        );
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        let none = |_: &str| None;
        let refused = |line: &str| Call::parse(&words(line), &none).unwrap_err();
        assert_eq!(refused("install --nope"), "unknown flag: --nope");
        assert_eq!(refused("install -f /x"), "open /x: no such file or directory");
        assert!(refused("install --version 0.9.0").contains("not found"));
    }

    #[test]
    fn the_schema_ignores_unknown_keys_but_not_wrong_types() {
        assert!(check(&json!({ "mtu": "x", "kubeProxyReplacement": "true" })).is_ok());
        assert!(check(&json!({ "kubeProxyReplacement": "strict" })).is_err());
        assert!(check(&json!({ "MTU": "1400" })).is_err());
    }
}
