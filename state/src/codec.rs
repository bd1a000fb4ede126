//! The stored form of events and of ledger rows.
//!
//! The first byte says which form follows: which sort of body, in which version. The list of
//! forms only grows, and every version of flow reads all forms before it; a form that it does not
//! know is damage, never skipped. So far all are JSON, each of one type without a tag around it,
//! because a tag costs a reader more than all the rest.

mod row;

use std::sync::Arc;

use flow_engine::event::{Body, Intent, Outcome, RunEnded, RunStarted, Success};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use row::{read_row, write_row, write_said};

/// [`RunStarted`].
const RUN: u8 = 1;
/// [`Intent`].
const INTENT: u8 = 2;
/// The key and the value of a record.
const RECORD: u8 = 3;
/// [`Success`].
const SUCCESS: u8 = 4;
/// Any other [`Outcome`].
const OUTCOME: u8 = 5;
/// The user and the words of an edit.
const EDIT: u8 = 6;
/// [`RunEnded`].
const END: u8 = 7;
/// A ledger row without what its success said. (8 was a whole one, in schema 1.)
const ROW: u8 = 9;

/// Why a stored form cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    /// There is nothing at all.
    #[error("it is empty")]
    Empty,
    /// A later flow, or nobody, has written it, or it does not belong there.
    #[error("form {0} is not known here")]
    Form(u8),
    /// It has a known form and does not make sense.
    #[error("its content makes no sense")]
    Json(#[from] serde_json::Error),
}

/// Writes an event's body into a buffer that is used again and again.
pub(crate) fn write_body(body: &Body, buffer: &mut Vec<u8>) {
    match body {
        Body::Run(started) => write(RUN, started, buffer),
        Body::Intent(intent) => write(INTENT, intent, buffer),
        Body::Record { key, value } => write(RECORD, &(key, value), buffer),
        Body::Outcome(Outcome::Succeeded(success)) => write(SUCCESS, success, buffer),
        Body::Outcome(outcome) => write(OUTCOME, outcome, buffer),
        Body::Edit { user, what } => write(EDIT, &(user, what), buffer),
        Body::End(how) => write(END, how, buffer),
    }
}

