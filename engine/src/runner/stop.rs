//! What stands before the first write of a run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::report::Progress;

use super::desk::{Desk, Told};

/// Asks a person whether the run may begin to write; called at most once in a run.
pub type Confirm = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Lets the first intent through only when a person has agreed, where one has to be asked.
pub(crate) struct FirstWrite {
    confirm: Option<Confirm>,
    answer: OnceCell<bool>,
}

impl FirstWrite {
    pub(crate) fn new(confirm: Option<Confirm>) -> Self {
        Self { confirm, answer: OnceCell::new() }
    }

    /// Whether intents may be written. All that come while the question is open wait for it.
    pub(crate) async fn is_allowed(&self, desk: &Desk) -> bool {
        let Some(confirm) = &self.confirm else { return true };
        let ask = async || {
            desk.tell(Told::Progress(Progress::BeforeFirstWrite));
            confirm().await
        };
        *self.answer.get_or_init(ask).await
    }

    /// Whether the answer was no.
    pub(crate) fn is_declined(&self) -> bool {
        self.answer.get() == Some(&false)
    }
}
