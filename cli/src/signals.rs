//! Signals as requests to stop: graceful, then forced, then at once.

use flow_engine::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::abort::Abort;
use crate::exit::Exit;

/// The signals that ask flow to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    asked: Stop,
    ended_by: Exit,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Stop in this way.
    Stop(Stop),
    /// Leave now; what is in flight is settled by the next session.
    AtOnce,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The operating system refuses.
    pub(crate) fn listen() -> Result<Self, Abort> {
        let on = |kind| {
            signal(kind).map_err(|error| Abort::io(Exit::Bug, "signals cannot be received", error))
        };
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hang_up: on(SignalKind::hangup())?,
            asked: Stop::No,
            ended_by: Exit::Interrupted,
        })
    }

    /// The next request.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost.
    pub(crate) async fn next(&mut self) -> Request {
        let gentle = tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
            _ = self.hang_up.recv() => false,
        };
        if !gentle {
            self.ended_by = Exit::Terminated;
        }
        let next = match (self.asked, gentle) {
            (Stop::No, true) => Stop::Graceful,
            (Stop::No | Stop::Graceful, _) => Stop::Forced,
            (Stop::Forced, _) => return Request::AtOnce,
        };
        self.asked = next;
        Request::Stop(next)
    }

    /// How flow exits after the signals so far.
    pub(crate) fn exit(&self) -> Exit {
        self.ended_by
    }
}