/// Reads an event's body.
pub(crate) fn read_body(stored: &[u8]) -> Result<Body, CodecError> {
    let (form, json) = stored.split_first().ok_or(CodecError::Empty)?;
    Ok(match *form {
        RUN => Body::Run(read::<Box<RunStarted>>(json)?),
        INTENT => Body::Intent(read::<Intent>(json)?),
        RECORD => {
            let (key, value) = read(json)?;
            Body::Record { key, value }
        }
        SUCCESS => Body::Outcome(Outcome::Succeeded(read::<Arc<Success>>(json)?)),
        OUTCOME => Body::Outcome(read::<Outcome>(json)?),
        EDIT => {
            let (user, what) = read(json)?;
            Body::Edit { user, what }
        }
        END => Body::End(read::<RunEnded>(json)?),
        unknown => return Err(CodecError::Form(unknown)),
    })
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

fn write(form: u8, value: &impl Serialize, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.push(form);
    serde_json::to_writer(buffer, value).expect("events and rows have string keys only");
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, CodecError> {
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use flow_engine::event::{Done, Facts, Fingerprint, Origin};
    use flow_engine::{Attempt, Failure, Generation, InstanceName, Retry, Token};
    use serde_json::json;

    use super::*;

    /// Checks that a body comes back, and shows how it is stored.
    fn stored(body: &Body) -> (u8, String) {
        let mut buffer = b"what was there before".to_vec();
        write_body(body, &mut buffer);
        assert_eq!(&read_body(&buffer).unwrap(), body);
        (buffer[0], String::from_utf8(buffer[1..].to_vec()).unwrap())
    }

    fn outcome(outcome: Outcome) -> (u8, String) {
        stored(&Body::Outcome(outcome))
    }

    #[test]
    fn the_first_forms_stay_as_they_are() {
        let token = Token(vec![(InstanceName::parse("create-vm/worker0"), Generation(2))]);
        let intent = Intent { attempt: Attempt(1), token, from_absent: true };
        let json = r#"{"attempt":1,"token":[["create-vm/worker0",2]],"from_absent":true}"#;
        assert_eq!(stored(&Body::Intent(intent)), (2, json.to_owned()));
        let record = Body::Record { key: "upid".into(), value: "7".into() };
        assert_eq!(stored(&record), (3, r#"["upid","7"]"#.to_owned()));
        let json = r#"{"how":"did-not-take-hold"}"#;
        assert_eq!(outcome(Outcome::DidNotTakeHold), (5, json.to_owned()));
        assert_eq!(outcome(Outcome::Destroyed), (5, r#"{"how":"destroyed"}"#.to_owned()));
        let edit = Body::Edit { user: "ada".into(), what: "own a".into() };
        assert_eq!(stored(&edit), (6, r#"["ada","own a"]"#.to_owned()));
        for how in [RunEnded::Complete, RunEnded::Failed, RunEnded::Interrupted] {
            let spelled = format!("\"{}\"", ended(how));
            assert_eq!(stored(&Body::End(how)), (7, spelled));
            assert_eq!(read_ended(ended(how)), Some(how));
        }
        let started = RunStarted { resumed: true, ..RunStarted::default() };
        assert_eq!(stored(&Body::Run(Box::new(started))).0, 1);
    }

    #[test]
    fn outcomes_come_back_whole() {
        let failure = Failure::new("x::y", "refused", Retry::Human)
            .with_help("look")
            .with_causes(vec!["because".to_owned()]);
        let failed = Outcome::Failed { failure, attempt: Attempt(2), in_doubt: true, took: 9 };
        assert_eq!(outcome(failed).0, 5);
        let success = Success {
            done: Done::LeftDrifted,
            outputs: json!({ "list": [1, -2, 0.5, null, true, "ä"], "big": u64::MAX }).into(),
            secrets: [("key".to_owned(), "ab".to_owned())].into(),
            origin: Origin::Found,
            generation: Generation(3),
            token: Token::default(),
            handle: Some(json!({ "vmid": 100 })),
            fingerprint: Fingerprint { params: json!({ "a": {} }), ..Fingerprint::default() },
            facts: Facts { needs: vec![InstanceName::parse("a/b")], ..Facts::default() },
            notes: vec!["careful".to_owned()],
            drift: Some("cores: 2 → 4".to_owned()),
            probe_ms: 1,
            apply_ms: None,
        };
        assert_eq!(outcome(Outcome::Succeeded(success.into())).0, 4);
    }

    #[test]
    fn what_is_nested_as_deep_as_the_engine_takes_comes_back() {
        let deep = (0..64).fold(json!(1), |inner, _| json!({ "in": inner }));
        let success = Success {
            done: Done::Created,
            outputs: deep.clone().into(),
            secrets: std::collections::BTreeMap::new(),
            origin: Origin::Made,
            generation: Generation(1),
            token: Token::default(),
            handle: Some(deep.clone()),
            fingerprint: Fingerprint { params: deep, ..Fingerprint::default() },
            facts: Facts::default(),
            notes: Vec::new(),
            drift: None,
            probe_ms: 1,
            apply_ms: None,
        };
        assert_eq!(outcome(Outcome::Succeeded(success.into())).0, 4);
    }

    #[test]
    fn what_nobody_has_written_is_an_error() {
        assert!(matches!(read_body(b""), Err(CodecError::Empty)));
        assert!(matches!(read_body(b"\x09{}"), Err(CodecError::Form(9))));
        assert!(matches!(read_body(b"\x02{\"attempt\":1"), Err(CodecError::Json(_))));
        assert!(matches!(read_row(b"\x09nonsense", None), Err(CodecError::Json(_))));
        assert!(matches!(read_row(b"\x02{}", None), Err(CodecError::Form(2))));
    }
}
