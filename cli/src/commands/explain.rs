//! `flow explain`: the manual of a kind, from its own types.

use std::fmt::Write as _;

use flow_engine::{AnyKind, Effect};
use serde_json::{Value, json};

use crate::abort::Abort;
use crate::args::Explain;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Stands where a kind has no fields of a sort.
const NONE: &str = "  none\n";

/// Prints one kind, or the list of all.
///
/// # Errors
///
/// There is no such kind.
pub(crate) fn explain(terminal: Terminal, args: &Explain) -> Result<Exit, Abort> {
    let registry = flow_tasks::registry();
    let Some(name) = &args.kind else {
        for kind in registry.kinds() {
            if terminal.json {
                terminal.object(&object(kind.as_ref()));
            } else {
                terminal.data(format!("{:<16} {}", kind.name(), kind.manual().summary));
            }
        }
        return Ok(Exit::Ok);
    };
    let kind = registry.kind(name).ok_or_else(|| {
        let help = "`flow explain` lists all kinds";
        let message = format!("there is no kind `{name}`");
        Abort::words(Exit::Usage, "workflow::unknown-kind", message, help)
    })?;
    if terminal.json {
        terminal.object(&object(kind.as_ref()));
    } else {
        terminal.raw(page(kind.as_ref()).as_bytes());
    }
    Ok(Exit::Ok)
}

fn effect(kind: &dyn AnyKind) -> &'static str {
    match kind.effect(&Value::Null) {
        Ok(Effect::Converge) => "converge",
        Ok(Effect::Once) => "once",
        Ok(Effect::Action) => "action",
        Ok(Effect::Gate) => "gate",
        Err(_) => "effect as the task says",
    }
}

fn object(kind: &dyn AnyKind) -> Value {
    json!({
        "flow": crate::terminal::stream::VERSION,
        "type": "kind",
        "name": kind.name(),
        "effect": effect(kind),
        "summary": kind.manual().summary,
        "params": kind.params_schema(),
        "outputs": kind.outputs_schema(&Value::Null),
    })
}

/// The page that a person reads.
fn page(kind: &dyn AnyKind) -> String {
    let manual = kind.manual();
    let params = fields(&kind.params_schema().to_value());
    let outputs = fields(&kind.outputs_schema(&Value::Null).to_value());
    let secrets = fields(&kind.secrets_schema().to_value());
    let example = indented(manual.example);
    format!(
        "{name} ({effect})\n\n{summary}\n\n{details}\n\nwith (* required)\n{params}\n\
         outputs\n{outputs}\nsecrets, for other tasks only\n{secrets}\nexample\n{example}",
        name = kind.name(),
        effect = effect(kind),
        summary = manual.summary,
        details = manual.details,
    )
}

/// One line for each property of a schema.
fn fields(schema: &Value) -> String {
    let required = schema["required"].as_array();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let lines = properties.fold(String::new(), |mut lines, (name, field)| {
        let required = required.is_some_and(|all| all.contains(&json!(name)));
        let mark = if required { '*' } else { ' ' };
        let words = field["description"].as_str().unwrap_or_default().replace('\n', " ");
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "  {mark}{name:<16} {words}");
        lines
    });
    if lines.is_empty() { NONE.to_owned() } else { lines }
}

/// An example, two columns in: without the indentation that its lines have in common, and without
/// empty lines before and after it.
fn indented(example: &str) -> String {
    let lines: Vec<&str> = example.lines().map(str::trim_end).collect();
    let written = |line: &&str| !line.is_empty();
    let first = lines.iter().position(written).unwrap_or(lines.len());
    let last = lines.iter().rposition(written).map_or(first, |last| last + 1);
    let depth = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().copied().filter(written).map(|line| depth(&line)).min().unwrap_or(0);
    lines[first..last].iter().fold(String::new(), |mut page, line| {
        let line = line.get(common..).unwrap_or_default();
        let margin = if line.is_empty() { "" } else { "  " };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{margin}{line}");
        page
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_loses_the_indentation_of_its_source() {
        let written = "\n        a = 1\n\n          b = 2\n        ";
        assert_eq!(indented(written), "  a = 1\n\n    b = 2\n");
        assert_eq!(indented("a = 1"), "  a = 1\n");
        assert_eq!(indented(""), "");
    }
}
