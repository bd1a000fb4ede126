//! `schematic`: tells the image factory what the machines' images are made of.

use flow_engine::{Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{Schematic as Document, Unplain};
use super::factory::{Factory, FactoryError, Trust};
use crate::proxmox::Deadline;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct Schematic;

/// What images are made of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The image factory, `https://factory.talos.dev`.
    factory: String,
    /// Authorities that are trusted beside the public ones: one, or a list.
    #[serde(default)]
    trust: Trust,
    /// How long one call may take; 30 s if nothing is said.
    #[serde(default)]
    call: Deadline,
    /// The version of Talos, as `v1.13.4`.
    version: String,
    /// Official system extensions.
    #[serde(default)]
    extensions: Vec<String>,
    /// Further kernel arguments, in order.
    #[serde(default)]
    kernel_args: Vec<String>,
}

/// What the factory knows.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The id of the schematic.
    id: String,
    /// The image of the installer of this schematic and version.
    installer: String,
}

/// Why the factory does not know the schematic.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Factory(#[from] FactoryError),
}

impl From<Unplain> for Error {
    fn from(error: Unplain) -> Self {
        Self::Factory(error.into())
    }
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Factory(error) => error.retry(),
        }
    }
}

impl Params {
    fn document(&self) -> Result<Document, Unplain> {
        Document::new(&self.kernel_args, &self.extensions)
    }

    async fn factory(&self) -> Result<Factory, FactoryError> {
        Factory::new(&self.factory, &self.trust, self.call).await
    }
}

impl Kind for Schematic {
    const NAME: &'static str = "schematic";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Tell the image factory what images are made of",
        details: "The id is computed here too, and must be the factory's. Schematics are public \
                  and named by their content, so there is nothing to remove.",
        example: r#"
            factory = "https://factory.talos.dev"
            trust = []
            call = "30s"
            version = "v1.13.4"
            extensions = ["siderolabs/qemu-guest-agent", "siderolabs/tailscale"]
            kernel-args = ["net.ifnames=0"]
        "#,
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle; // public, and named by its content
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let factory = params.factory().await?;
        let id = params.document()?.id();
        if !factory.knows(&id).await? {
            return Ok(Verdict::Absent(Mark::Nowhere));
        }
        let installer = factory.installer(&id, &params.version);
        Ok(Verdict::satisfied(Outputs { id, installer }))
    }

    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let document = params.document()?;
        Ok(params.factory().await?.tell(&document).await?)
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms_to_the_contract() {
        use crate::conformance::{Case, conforms};
        conforms(&Case::new(Schematic), async |world| crate::image::planned::schematic(world))
            .await;
    }
}
