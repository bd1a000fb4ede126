//! A call's parameters: how they arrive, and the schema they are checked against.

use std::collections::BTreeMap;

use serde_json::Value;
use url::form_urlencoded;

use super::reply::Refused;

/// No body may be larger.
pub(super) const BODY: usize = 512 * 1024;

/// A parameter's value as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Text(String),
    /// Repeated, or a JSON array.
    List(Vec<String>),
    /// A JSON object or null, which no parameter is.
    Other(&'static str),
}

/// The parameters of one call by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(BTreeMap<String, Given>);

impl Params {
    /// Reads a query string or a form.
    pub(super) fn form(text: &str) -> Self {
        let mut params = BTreeMap::new();
        for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            for (name, value) in form_urlencoded::parse(pair.as_bytes()) {
                let value = value.into_owned();
                params
                    .entry(name.into_owned())
                    .and_modify(|given| match given {
                        Given::Text(first) => {
                            *given = Given::List(vec![std::mem::take(first), value.clone()]);
                        }
                        Given::List(values) => values.push(value.clone()),
                        Given::Other(_) => {}
                    })
                    .or_insert(Given::Text(value));
            }
        }
        Self(params)
    }

    /// Reads a JSON object.
    pub(super) fn json(body: &[u8]) -> Result<Self, Refused> {
        let object: BTreeMap<String, Value> = serde_json::from_slice(body)
            .map_err(|error| Refused::Died(format!("malformed JSON string: {error}")))?;
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(u8::from(*flag).to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let given = |value: &Value| match value {
            Value::Array(values) => values
                .iter()
                .map(scalar)
                .collect::<Option<_>>()
                .map_or(Given::Other("ARRAY"), Given::List),
            Value::Object(_) => Given::Other("HASH"),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                scalar(other).map_or(Given::Other("undef"), Given::Text)
            }
        };
        Ok(Self(object.iter().map(|(name, value)| (name.clone(), given(value))).collect()))
    }

    /// Adds parameters that go before these.
    pub(super) fn under(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Adds the parameters of the path, which no other may contradict.
    pub(super) fn with_path(
        mut self,
        path: &BTreeMap<&'static str, String>,
    ) -> Result<Self, Refused> {
        for (name, value) in path {
            let value = Given::Text(value.clone());
            match self.0.insert((*name).to_owned(), value.clone()) {
                Some(other) if other != value => {
                    let text =
                        "duplicate parameter (already defined in URI) with conflicting values!";
                    return Err(Refused::parameter(name, text));
                }
                Some(_) | None => {}
            }
        }
        Ok(self)
    }

    /// A scalar parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Given::Text(text) => Some(text),
            Given::List(_) | Given::Other(_) => None,
        }
    }

    /// A boolean parameter that was checked; absent is `default`.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |text| text == "1")
    }

    /// An integer parameter that was checked.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// The items of a list parameter, however it was written.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let split = |text: &str| {
            let parts = text.split([',', ';', ' ', '\0', '\t', '\n']);
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        match self.0.get(name) {
            Some(Given::Text(text)) => split(text),
            Some(Given::List(values)) => values.iter().flat_map(|value| split(value)).collect(),
            Some(Given::Other(_)) | None => Vec::new(),
        }
    }

    /// All scalar parameters.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, given)| match given {
            Given::Text(text) => Some((name.as_str(), text.as_str())),
            Given::List(_) | Given::Other(_) => None,
        })
    }

    /// Checks all parameters against their schema, and says everything that is wrong.
    pub(super) fn check(&self, schema: &[&[Param]]) -> Result<(), Refused> {
        let mut errors = BTreeMap::new();
        let all = || schema.iter().copied().flatten();
        for param in all().filter(|param| param.required && !self.0.contains_key(param.name)) {
            let text = "property is missing and it is not optional";
            errors.insert(param.name.to_owned(), text.to_owned());
        }
        for (name, given) in &self.0 {
            let outcome = match all().find(|param| param.is_named(name)) {
                Some(param) => param.check(given),
                None => Err("property is not defined in schema and the schema does not allow \
                             additional properties"
                    .to_owned()),
            };
            if let Err(text) = outcome {
                errors.insert(name.clone(), text);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Refused::Parameters(errors)) }
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text(usize),
    Integer(i64, i64),
    Boolean,
    List,
    OneOf(&'static [&'static str]),
    Format(fn(&str) -> Result<(), String>),
}

