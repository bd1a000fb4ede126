//! Watches: a stream of events, one JSON object a line.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::{StatusCode, header};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use super::{
    cluster::Cluster,
    json::{namespace, set_meta},
    objects::Event,
    read,
    refusal::{Cause, Refusal},
    render::Renderer,
    request::Query,
    selector::Selector,
};

/// How long a watch lasts if the client does not say.
const LONGEST: Duration = Duration::from_mins(30);
/// How often a watch without changes is told the revision.
const BOOKMARK: Duration = Duration::from_mins(1);

/// What a watch is about.
struct Scope {
    resource: String,
    namespace: String,
    selector: Selector,
}

impl Scope {
    fn holds(&self, object: &Value) -> bool {
        (self.namespace.is_empty() || namespace(object) == self.namespace)
            && self.selector.matches(object)
    }

    /// How the watch sees a change: objects come into it and leave it.
    fn see(&self, event: &Event) -> Option<(&'static str, Arc<Value>)> {
        if event.resource != self.resource {
            return None;
        }
        let before = event.before.as_deref().is_some_and(|o| self.holds(o));
        let after = event.after.as_deref().is_some_and(|o| self.holds(o));
        match (before, after) {
            (false, true) => Some(("ADDED", event.shown.clone())),
            (true, true) => Some(("MODIFIED", event.shown.clone())),
            (true, false) if event.after.is_none() => Some(("DELETED", event.shown.clone())),
            (true, false) => {
                let mut last = event.before.as_deref().cloned().unwrap_or_default();
                set_meta(&mut last, "resourceVersion", event.revision.to_string());
                Some(("DELETED", Arc::new(last)))
            }
            (false, false) => None,
        }
    }
}

/// A running watch.
struct Watch {
    cluster: Arc<Cluster>,
    changed: watch::Receiver<u64>,
    renderer: Renderer,
    scope: Scope,
    seen: u64,
    first: bool,
    lines: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
}

/// Begins a watch.
pub(crate) fn watch(
    cluster: &Arc<Cluster>,
    renderer: Renderer,
    space: &str,
    query: &Query,
) -> Result<Response, Refusal> {
    let initial = query.flag("sendInitialEvents");
    if initial && query.text("resourceVersionMatch") != "NotOlderThan" {
        let cause = Cause {
            reason: "FieldValueForbidden",
            field: "resourceVersionMatch".to_owned(),
            message:
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
                    .to_owned(),
        };
        return Err(Refusal::invalid_options("ListOptions", &cause));
    }
    let selector =
        Selector::parse(renderer.kind(), query.text("labelSelector"), query.text("fieldSelector"))?;
    let version = query.version()?;
    let lasts = query.number("timeoutSeconds")?.map_or(LONGEST, Duration::from_secs);
    let now = Instant::now();
    let bookmarks = query.flag("allowWatchBookmarks");
    let mut watch = Watch {
        changed: cluster.changes(),
        cluster: cluster.clone(),
        scope: Scope {
            resource: renderer.kind().resource(),
            namespace: space.to_owned(),
            selector,
        },
        renderer,
        seen: version.unwrap_or_default(),
        first: true,
        lines: VecDeque::new(),
        bookmarks,
        next_bookmark: now + BOOKMARK.min(lasts.saturating_sub(Duration::from_secs(1))),
        end: now + lasts,
        ended: false,
    };
    if initial || version.unwrap_or_default() == 0 {
        watch.list(initial || version.is_none());
    }
    let lines = futures_util::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, Infallible>(line), watch))
    });
    let mut response = Response::new(Body::from_stream(lines));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

impl Watch {
    /// Sends what is there as new.
    fn list(&mut self, mark: bool) {
        let (found, revision) = self.cluster.read(|objects| {
            let kind = self.renderer.kind();
            (
                read::select(objects, kind, &self.scope.namespace, &self.scope.selector),
                objects.revision(),
            )
        });
        for object in found {
            self.send("ADDED", &object);
        }
        self.seen = revision;
        if mark && self.bookmarks {
            self.mark(true);
        }
    }

    fn line(&mut self, kind: &str, object: &Value) {
        self.first = false;
        self.lines
            .push_back(Bytes::from(format!("{}\n", json!({ "type": kind, "object": object }))));
    }

    fn send(&mut self, kind: &str, object: &Value) {
        let shown = self.renderer.event(object, self.first);
        self.line(kind, &shown);
    }

    fn mark(&mut self, initial: bool) {
        let shown = self.renderer.bookmark(self.seen, initial, self.first);
        self.line("BOOKMARK", &shown);
    }

    /// Takes over what happened since.
    fn catch_up(&mut self) {
        self.changed.mark_unchanged();
        let events = self.cluster.read(|objects| {
            let news = objects.since(self.seen)?;
            let seen: Vec<_> = news.filter_map(|e| self.scope.see(e)).collect();
            Some((seen, objects.revision()))
        });
        let Some((events, revision)) = events else {
            let floor = self.cluster.read(super::objects::Objects::floor);
            let refusal =
                Refusal::expired(format!("too old resource version: {} ({floor})", self.seen));
            self.line("ERROR", &refusal.body());
            self.ended = true;
            return;
        };
        self.seen = self.seen.max(revision);
        for (kind, object) in events {
            self.send(kind, &object);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.catch_up();
            if !self.lines.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => if changed.is_err() { return None },
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark += BOOKMARK;
                    self.mark(false);
                }
                () = tokio::time::sleep_until(self.end) => return None,
            }
        }
    }
}
