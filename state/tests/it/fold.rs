//! The ledger is the fold of the history, whenever it is written down.

use flow_engine::event::{Body, Done, Outcome};
use flow_engine::ledger::Ledger;
use flow_engine::{Attempt, Failure, Retry};
use proptest::prelude::*;

use crate::support::{Clerk, Place, WORKFLOW, begin, intent, name, outcome, started, succeeded};

const INSTANCES: u32 = 4;

/// What is appended together.
type Batch = Vec<(Option<u32>, Body)>;

/// What may become of the store between two batches.
#[derive(Debug, Clone, Copy)]
enum Break {
    None,
    Settle,
    Drop,
    Close,
}

fn happening() -> impl Strategy<Value = (Option<u32>, Body)> {
    let failed = |in_doubt| {
        let failure = Failure::new("x::y", "refused", Retry::Backoff);
        Outcome::Failed { failure, attempt: Attempt(1), in_doubt, took: 5 }
    };
    (0..INSTANCES, 0..8_u8).prop_map(move |(who, what)| match what {
        0 | 1 => intent(who),
        2 => succeeded(who),
        3 => (Some(who), Body::Record { key: "pid".to_owned(), value: who.to_string() }),
        4 => outcome(who, failed(who % 2 == 0)),
        5 => outcome(who, Outcome::DidNotTakeHold),
        6 => outcome(who, Outcome::Unchanged { done: Done::UpToDate, probe_ms: 2 }),
        _ => outcome(who, Outcome::Destroyed),
    })
}

fn session() -> impl Strategy<Value = Vec<(Batch, Break)>> {
    let breaks = prop_oneof![
        4 => Just(Break::None),
        1 => Just(Break::Settle),
        1 => Just(Break::Drop),
        1 => Just(Break::Close),
    ];
    prop::collection::vec((prop::collection::vec(happening(), 1..6), breaks), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reopening_gives_the_fold_of_all_events(batches in session()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let mut store = place.begin(INSTANCES);
            let mut clerk = Clerk::of(&store);
            clerk.tell(&store, vec![started(false)]).await;
            let mut expected = Ledger::default();
            for (told, end) in batches {
                let batch = clerk.batch(told);
                for event in &*batch.events {
                    let who = event.instance.map(|instance| name(instance.0)).unwrap();
                    expected.fold(&who, event);
                }
                flow_engine::journal::Store::append(&store, batch).await.unwrap();
                assert_eq!(place.reader().ledger(WORKFLOW).unwrap(), expected);
                match end {
                    Break::None => {}
                    Break::Settle => store.settle().await.unwrap(),
                    Break::Drop => {
                        let run = store.run();
                        drop(store);
                        store = begin(place.open(), INSTANCES, Some(run));
                    }
                    Break::Close => {
                        let run = store.run();
                        store = begin(store.close().unwrap(), INSTANCES, Some(run));
                    }
                }
            }
            drop(store);
            let site = place.open();
            let ledger = site.ledger(WORKFLOW).unwrap();
            let open = ledger.rows().filter(|(_, row)| row.open.is_some()).count();
            assert_eq!(site.open_intents().unwrap().len(), open);
            assert_eq!(ledger, expected);
        });
    }
}
