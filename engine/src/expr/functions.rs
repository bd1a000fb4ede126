//! The functions that expressions may call: pure, and ours.
//!
//! No message quotes an argument, because it may be a secret.
#![expect(clippy::unnecessary_wraps, reason = "all functions have the type that HCL calls")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};
use hcl::{Identifier, Map, Value};
use sha2::{Digest, Sha256};

use super::value::{sort_of, to_json};

type Call = fn(FuncArgs) -> Result<Value, String>;

/// A function: its name, how many arguments it takes at least and at most, and what it does.
struct Function {
    name: &'static str,
    least: usize,
    most: usize,
    call: Call,
}

const ANY: usize = usize::MAX;

const fn function(name: &'static str, least: usize, most: usize, call: Call) -> Function {
    Function { name, least, most, call }
}

/// All functions, by name.
static FUNCTIONS: &[Function] = &[
    function("base64decode", 1, 1, base64decode),
    function("base64encode", 1, 1, base64encode),
    function("cidrhost", 2, 2, cidrhost),
    function("coalesce", 1, ANY, coalesce),
    function("concat", 1, ANY, concat),
    function("contains", 2, 2, contains),
    function("distinct", 1, 1, distinct),
    function("flatten", 1, 1, flatten),
    function("format", 1, ANY, format_text),
    function("join", 2, 2, join),
    function("jsondecode", 1, 1, jsondecode),
    function("jsonencode", 1, 1, jsonencode),
    function("keys", 1, 1, keys),
    function("length", 1, 1, length),
    function("lookup", 2, 3, lookup),
    function("lower", 1, 1, lower),
    function("max", 1, ANY, max),
    function("merge", 1, ANY, merge),
    function("min", 1, ANY, min),
    function("range", 1, 2, range),
    function("replace", 3, 3, replace),
    function("sha256", 1, 1, sha256),
    function("sort", 1, 1, sort),
    function("split", 2, 2, split),
    function("tonumber", 1, 1, tonumber),
    function("tostring", 1, 1, tostring),
    function("trimspace", 1, 1, trimspace),
    function("upper", 1, 1, upper),
    function("values", 1, 1, values),
    function("zipmap", 2, 2, zipmap),
];

/// The names of all functions; `file` is one as well, and is read at load.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name).chain(std::iter::once("file"))
}

/// Makes functions known to a context.
pub(super) fn declare<'a>(context: &mut Context<'_>, wanted: impl Iterator<Item = &'a String>) {
    for name in wanted {
        let Ok(at) = FUNCTIONS.binary_search_by_key(&name.as_str(), |function| function.name)
        else {
            continue;
        };
        let function = &FUNCTIONS[at];
        let mut definition = FuncDef::builder();
        for _ in 0..function.least {
            definition = definition.param(ParamType::Any);
        }
        if function.most > function.least {
            definition = definition.variadic_param(ParamType::Any);
        }
        context.declare_func(Identifier::unchecked(function.name), definition.build(function.call));
    }
}

/// The arguments, at most as many as the function takes.
fn at_most(arguments: FuncArgs, most: usize) -> Result<Vec<Value>, String> {
    let values = arguments.into_values();
    if values.len() > most {
        return Err(format!("expected at most {most} arguments, found {}", values.len()));
    }
    Ok(values)
}

fn one(arguments: FuncArgs) -> Value {
    arguments.into_values().into_iter().next().unwrap_or(Value::Null)
}

fn two(arguments: FuncArgs) -> (Value, Value) {
    let mut values = arguments.into_values().into_iter();
    (values.next().unwrap_or(Value::Null), values.next().unwrap_or(Value::Null))
}

fn wrong<T>(expected: &str, value: &Value) -> Result<T, String> {
    Err(format!("expected {expected}, found {}", sort_of(value)))
}

fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => wrong("a string", &value),
    }
}

fn list(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            wrong("a list", &value)
        }
    }
}

fn table(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            wrong("a table", &value)
        }
    }
}

fn integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Number(number) => {
            number.as_i64().ok_or_else(|| "expected a whole number".to_owned())
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            wrong("a number", value)
        }
    }
}

