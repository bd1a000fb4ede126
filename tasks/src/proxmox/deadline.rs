//! The deadline of one network call, as `"30s"` in a task's `with`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long one call may take, if the task does not say.
const DEFAULT: Duration = Duration::from_secs(30);

/// How long one network call may take: a number with `ms`, `s` or `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(Duration);

impl Deadline {
    /// The deadline as time.
    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

/// Reads `500ms`, `0.5s`, `2m`; nothing else, and nothing that is over at once.
fn parse(text: &str) -> Option<Duration> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0)];
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let seconds = number.parse::<f64>().ok()? * factor;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom("a duration is a number with ms, s or m, as `30s`")
        })
    }
}

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

impl JsonSchema for Deadline {
    fn schema_name() -> Cow<'static, str> {
        "Deadline".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9.]+(ms|s|m)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("0.5s"), Some(Duration::from_millis(500)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("2m"), Some(Duration::from_mins(2)));
        for wrong in ["", "30", "0s", "-1s", "s", "1h", "NaNs"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_written_deadline_is_read_back() {
        let deadline = Deadline(Duration::from_millis(1500));
        let json = serde_json::to_value(deadline).unwrap();
        assert_eq!(serde_json::from_value::<Deadline>(json).unwrap(), deadline);
    }
}
