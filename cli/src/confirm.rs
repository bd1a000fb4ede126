//! The question before the first write to a real site.

use std::sync::Arc;

use flow_engine::runner::Confirm;
use tokio::sync::{Notify, oneshot};

use crate::terminal::Terminal;

/// Asks a person whether this run may write to a site, once the screen is free for that.
///
/// The answer is read on a thread of its own, so that signals go on being heard; at the end of
/// the process it is left where it is.
pub(crate) fn confirm(terminal: Terminal, site: String, is_free: Arc<Notify>) -> Confirm {
    Arc::new(move || {
        let (site, is_free) = (site.clone(), Arc::clone(&is_free));
        Box::pin(async move {
            is_free.notified().await;
            let (answer, answered) = oneshot::channel();
            std::thread::spawn(move || answer.send(ask(terminal, &site)));
            answered.await.unwrap_or(false)
        })
    })
}

/// Without a terminal nobody can say yes.
fn ask(terminal: Terminal, site: &str) -> bool {
    if !terminal.can_ask() {
        terminal.say(format!("{site} is a real site: `--yes` lets a run write to it"));
        return false;
    }
    terminal.say(format!("From here on this run writes to {site}. It destroys nothing."));
    terminal.say("Go on? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}
