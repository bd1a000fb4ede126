//! What instances hand to each other, from a file to the world.

use serde_json::json;

use super::*;
use crate::registry::Registry;
use crate::workflow::{Given, Source, Sources, load};

const FILE: &str = r#"
[workflow]
name = "data"

[tasks.make]
uses = "simulated"
with.size = 3

[tasks.off]
uses = "simulated"
when = false

[tasks.read]
uses = "simulated"
with.id = "${tasks.make.id}"
with.password = "${tasks.make.key}"
with.off = '${coalesce(tasks.off.id, "none")}'
"#;

struct Text;

impl Sources for Text {
    fn workflow(&self, name: &str, _: Option<&str>) -> Result<Source, String> {
        Ok(Source { name: name.to_owned(), text: FILE.to_owned() })
    }

    fn file(&self, _: &str, _: &str) -> Result<String, String> {
        Err("there is none".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn outputs_and_secrets_reach_what_reads_them_and_nobody_else() {
    let stage = Stage::default();
    let mut kind = Simulated::new(&stage.world, Effect::Converge);
    kind.secret = Some("canary-canary-canary".to_owned());
    let registry = Registry::default().with(kind);
    let loaded = load(&Text, "data.toml", &Given::default(), &registry);
    let workflow = Arc::new(loaded.unwrap_or_else(|report| panic!("{report:?}")));
    let summary = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!((summary.counts().applied, summary.counts().skipped), (2, 1), "{summary:?}");

    let read = crate::InstanceName::parse("read");
    let expected = json!({ "id": "make", "password": "canary-canary-canary", "off": "none" });
    assert_eq!(stage.world.things()[&read], expected);
    assert!(!stage.store.dump().contains("canary"), "{}", stage.store.dump());
    let ledger = stage.store.ledger(&workflow.names());
    let recorded = ledger.row(&read).unwrap().success.as_ref().unwrap();
    assert!(recorded.said.fingerprint.params["password"]["$secret"].is_string());

    let again = execute(&workflow, &stage.store, options(&stage.store, 2)).await.unwrap();
    assert_eq!(again.counts().as_recorded, 2);
    let selected = crate::runner::Selected {
        run: [workflow.find(&read).unwrap()].into(),
        verify: [workflow.find(&crate::InstanceName::parse("make")).unwrap()].into(),
        ..crate::runner::Selected::default()
    };
    let (_keep, stop) = tokio::sync::watch::channel(crate::cx::Stop::No);
    let run = crate::runner::Run {
        ledger,
        selected,
        site: Arc::default(),
        store: Arc::clone(&stage.store) as Arc<dyn crate::journal::Store>,
        vault: Arc::clone(&stage.store) as Arc<dyn crate::journal::Vault>,
        options: options(&stage.store, 3),
        workflow,
    };
    let only = run.execute(&mut crate::report::Silent, stop).await.unwrap();
    assert_eq!((only.counts().as_recorded, only.counts().left_out), (1, 1));
}