fn sorted(fields: Map<String, Value>) -> Vec<(String, Value)> {
    let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

fn coalesce(arguments: FuncArgs) -> Result<Value, String> {
    Ok(arguments.into_values().into_iter().find(|value| !value.is_null()).unwrap_or(Value::Null))
}

fn keys(arguments: FuncArgs) -> Result<Value, String> {
    let fields = sorted(table(one(arguments))?);
    Ok(Value::Array(fields.into_iter().map(|(key, _)| Value::String(key)).collect()))
}

fn values(arguments: FuncArgs) -> Result<Value, String> {
    let fields = sorted(table(one(arguments))?);
    Ok(Value::Array(fields.into_iter().map(|(_, value)| value).collect()))
}

fn length(arguments: FuncArgs) -> Result<Value, String> {
    match one(arguments) {
        Value::Array(items) => Ok(Value::from(items.len())),
        Value::Object(fields) => Ok(Value::from(fields.len())),
        Value::String(text) => Ok(Value::from(text.chars().count())),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => {
            wrong("a list, a table or a string", &other)
        }
    }
}

fn join(arguments: FuncArgs) -> Result<Value, String> {
    let (separator, items) = two(arguments);
    let items: Vec<String> = list(items)?.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok(Value::String(items.join(&text(separator)?)))
}

fn split(arguments: FuncArgs) -> Result<Value, String> {
    let (separator, whole) = two(arguments);
    let (separator, whole) = (text(separator)?, text(whole)?);
    if separator.is_empty() {
        return Err("expected a separator of at least one character".to_owned());
    }
    Ok(Value::Array(whole.split(&separator).map(Value::from).collect()))
}

fn lower(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::String(text(one(arguments))?.to_lowercase()))
}

fn upper(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::String(text(one(arguments))?.to_uppercase()))
}

fn trimspace(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::from(text(one(arguments))?.trim()))
}

fn replace(arguments: FuncArgs) -> Result<Value, String> {
    let mut values = arguments.into_values().into_iter();
    let mut next = || text(values.next().unwrap_or(Value::Null));
    let (whole, from, to) = (next()?, next()?, next()?);
    Ok(Value::String(whole.replace(&from, &to)))
}

fn tostring(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::String(text(one(arguments))?))
}

fn tonumber(arguments: FuncArgs) -> Result<Value, String> {
    let value = one(arguments);
    if value.is_number() {
        return Ok(value);
    }
    let text = text(value)?;
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Value::from(number));
    }
    let number = text.parse::<f64>().ok().and_then(hcl::Number::from_f64);
    number.map(Value::Number).ok_or_else(|| "expected the digits of a number".to_owned())
}

/// `%s` takes anything that can stand in a string, `%d` a whole number, `%%` is `%`.
fn format_text(arguments: FuncArgs) -> Result<Value, String> {
    let mut values = arguments.into_values().into_iter();
    let pattern = text(values.next().unwrap_or(Value::Null))?;
    let mut result = String::new();
    let mut rest = pattern.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        result.push_str(before);
        let mut characters = after.chars();
        let verb = characters.next();
        rest = characters.as_str();
        match verb {
            Some('%') => result.push('%'),
            Some('s') => result.push_str(&text(values.next().ok_or("too few arguments")?)?),
            Some('d') => {
                result.push_str(&integer(&values.next().ok_or("too few arguments")?)?.to_string());
            }
            _ => return Err("only %s, %d and %% are known".to_owned()),
        }
    }
    result.push_str(rest);
    if values.next().is_some() {
        return Err("too many arguments".to_owned());
    }
    Ok(Value::String(result))
}

fn jsonencode(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::String(to_json(one(arguments)).to_string()))
}

fn jsondecode(arguments: FuncArgs) -> Result<Value, String> {
    let text = text(one(arguments))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|_| "expected JSON".to_owned())?;
    Ok(super::value::to_hcl(&value))
}

fn base64encode(arguments: FuncArgs) -> Result<Value, String> {
    Ok(Value::String(STANDARD.encode(text(one(arguments))?)))
}

fn base64decode(arguments: FuncArgs) -> Result<Value, String> {
    let bytes = STANDARD.decode(text(one(arguments))?).map_err(|_| "expected Base64".to_owned())?;
    String::from_utf8(bytes).map(Value::String).map_err(|_| "expected Base64 of text".to_owned())
}

fn sha256(arguments: FuncArgs) -> Result<Value, String> {
    let digest = Sha256::digest(text(one(arguments))?);
    Ok(Value::String(base16ct::lower::encode_string(&digest)))
}

fn merge(arguments: FuncArgs) -> Result<Value, String> {
    let mut merged = Map::new();
    for value in arguments.into_values() {
        merged.extend(table(value)?);
    }
    Ok(Value::Object(merged))
}

fn lookup(arguments: FuncArgs) -> Result<Value, String> {
    let mut values = at_most(arguments, 3)?.into_iter();
    let mut fields = table(values.next().unwrap_or(Value::Null))?;
    let key = text(values.next().unwrap_or(Value::Null))?;
    match (fields.swap_remove(&key), values.next()) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default),
        (None, None) => Err("the table has no such key, and there is no default".to_owned()),
    }
}

