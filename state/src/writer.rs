//! What the store thread does with a batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flow_engine::event::{Body, Event};
use flow_engine::journal::{Batch, StoreError};
use flow_engine::{InstanceName, RunId, Seq};
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::error::QueryError;
use crate::ledger::{self, to_sql};
use crate::site::{Begin, Site};
use crate::vault::SiteVault;
use crate::{codec, queries};

/// Writes the batches of one session.
#[derive(Debug)]
pub(crate) struct Writer {
    site: Site,
    vault: Arc<SiteVault>,
    run: RunId,
    workflow: String,
    /// The stored number of each instance, by its number in the loaded workflow.
    names: Vec<i64>,
    /// What the first batch brings along.
    first: Option<First>,
    next: Seq,
    broken: Option<StoreError>,
    buffer: Vec<u8>,
    commits: Arc<AtomicU64>,
}

/// What becomes durable with the first event of a session, and not before.
#[derive(Debug)]
struct First {
    names: Vec<(i64, InstanceName)>,
    hash: String,
    text: String,
}

impl Writer {
    pub(crate) fn new(
        site: Site,
        begin: Begin,
        vault: Arc<SiteVault>,
        commits: Arc<AtomicU64>,
    ) -> Result<Self, QueryError> {
        let Begin { workflow, text, names, resumed } = begin;
        let run = match resumed {
            Some(run) => run,
            None => new_run(&site)?,
        };
        let (names, new) = number(&site.conn, &workflow, &names)?;
        let hash = base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()));
        let next = ledger::last_seq(&site.conn)?.next();
        let first = Some(First { names: new, hash, text });
        let (broken, buffer) = (None, Vec::new());
        Ok(Self { site, vault, run, workflow, names, first, next, broken, buffer, commits })
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    pub(crate) fn into_site(self) -> Site {
        self.site
    }

    /// Makes a batch durable: the vault first, then all events in one transaction.
    pub(crate) fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        let Batch { events, secrets, all_wait: _ } = batch;
        self.check()?;
        if !secrets.is_empty() {
            self.vault.put(&self.workflow, secrets).map_err(|error| match error {
                // The same batch is tried again, as for the database.
                error if error.is_disk_full() => StoreError::Full,
                error => StoreError::Vault { source: error.into() },
            })?;
        }
        if events.is_empty() {
            return Ok(());
        }
        let written = self.write(&events);
        self.judge(written)
    }

    /// Folds what was written into the ledger.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.check()?;
        let settled = ledger::fold_tail(&mut self.site.conn).map(|folded| {
            self.commits.fetch_add(u64::from(folded), Ordering::Relaxed);
        });
        self.judge(settled)
    }

    fn check(&self) -> Result<(), StoreError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// After anything but a full disk, the state of the file is unknown: never write again.
    fn judge(&mut self, result: Result<(), QueryError>) -> Result<(), StoreError> {
        result.map_err(|error| {
            let error = StoreError::from(error);
            match &error {
                StoreError::Full => {}
                StoreError::Broken { .. } | StoreError::Vault { .. } => {
                    tracing::error!(?error, "the state is not written any more");
                    self.broken = Some(error.clone());
                }
            }
            error
        })
    }

    fn write(&mut self, events: &[Event]) -> Result<(), QueryError> {
        let Self { site, workflow, names, first, buffer, .. } = self;
        let tx = site.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(first) = first {
            first.write(&tx, workflow)?;
        }
        let mut next = self.next;
        {
            let mut add = tx.prepare_cached(queries::ADD_EVENT)?;
            for event in events {
                if event.seq != next {
                    return Err(QueryError::Gap { expected: next, found: event.seq });
                }
                next = next.next();
                let name = match event.instance {
                    None => None,
                    Some(instance) => {
                        Some(names.get(instance.index()).ok_or(QueryError::Stranger { instance })?)
                    }
                };
                codec::write_body(&event.body, buffer);
                let kind = codec::kind(&event.body);
                add.execute((to_sql(event.seq), event.run.0, name, kind, event.at, &*buffer))?;
                note_run(&tx, workflow, event)?;
            }
        }
        tx.commit()?;
        self.first = None;
        self.next = next;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl First {
    fn write(&self, conn: &Connection, workflow: &str) -> Result<(), QueryError> {
        let mut add = conn.prepare_cached(queries::ADD_NAME)?;
        for (id, name) in &self.names {
            add.execute((id, workflow, name.as_str()))?;
        }
        conn.prepare_cached(queries::ADD_TEXT)?.execute((&self.hash, &self.text))?;
        Ok(())
    }
}

/// Keeps the row of a run in step with its events.
fn note_run(conn: &Connection, workflow: &str, event: &Event) -> Result<(), QueryError> {
    let Event { seq, run, at, body, instance: _ } = event;
    match body {
        Body::Run(_) => {
            let row = (run.0, workflow, to_sql(*seq), at);
            conn.prepare_cached(queries::RUN_STARTS)?.execute(row)?;
        }
        Body::End(how) => {
            let row = (run.0, to_sql(*seq), at, codec::ended(*how));
            conn.prepare_cached(queries::RUN_ENDS)?.execute(row)?;
        }
        Body::Intent(_) | Body::Record { .. } | Body::Outcome(_) | Body::Edit { .. } => {}
    }
    Ok(())
}

/// The number after all that have a row or have left logs.
fn new_run(site: &Site) -> Result<RunId, QueryError> {
    let last: u32 = site.conn.prepare_cached(queries::LAST_RUN)?.query_row([], |row| row.get(0))?;
    let logged = site.dir.last_logged_run().map_or(0, |run| run.0);
    Ok(RunId(last.max(logged).saturating_add(1)))
}

/// What an instance is called in the database.
type Numbered = (i64, InstanceName);

/// The stored numbers of instances, and those of them that are not stored yet.
fn number(
    conn: &Connection,
    workflow: &str,
    names: &[InstanceName],
) -> Result<(Vec<i64>, Vec<Numbered>), QueryError> {
    let mut known: HashMap<String, i64> = HashMap::new();
    let mut stored = conn.prepare_cached(queries::NAMES_OF)?;
    let mut rows = stored.query([workflow])?;
    while let Some(row) = rows.next()? {
        known.insert(row.get(1)?, row.get(0)?);
    }
    let mut last: i64 = conn.prepare_cached(queries::LAST_NAME)?.query_row([], |row| row.get(0))?;
    let mut numbers = Vec::with_capacity(names.len());
    let mut new = Vec::new();
    for name in names {
        let number = known.get(name.as_str()).copied().unwrap_or_else(|| {
            last += 1;
            new.push((last, name.clone()));
            last
        });
        numbers.push(number);
    }
    Ok((numbers, new))
}

#[cfg(test)]
mod tests {
    use flow_engine::event::RunStarted;

    use super::*;
    use crate::dir::SiteDir;
    use crate::vault::VaultPlace;

    fn batch(seq: u64, command: &str) -> Batch {
        let started = RunStarted { command: command.to_owned(), ..RunStarted::default() };
        let body = Body::Run(Box::new(started));
        let event = Event { seq: Seq(seq), run: RunId(1), instance: None, at: 0, body };
        Batch { events: [event].into(), ..Batch::default() }
    }

    #[test]
    fn a_full_disk_loses_nothing_and_the_same_batch_can_be_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        let site = Site::open(&dir, "flow run").unwrap();
        let vault = Arc::new(SiteVault::new(VaultPlace::of(&dir, root.path().join("identity"))));
        let begin = Begin {
            workflow: "w".to_owned(),
            text: String::new(),
            names: Arc::new([]),
            resumed: None,
        };
        let mut writer = Writer::new(site, begin, vault, Arc::default()).unwrap();
        let limit = |writer: &Writer, pages: i64| {
            writer.site.conn.pragma_update(None, "max_page_count", pages).unwrap();
        };
        writer.append(batch(1, "a")).unwrap();
        limit(&writer, 1);
        for _ in 0..3 {
            let error = writer.append(batch(2, &"b".repeat(100_000))).unwrap_err();
            assert!(matches!(error, StoreError::Full), "{error:?}");
        }
        limit(&writer, 1_000_000);
        writer.append(batch(2, &"b".repeat(100_000))).unwrap();
        assert_eq!(ledger::last_seq(&writer.site.conn).unwrap(), Seq(2));
    }
}
