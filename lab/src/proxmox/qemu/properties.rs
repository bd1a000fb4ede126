//! Property strings, `a,b=c`, and the forms that the server gives them.

use std::{collections::BTreeMap, fmt};

/// A property string: the default key's value, and the others by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) first: Option<String>,
    pub(super) rest: BTreeMap<String, String>,
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.rest.iter().map(|(key, value)| format!("{key}={value}"));
        let all: Vec<String> = self.first.iter().cloned().chain(rest).collect();
        f.write_str(&all.join(","))
    }
}

impl Properties {
    /// Splits a property string.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut properties = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let part = part.trim();
            match part.split_once('=') {
                None if properties.first.is_none() => properties.first = Some(part.to_owned()),
                None => {
                    return Err(format!(
                        "value without key, but schema does not define a default key ({part})"
                    ));
                }
                Some((key, value)) => {
                    if properties.rest.insert(key.to_owned(), value.to_owned()).is_some() {
                        return Err(format!(
                            "duplicate key in comma-separated list property: {key}"
                        ));
                    }
                }
            }
        }
        Ok(properties)
    }

    /// The default key's value, also if the key was written.
    pub(super) fn default_key(mut self, names: &[&str]) -> Result<Self, String> {
        for name in names {
            if let Some(value) = self.rest.remove(*name)
                && self.first.replace(value).is_some()
            {
                return Err(format!("duplicate key in comma-separated list property: {name}"));
            }
        }
        Ok(self)
    }

    /// Refuses keys that a property string has not.
    pub(super) fn only(self, keys: &[&str]) -> Result<Self, String> {
        match self.rest.keys().find(|key| !keys.contains(&key.as_str())) {
            None => Ok(self),
            Some(key) => Err(format!(
                "invalid format - format error\n{key}: property is not defined in schema and the \
                 schema does not allow additional properties"
            )),
        }
    }

    /// Writes booleans as the server does.
    pub(super) fn booleans(mut self, keys: &[&str]) -> Result<Self, String> {
        for key in keys {
            if let Some(value) = self.rest.get_mut(*key) {
                *value = boolean(value)
                    .map_err(|text| format!("invalid format - format error\n{key}: {text}"))?;
            }
        }
        Ok(self)
    }
}

/// A boolean inside a property string: `on`, `yes` and `true` are 1.
pub(super) fn boolean(text: &str) -> Result<String, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Ok("1".to_owned()),
        "0" | "off" | "no" | "false" => Ok("0".to_owned()),
        _ => Err(format!("type check ('boolean') failed - got '{text}'")),
    }
}

/// A size in the largest unit that it is a whole number of.
pub(super) fn size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let unit = units.into_iter().find(|(_, bits)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    unit.map_or_else(|| bytes.to_string(), |(name, bits)| format!("{}{name}", bytes >> bits))
}

/// The bytes of a size, which has no unit or one of `K`, `M`, `G`, `T`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let bits = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => 0,
    };
    let number = if bits == 0 { text } else { &text[..text.len() - 1] };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_strings_are_sorted_behind_the_default_key() {
        let parsed = Properties::parse("local:0,ssd=on,discard=on,iothread=true").unwrap();
        let normal = parsed.booleans(&["ssd", "iothread"]).unwrap();
        assert_eq!(normal.to_string(), "local:0,discard=on,iothread=1,ssd=1");
        assert!(Properties::parse("a,a=1,a=2").is_err());
        assert!(Properties::parse("a,b").is_err());
    }

    #[test]
    fn sizes_have_the_largest_exact_unit() {
        for (text, shown) in
            [("10240M", "10G"), ("1024G", "1T"), ("1000M", "1000M"), ("528K", "528K")]
        {
            assert_eq!(size(bytes(text).unwrap()), shown);
        }
        assert_eq!(bytes("x"), None);
    }
}