fn contains(arguments: FuncArgs) -> Result<Value, String> {
    let (items, wanted) = two(arguments);
    Ok(Value::Bool(list(items)?.contains(&wanted)))
}

fn concat(arguments: FuncArgs) -> Result<Value, String> {
    let mut all = Vec::new();
    for value in arguments.into_values() {
        all.extend(list(value)?);
    }
    Ok(Value::Array(all))
}

fn distinct(arguments: FuncArgs) -> Result<Value, String> {
    let mut seen = Vec::new();
    for value in list(one(arguments))? {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    Ok(Value::Array(seen))
}

fn flatten(arguments: FuncArgs) -> Result<Value, String> {
    let mut flat = Vec::new();
    let mut open: Vec<Value> = list(one(arguments))?.into_iter().rev().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.into_iter().rev()),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => flat.push(other),
        }
    }
    Ok(Value::Array(flat))
}

fn sort(arguments: FuncArgs) -> Result<Value, String> {
    let mut items: Vec<String> =
        list(one(arguments))?.into_iter().map(text).collect::<Result<_, _>>()?;
    items.sort();
    Ok(Value::Array(items.into_iter().map(Value::String).collect()))
}

fn range(arguments: FuncArgs) -> Result<Value, String> {
    /// Far beyond any workflow, far below what would fill the memory.
    const LONGEST: i64 = 1_000_000;

    let values = at_most(arguments, 2)?;
    let bounds: Vec<i64> = values.iter().map(integer).collect::<Result<_, _>>()?;
    let (from, to) = match bounds.as_slice() {
        [from, to] => (*from, *to),
        [to] => (0, *to),
        _ => return Err("expected one or two numbers".to_owned()),
    };
    if to.saturating_sub(from) > LONGEST {
        return Err(format!("expected at most {LONGEST} numbers"));
    }
    Ok(Value::Array((from..to).map(Value::from).collect()))
}

fn max(arguments: FuncArgs) -> Result<Value, String> {
    extreme(arguments, std::cmp::Ordering::Greater)
}

fn min(arguments: FuncArgs) -> Result<Value, String> {
    extreme(arguments, std::cmp::Ordering::Less)
}

fn extreme(arguments: FuncArgs, wanted: std::cmp::Ordering) -> Result<Value, String> {
    let mut best: Option<(f64, Value)> = None;
    for value in arguments.into_values() {
        let Some(number) = value.as_number().and_then(hcl::Number::as_f64) else {
            return wrong("a number", &value);
        };
        if best.as_ref().is_none_or(|(least, _)| number.total_cmp(least) == wanted) {
            best = Some((number, value));
        }
    }
    best.map(|(_, value)| value).ok_or_else(|| "expected a number".to_owned())
}

fn zipmap(arguments: FuncArgs) -> Result<Value, String> {
    let (names, items) = two(arguments);
    let names: Vec<String> = list(names)?.into_iter().map(text).collect::<Result<_, _>>()?;
    let items = list(items)?;
    if names.len() != items.len() {
        return Err("expected two lists of one length".to_owned());
    }
    Ok(Value::Object(names.into_iter().zip(items).collect()))
}

/// The address of this number within a network, from its end if the number is negative.
fn cidrhost(arguments: FuncArgs) -> Result<Value, String> {
    let (network, number) = two(arguments);
    let (network, number) = (text(network)?, integer(&number)?);
    let (address, length) = network.split_once('/').ok_or("expected a network as 10.0.0.0/16")?;
    let address: std::net::IpAddr =
        address.parse().map_err(|_| "expected a network as 10.0.0.0/16".to_owned())?;
    let length: u32 = length.parse().map_err(|_| "expected a length as /16".to_owned())?;
    let (bits, width) = match address {
        std::net::IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u32),
        std::net::IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let host_bits = width.checked_sub(length).ok_or("the prefix is longer than an address")?;
    let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
    let offset = u128::from(number.unsigned_abs());
    if offset > mask {
        return Err("the network has fewer addresses".to_owned());
    }
    let host = if number < 0 { mask - (offset - 1) } else { offset };
    let bits = (bits & !mask) | host;
    Ok(Value::String(match address {
        std::net::IpAddr::V4(_) => {
            let bits = u32::try_from(bits).expect("an IPv4 address has 32 bits");
            std::net::Ipv4Addr::from_bits(bits).to_string()
        }
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::from_bits(bits).to_string(),
    }))
}
