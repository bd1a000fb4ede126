use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{Done, Facts, Fingerprint, Intent, Origin, RunEnded};
use crate::kind::Retry;

/// What can happen to an instance, without what does not matter here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Happened {
    Intent,
    Record,
    Made,
    Verified,
    Unchanged,
    Failed { in_doubt: bool },
    DidNotTakeHold,
    Destroyed,
    Elsewhere,
}

fn happened() -> impl Strategy<Value = Vec<Happened>> {
    let one = prop_oneof![
        Just(Happened::Intent),
        Just(Happened::Record),
        Just(Happened::Made),
        Just(Happened::Verified),
        Just(Happened::Unchanged),
        any::<bool>().prop_map(|in_doubt| Happened::Failed { in_doubt }),
        Just(Happened::DidNotTakeHold),
        Just(Happened::Destroyed),
        Just(Happened::Elsewhere),
    ];
    prop::collection::vec(one, 0..30)
}

fn success(done: Done, generation: u64) -> Body {
    Body::Outcome(Outcome::Succeeded(Arc::new(Success {
        done,
        outputs: json!({ "generation": generation }).into(),
        secrets: BTreeMap::new(),
        origin: Origin::Made,
        generation: Generation(generation),
        token: Token::default(),
        handle: None,
        fingerprint: Fingerprint::default(),
        facts: Facts::default(),
        notes: Vec::new(),
        drift: None,
        probe_ms: 1,
        apply_ms: done.is_applied().then_some(generation),
    })))
}

fn body(what: Happened, seq: u64) -> Body {
    match what {
        Happened::Intent => {
            Body::Intent(Intent { attempt: Attempt(1), token: Token::default(), from_absent: true })
        }
        Happened::Record => Body::Record { key: "key".to_owned(), value: seq.to_string() },
        Happened::Made => success(Done::Created, seq),
        Happened::Verified => success(Done::UpToDate, seq),
        Happened::Unchanged => {
            Body::Outcome(Outcome::Unchanged { done: Done::UpToDate, probe_ms: 1 })
        }
        Happened::Failed { in_doubt } => Body::Outcome(Outcome::Failed {
            failure: Failure::new("a::b", "failed", Retry::Never),
            attempt: Attempt(1),
            in_doubt,
            took: 0,
        }),
        Happened::DidNotTakeHold => Body::Outcome(Outcome::DidNotTakeHold),
        Happened::Destroyed => Body::Outcome(Outcome::Destroyed),
        Happened::Elsewhere => Body::End(RunEnded::Complete),
    }
}

fn events(happened: &[Happened]) -> Vec<Event> {
    (1..)
        .zip(happened)
        .map(|(seq, what)| Event {
            seq: Seq(seq),
            run: RunId(1),
            instance: None,
            at: i64::try_from(seq).unwrap(),
            body: body(*what, seq),
        })
        .collect()
}

fn folded(events: &[Event]) -> Row {
    let name = InstanceName::parse("t");
    let mut ledger = Ledger::default();
    for event in events {
        ledger.fold(&name, event);
    }
    ledger.take(&name).unwrap_or_default()
}

fn last(happened: &[Happened], which: impl Fn(Happened) -> bool) -> Option<usize> {
    happened.iter().rposition(|what| which(*what))
}

proptest! {
    #[test]
    fn an_intent_is_open_until_something_closes_it(happened in happened()) {
        let row = folded(&events(&happened));
        let intent = last(&happened, |what| what == Happened::Intent);
        let closed = last(&happened, |what| match what {
            Happened::Made
            | Happened::Verified
            | Happened::Failed { in_doubt: false }
            | Happened::DidNotTakeHold
            | Happened::Destroyed => true,
            Happened::Intent
            | Happened::Record
            | Happened::Unchanged
            | Happened::Failed { in_doubt: true }
            | Happened::Elsewhere => false,
        });
        let open = intent.filter(|intent| closed.is_none_or(|closed| closed < *intent));
        prop_assert_eq!(
            row.open.as_ref().map(|open| open.seq.0),
            open.map(|intent| intent as u64 + 1)
        );
        let record = last(&happened, |what| what == Happened::Record);
        let record = record.filter(|record| open.is_some_and(|intent| intent < *record));
        prop_assert_eq!(
            row.open.and_then(|open| open.records.get("key").cloned()),
            record.map(|record| (record + 1).to_string())
        );
    }

    #[test]
    fn a_success_stands_until_it_is_destroyed(happened in happened()) {
        let row = folded(&events(&happened));
        let success = last(&happened, |what| matches!(what, Happened::Made | Happened::Verified));
        let destroyed = last(&happened, |what| what == Happened::Destroyed);
        let stands = success.filter(|success| destroyed.is_none_or(|gone| gone < *success));
        let unchanged = last(&happened, |what| what == Happened::Unchanged);
        prop_assert_eq!(
            row.success.as_ref().map(|recorded| recorded.seq.0),
            stands.map(|success| unchanged.map_or(success, |at| at.max(success)) as u64 + 1)
        );
        prop_assert_eq!(
            row.success.as_ref().map(|recorded| (*recorded.said.outputs).clone()),
            stands.map(|success| json!({ "generation": success + 1 }))
        );
        let made = last(&happened, |what| what == Happened::Made);
        if let (Some(recorded), Some(made)) = (&row.success, made) {
            // What closed an open intent counts as applied, too.
            if destroyed.is_none_or(|gone| gone < made) {
                prop_assert!(recorded.applied_at >= Some(i64::try_from(made).unwrap() + 1));
            }
        }
        prop_assert!(row.durations.len() <= REMEMBERED && row.probes.len() <= REMEMBERED);
    }

    #[test]
    fn folding_in_two_parts_is_folding(happened in happened(), cut in any::<prop::sample::Index>()) {
        let events = events(&happened);
        let cut = cut.index(events.len() + 1);
        let name = InstanceName::parse("t");
        let mut before = Ledger::default();
        for event in &events[..cut] {
            before.fold(&name, event);
        }
        let rows = before.rows().map(|(name, row)| (name.clone(), row.clone())).collect();
        let mut after = Ledger::from_rows(rows);
        for event in &events[cut..] {
            after.fold(&name, event);
        }
        prop_assert_eq!(after.take(&name).unwrap_or_default(), folded(&events));
    }
}
