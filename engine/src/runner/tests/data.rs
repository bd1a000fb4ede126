//! What instances hand to each other, from a file to the world.

use serde_json::{Value, json};

use super::*;
use crate::cx::Notebook;
use crate::depth::DEEPEST;
use crate::depth::tests::nested;
use crate::id::{Attempt, RunId, Seq};
use crate::redact::Redactor;
use crate::registry::Registry;
use crate::runner::Clock;
use crate::runner::desk::Desk;
use crate::runner::page::{Page, PageParts};
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

struct Text(String);

impl Sources for Text {
    fn workflow(&self, name: &str, _: Option<&str>) -> Result<Source, String> {
        Ok(Source { name: name.to_owned(), text: self.0.clone() })
    }

    fn file(&self, _: &str, _: &str) -> Result<String, String> {
        Err("there is none".to_owned())
    }

    fn secret(&self, reference: &Value) -> Option<Result<String, String>> {
        Some(Ok(reference["env"].as_str()?.to_owned()))
    }
}

/// Loads a file whose secret inputs are set to these texts.
pub(super) fn loaded(text: &str, kind: Simulated, secrets: &[(&str, &str)]) -> Arc<Workflow> {
    let inputs = secrets.iter().map(|(name, _)| format!("[inputs.{name}]\nsecret = true\n"));
    let text = inputs.chain([text.to_owned()]).collect();
    let set = secrets.iter().map(|(name, value)| ((*name).to_owned(), format!("env:{value}")));
    let given = Given { set: set.collect(), ..Given::default() };
    let loaded = load(&Text(text), "data.toml", &given, &Registry::default().with(kind));
    Arc::new(loaded.unwrap_or_else(|report| panic!("{report:?}")))
}

#[tokio::test(start_paused = true)]
async fn outputs_and_secrets_reach_what_reads_them_and_nobody_else() {
    let stage = Stage::default();
    let mut kind = Simulated::new(&stage.world, Effect::Converge);
    kind.secret = Some("canary-canary-canary".to_owned());
    let workflow = loaded(FILE, kind, &[]);
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

#[tokio::test(start_paused = true)]
async fn i8_an_output_that_holds_a_secret_is_refused_and_handed_to_nobody() {
    const LEAKY: &str = r#"
[tasks.out]
uses = "simulated"
with.say = "https://u:${inputs.token}@host"

[tasks.reader]
uses = "simulated"
with.url = "${tasks.out.said}"

[tasks.quotes]
uses = "simulated"
with.note = "canary-canary-canary"
"#;
    let stage = Stage::default();
    let kind = Simulated::new(&stage.world, Effect::Converge);
    let workflow = loaded(LEAKY, kind, &[("token", "canary-canary-canary")]);
    let at = |name| workflow.find(&crate::InstanceName::parse(name)).unwrap();
    for run in [1, 2] {
        let summary = execute(&workflow, &stage.store, options(&stage.store, run)).await.unwrap();
        let Ending::Failed { failure, in_doubt: true, .. } = &summary.endings[at("out").index()]
        else {
            panic!("{summary:?}")
        };
        assert_eq!(failure.code, "engine::secret-in-output");
        assert_eq!(
            failure.message,
            "the output `said` of `out` holds a secret, and would be stored in the clear"
        );
        assert_eq!(summary.endings[at("reader").index()], Ending::Blocked(vec![at("out")]));
    }
    assert_eq!((stage.world.times("out"), stage.world.times("quotes")), (1, 1));
    assert!(!stage.store.dump().contains("canary"), "{}", stage.store.dump());
}

fn page_knowing(stage: &Stage, secret: &str) -> Page {
    let redactor = Arc::new(Redactor::default());
    redactor.learn(&json!(secret));
    Page::new(PageParts {
        instance: Instance(0),
        attempt: Attempt(1),
        name: crate::InstanceName::parse("t"),
        desk: Arc::new(Desk::new(RunId(1), Seq(1), Clock::default())),
        vault: Arc::clone(&stage.store) as Arc<dyn crate::journal::Vault>,
        redactor,
        records: std::collections::BTreeMap::new(),
    })
}

#[tokio::test]
async fn i8_a_record_that_holds_a_secret_is_refused() {
    let stage = Stage::default();
    let page = page_knowing(&stage, "canary-canary-canary");
    let refused = page.record("url", "https://u:canary-canary-canary@host").await.unwrap_err();
    assert_eq!(refused.message, "the record `url` of `t` holds a secret");
    assert_eq!(page.recorded("url"), None);
    assert!(page.holds_secret("https://u:canary-canary-canary@host"));
}

#[tokio::test]
async fn i8_the_last_lines_of_a_log_are_those_that_went_out() {
    let stage = Stage::default();
    let page = page_knowing(&stage, "canary-canary-canary");
    page.log(b"of another command\n");
    assert_eq!(page.take_last_lines(0), Vec::<String>::new());
    page.log(b"first\n\nsecond canary-cana");
    page.log(b"ry-canary\nthird");
    assert_eq!(page.take_last_lines(2), ["second ***", "third"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_nested_too_deep_to_be_read_again_is_refused() {
    // One level more in the parameters, two more in the outputs.
    for (levels, refused) in [
        (DEEPEST - 2, None),
        (DEEPEST - 1, Some("what `t` puts out is nested more than 64 levels deep")),
        (DEEPEST, Some("what `t` is given is nested more than 64 levels deep")),
    ] {
        let stage = Stage::default();
        let mut task = one(&stage, Effect::Converge);
        task.with = json!({ "say": nested(levels) });
        let summary = run(&stage, vec![task]).await;
        match refused {
            None => assert_eq!(done(&summary, 0), Done::Created),
            Some(words) => {
                let failure = failure(&summary, 0);
                assert_eq!((&*failure.code, &*failure.message), ("engine::too-deep", words));
            }
        }
    }
}
