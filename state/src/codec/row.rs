//! The stored form of a ledger row: what every look changes.
//!
//! What the last success said stands beside it in the form that its event has, so that a run
//! with nothing to do neither writes nor reads it again.

use std::sync::Arc;

use flow_engine::event::{Done, Success};
use flow_engine::ledger::{Failed, Open, Recorded, Row};
use flow_engine::{Generation, RunId, Seq, Token};
use serde::{Deserialize, Serialize};

use super::{CodecError, ROW, SUCCESS, read, write};

/// A [`Row`] without what was said.
#[derive(Serialize, Deserialize)]
struct Stored {
    success: Option<Stands>,
    failure: Option<Failed>,
    open: Option<Open>,
    generation: Generation,
    once: Option<Token>,
    durations: Vec<u64>,
    probes: Vec<u64>,
}

/// A [`Recorded`] without what was said.
#[derive(Serialize, Deserialize)]
struct Stands {
    seq: Seq,
    run: RunId,
    at: i64,
    done: Done,
    applied_at: Option<i64>,
}

/// Writes a ledger row, without what its success said, into a buffer that is used again.
pub(crate) fn write_row(row: Row, buffer: &mut Vec<u8>) {
    let Row { success, failure, open, generation, once, durations, probes } = row;
    let success = success.map(|Recorded { seq, run, at, done, applied_at, said: _ }| Stands {
        seq,
        run,
        at,
        done,
        applied_at,
    });
    let stored = Stored { success, failure, open, generation, once, durations, probes };
    write(ROW, &stored, buffer);
}

/// Writes what a success said into a buffer that is used again.
pub(crate) fn write_said(said: &Success, buffer: &mut Vec<u8>) {
    write(SUCCESS, said, buffer);
}

/// Reads a ledger row from its two parts.
pub(crate) fn read_row(row: &[u8], said: Option<&[u8]>) -> Result<Row, CodecError> {
    let stored: Stored = read_form(ROW, row)?;
    let Stored { success, failure, open, generation, once, durations, probes } = stored;
    let success = match (success, said) {
        (None, _) => None,
        (Some(_), None) => return Err(CodecError::Empty),
        (Some(Stands { seq, run, at, done, applied_at }), Some(said)) => {
            let said: Arc<Success> = read_form(SUCCESS, said)?;
            Some(Recorded { seq, run, at, done, applied_at, said })
        }
    };
    Ok(Row { success, failure, open, generation, once, durations, probes })
}

fn read_form<T: serde::de::DeserializeOwned>(form: u8, stored: &[u8]) -> Result<T, CodecError> {
    match stored.split_first().ok_or(CodecError::Empty)? {
        (found, json) if *found == form => read(json),
        (unknown, _) => Err(CodecError::Form(*unknown)),
    }
}
