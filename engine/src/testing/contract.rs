//! What every store has to keep.

use crate::event::{Body, Event};
use crate::id::{RunId, Seq};
use crate::journal::{Batch, Store};

/// Appends to a fresh store, and compares what it has kept afterwards.
///
/// `read` answers with all events that are durable, in their order, as a second reader sees them
/// at that moment.
///
/// # Panics
///
/// The store does not keep its contract.
pub async fn store_keeps_its_contract(store: &dyn Store, read: impl AsyncFn() -> Vec<Event>) {
    let event = |seq: u64, body: Body| Event {
        seq: Seq(seq),
        run: RunId(1),
        instance: None,
        at: 1_000,
        body,
    };
    let first = vec![
        event(1, Body::Run(Box::default())),
        event(2, Body::Edit { user: "somebody".to_owned(), what: "something".to_owned() }),
    ];
    let second = vec![event(3, Body::End(crate::event::RunEnded::Complete))];
    let batch = |events: &[Event]| Batch { events: events.into(), ..Batch::default() };

    store.append(batch(&first)).await.expect("a fresh store takes a batch");
    assert_eq!(read().await, first, "an acknowledged batch is there as a whole");
    store.append(batch(&second)).await.expect("the next batch follows");
    assert_eq!(read().await, [first, second].concat(), "batches keep their order");
    store.append(batch(&[])).await.expect("an empty batch is nothing");
}