/// One parameter of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Param {
    name: &'static str,
    kind: Kind,
    required: bool,
    /// The name is followed by a number below this.
    count: Option<u8>,
}

impl Param {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false, count: None }
    }

    pub(super) const fn text(name: &'static str, longest: usize) -> Self {
        Self::new(name, Kind::Text(longest))
    }

    pub(super) const fn integer(name: &'static str, least: i64, most: i64) -> Self {
        Self::new(name, Kind::Integer(least, most))
    }

    pub(super) const fn boolean(name: &'static str) -> Self {
        Self::new(name, Kind::Boolean)
    }

    pub(super) const fn list(name: &'static str) -> Self {
        Self::new(name, Kind::List)
    }

    pub(super) const fn one_of(name: &'static str, values: &'static [&'static str]) -> Self {
        Self::new(name, Kind::OneOf(values))
    }

    pub(super) const fn format(name: &'static str, check: fn(&str) -> Result<(), String>) -> Self {
        Self::new(name, Kind::Format(check))
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The name is followed by a number from 0 on, so many of them.
    pub(super) const fn indexed(self, count: u8) -> Self {
        Self { count: Some(count), ..self }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    fn is_named(&self, name: &str) -> bool {
        match self.count {
            None => self.name == name,
            Some(count) => name.strip_prefix(self.name).is_some_and(|digits| {
                digits.parse::<u8>().is_ok_and(|at| at < count && at.to_string() == digits)
            }),
        }
    }

    fn check(&self, given: &Given) -> Result<(), String> {
        let text = match (given, self.kind) {
            (Given::List(_), Kind::List) => return Ok(()),
            (Given::List(_), _) => {
                return Err("type check ('string') failed - got ARRAY".to_owned());
            }
            (Given::Other(what), _) => {
                return Err(format!("type check ('string') failed - got {what}"));
            }
            (Given::Text(text), _) => text,
        };
        match self.kind {
            Kind::Text(longest) if text.chars().count() > longest => {
                Err(format!("value may only be {longest} characters long"))
            }
            Kind::Text(_) | Kind::List => Ok(()),
            Kind::Boolean if matches!(text.as_str(), "0" | "1") => Ok(()),
            Kind::Boolean => Err(format!("type check ('boolean') failed - got '{text}'")),
            Kind::Integer(least, most) => match text.parse::<i64>() {
                Err(_) => Err(format!("type check ('integer') failed - got '{text}'")),
                Ok(number) if number < least => {
                    Err(format!("value must have a minimum value of {least}"))
                }
                Ok(number) if number > most => {
                    Err(format!("value must have a maximum value of {most}"))
                }
                Ok(_) => Ok(()),
            },
            Kind::OneOf(values) if values.contains(&text.as_str()) => Ok(()),
            Kind::OneOf(values) => Err(format!(
                "value '{text}' does not have a value in the enumeration '{}'",
                values.join(", ")
            )),
            Kind::Format(check) => check(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[Param] = &[
        Param::text("name", 5).required(),
        Param::boolean("flag"),
        Param::integer("number", 1, 9),
        Param::list("items"),
        Param::text("scsi", 99).indexed(31),
    ];

    fn errors(params: &Params) -> Vec<(String, String)> {
        match params.check(&[SCHEMA]) {
            Ok(()) => Vec::new(),
            Err(Refused::Parameters(errors)) => errors.into_iter().collect(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn forms_are_split_as_perl_does() {
        let params = Params::form("name=a%20b+c&items=x;items=y&scsi1=z");
        assert_eq!(params.get("name"), Some("a b c"));
        assert_eq!(params.list("items"), ["x", "y"]);
        assert_eq!(errors(&params), []);
    }

    #[test]
    fn booleans_are_numbers_in_forms_and_anything_true_in_json() {
        let form = Params::form("name=a&flag=true");
        assert_eq!(errors(&form)[0].1, "type check ('boolean') failed - got 'true'");
        let json =
            Params::json(br#"{"name":"a","flag":true,"number":3,"items":["a","b"]}"#).unwrap();
        assert_eq!(errors(&json), []);
        assert!(json.flag("flag", false));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let errors = errors(&Params::form("other=1&number=10&scsi31=a"));
        let texts: Vec<_> = errors.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let extra =
            "property is not defined in schema and the schema does not allow additional properties";
        assert_eq!(
            texts,
            [
                ("name", "property is missing and it is not optional"),
                ("number", "value must have a maximum value of 9"),
                ("other", extra),
                ("scsi31", extra),
            ]
        );
    }
}
