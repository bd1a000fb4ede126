//! `[pools]`, and what tasks take of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::definition::Pool;
use super::draft::Drafts;
use super::error::{Finding, Findings, Span, suggest};
use super::names::bad_name;
use super::source::{Content, Entry, Node};
use super::statics::Statics;
use super::syntax::wrong_type;
use super::units;

/// The pools that tasks really use, and what each instance takes.
pub(crate) struct Pools {
    pub(crate) list: Vec<Pool>,
    /// By provisional number of the instance.
    pub(crate) taken: Vec<Vec<(usize, u32)>>,
}

/// A pool as declared; the name of a keyed one ends in `:*`.
struct Declared<'a> {
    name: &'a str,
    span: Span,
    size: u32,
}

pub(crate) fn resolve(
    entries: &[Entry],
    drafts: &Drafts<'_>,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Pools {
    let declared = declare(entries, statics, findings);
    let mut pools = Pools { list: Vec::new(), taken: vec![Vec::new(); drafts.count() as usize] };
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for pool in declared.values().filter(|pool| !pool.name.ends_with(":*")) {
        numbers.insert(pool.name.to_owned(), pools.list.len());
        pools.list.push(Pool { name: pool.name.to_owned(), size: pool.size });
    }
    for draft in &drafts.list {
        for entry in draft.syntax.pools.iter().flat_map(|table| &table.entries) {
            for (at, instance) in draft.instances().enumerate() {
                if draft.skipped[at] {
                    continue;
                }
                let each = draft.each_at(at);
                let Some((name, amount)) = claim(entry, each, statics, findings) else { continue };
                let Some(pool) = find(&declared, &name) else {
                    findings.push(unknown(&name, entry.key_span, &declared));
                    continue;
                };
                if amount > pool.size {
                    findings.push(too_small(draft.syntax.name, &name, amount, entry, pool));
                    continue;
                }
                let number = *numbers.entry(name.clone()).or_insert_with(|| {
                    pools.list.push(Pool { name, size: pool.size });
                    pools.list.len() - 1
                });
                pools.taken[instance as usize].push((number, amount));
            }
        }
    }
    for taken in &mut pools.taken {
        taken.sort_unstable();
    }
    pools
}

fn declare<'a>(
    entries: &'a [Entry],
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Declared<'a>> {
    let mut declared = BTreeMap::new();
    for entry in entries {
        let plain = entry.key.strip_suffix(":*").unwrap_or(&entry.key);
        if !units::is_name(plain) {
            findings.push(bad_name("a pool", &entry.key, entry.key_span));
        }
        // A pool whose size has a finding is known all the same.
        let size = amount(&entry.value, None, statics, findings).unwrap_or(u32::MAX);
        let pool = Declared { name: &entry.key, span: entry.key_span, size };
        declared.insert(entry.key.as_str(), pool);
    }
    declared
}

/// The name of a pool with its key, and how much is taken of it.
fn claim(
    entry: &Entry,
    each: Option<&Value>,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Option<(String, u32)> {
    let key = Node { span: entry.key_span, content: Content::Text(entry.key.clone()) };
    let name = statics.value(&key, each, findings);
    let amount = amount(&entry.value, each, statics, findings);
    match (name?, amount?) {
        (Value::String(name), amount) => Some((name, amount)),
        (other, _) => {
            findings.push(wrong_type("pools", "names of pools", &other, entry.key_span));
            None
        }
    }
}

fn amount(
    node: &Node,
    each: Option<&Value>,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Option<u32> {
    let value = statics.value(node, each, findings)?;
    let amount = value.as_u64().and_then(|amount| u32::try_from(amount).ok());
    let amount = amount.filter(|amount| *amount > 0);
    if amount.is_none() {
        findings.push(
            Finding::new(
                "workflow::type",
                "an amount of a pool is a whole number of 1 or more",
                node.span,
                "not an amount",
            )
            .help("leave the entry out to take nothing"),
        );
    }
    amount
}

fn find<'a, 'd>(
    declared: &'d BTreeMap<&str, Declared<'a>>,
    name: &str,
) -> Option<&'d Declared<'a>> {
    if name.ends_with(":*") {
        return None;
    }
    declared.get(name).or_else(|| {
        let (family, _) = name.split_once(':')?;
        declared.get(format!("{family}:*").as_str())
    })
}

fn unknown(name: &str, span: Span, declared: &BTreeMap<&str, Declared<'_>>) -> Finding {
    let known: Vec<&str> = declared.keys().copied().collect();
    let help = if known.is_empty() {
        Some(format!("declare it: [pools] {name} = 2"))
    } else {
        suggest(name, known, "pools")
    };
    Finding::new(
        "workflow::unknown-pool",
        format!("there is no pool `{name}`"),
        span,
        "not among [pools]",
    )
    .maybe_help(help)
}

fn too_small(task: &str, name: &str, amount: u32, entry: &Entry, pool: &Declared<'_>) -> Finding {
    Finding::new(
        "workflow::pool-too-small",
        format!("`{task}` takes {amount} of the pool `{name}`, which has {}", pool.size),
        entry.value.span,
        "would wait for ever",
    )
    .label(pool.span, format!("size {}", pool.size))
    .help("make the pool larger or take less of it")
}
