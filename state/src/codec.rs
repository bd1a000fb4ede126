//! The stored form of events and of ledger rows.
//!
//! One byte of version, then the form of that version; so far there is one, JSON. A later version
//! of flow reads all earlier forms; a form that it does not know is damage, never skipped.

use flow_engine::event::{Body, RunEnded};
use flow_engine::ledger::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON, as serde writes the engine's types.
const JSON: u8 = 1;

/// Why a stored form cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// There is nothing at all.
    #[error("it is empty")]
    Empty,
    /// A later flow, or nobody, has written it.
    #[error("its form has the unknown version {0}")]
    Version(u8),
    /// It has a known form and does not make sense.
    #[error("its content makes no sense")]
    Json(#[from] serde_json::Error),
}

/// Writes an event's body into a buffer that is used again and again.
pub(crate) fn write_body(body: &Body, buffer: &mut Vec<u8>) {
    write(body, buffer);
}

/// Reads an event's body.
pub(crate) fn read_body(stored: &[u8]) -> Result<Body, CodecError> {
    read(stored)
}

/// Writes a ledger row into a buffer that is used again and again.
pub(crate) fn write_row(row: &Row, buffer: &mut Vec<u8>) {
    write(row, buffer);
}

/// Reads a ledger row.
pub(crate) fn read_row(stored: &[u8]) -> Result<Row, CodecError> {
    read(stored)
}

/// The number under which an event's sort is stored.
pub(crate) fn kind(body: &Body) -> i64 {
    match body {
        Body::Run(_) => 1,
        Body::Intent(_) => 2,
        Body::Record { .. } => 3,
        Body::Outcome(_) => 4,
        Body::Edit { .. } => 5,
        Body::End(_) => 6,
    }
}

/// The stored spelling of how a session ended.
pub(crate) fn ended(ended: RunEnded) -> &'static str {
    match ended {
        RunEnded::Complete => "complete",
        RunEnded::Failed => "failed",
        RunEnded::Interrupted => "interrupted",
    }
}

/// Reads [`ended`] back.
pub(crate) fn read_ended(stored: &str) -> Option<RunEnded> {
    match stored {
        "complete" => Some(RunEnded::Complete),
        "failed" => Some(RunEnded::Failed),
        "interrupted" => Some(RunEnded::Interrupted),
        _ => None,
    }
}

fn write(value: &impl Serialize, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(JSON);
    serde_json::to_writer(buffer, value).expect("events and rows have string keys only");
}

fn read<T: DeserializeOwned>(stored: &[u8]) -> Result<T, CodecError> {
    match stored.split_first() {
        None => Err(CodecError::Empty),
        Some((&JSON, json)) => Ok(serde_json::from_slice(json)?),
        Some((&version, _)) => Err(CodecError::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use flow_engine::event::{Intent, Outcome, RunStarted};
    use flow_engine::{Attempt, Generation, InstanceName, Token};

    use super::*;

    fn stored(body: &Body) -> String {
        let mut buffer = Vec::new();
        write_body(body, &mut buffer);
        assert_eq!(&read_body(&buffer).unwrap(), body);
        assert_eq!(buffer[0], 1);
        String::from_utf8(buffer[1..].to_vec()).unwrap()
    }

    #[test]
    fn the_first_form_stays_readable() {
        let token = Token(vec![(InstanceName::parse("create-vm/worker0"), Generation(2))]);
        let intent = Intent { attempt: Attempt(1), token, from_absent: true };
        assert_eq!(
            stored(&Body::Intent(intent)),
            r#"{"type":"intent","attempt":1,"token":[["create-vm/worker0",2]],"from_absent":true}"#
        );
        assert_eq!(
            stored(&Body::Record { key: "upid".into(), value: "7".into() }),
            r#"{"type":"record","key":"upid","value":"7"}"#
        );
        assert_eq!(
            stored(&Body::Outcome(Box::new(Outcome::DidNotTakeHold))),
            r#"{"type":"outcome","how":"did-not-take-hold"}"#
        );
        assert_eq!(
            stored(&Body::Outcome(Box::new(Outcome::Destroyed))),
            r#"{"type":"outcome","how":"destroyed"}"#
        );
        stored(&Body::Run(Box::default()));
        stored(&Body::Run(Box::new(RunStarted { resumed: true, ..RunStarted::default() })));
        stored(&Body::Edit { user: "u".into(), what: "own a".into() });
        for how in [RunEnded::Complete, RunEnded::Failed, RunEnded::Interrupted] {
            stored(&Body::End(how));
            assert_eq!(read_ended(ended(how)), Some(how));
        }
    }

    #[test]
    fn what_nobody_has_written_is_an_error() {
        assert!(matches!(read_body(b""), Err(CodecError::Empty)));
        assert!(matches!(read_body(b"\x02{}"), Err(CodecError::Version(2))));
        assert!(matches!(read_body(b"\x01{\"type\":\"in"), Err(CodecError::Json(_))));
        assert!(matches!(read_row(b"\x01nonsense"), Err(CodecError::Json(_))));
    }
}
