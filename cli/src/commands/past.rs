//! Where commands that only read find what happened: site, history, workflow.

use flow_engine::RunId;
use flow_engine::workflow::Workflow;
use flow_state::{Reader, RunSummary, SiteDir};
use time::OffsetDateTime;

use crate::abort::Abort;
use crate::args::Global;
use crate::assets::{self, Asset};
use crate::exit::Exit;
use crate::site::{self, SiteAt};
use crate::workflow::{self, Set};
use crate::{env, execution};

/// The sites that need no name, in the order of preference.
const UNNAMED: [&str; 2] = ["lab", "local"];

/// The history of a site. Takes no lock and never waits.
pub(super) struct Past {
    pub(super) site: SiteAt,
    pub(super) dir: SiteDir,
    reader: Option<Reader>,
}

impl Past {
    /// The site that was named; else that of the workflow; else where something ran last.
    ///
    /// # Errors
    ///
    /// There is no such site or workflow, or the state is there and cannot be read.
    pub(super) fn find(global: &Global, workflow: Option<&str>) -> Result<Self, Abort> {
        let named = global.site.is_some() || env::text(env::SITE).is_some();
        if named {
            return Self::of(site::resolve(global.site.as_deref(), None)?);
        }
        if let Some(word) = workflow {
            let asset = assets::workflow(word)?;
            return Self::of(site::resolve(None, Some(&asset))?);
        }
        let mut newest: Option<(i64, Self)> = None;
        for name in UNNAMED {
            let mut site = site::resolve(Some(name), None)?;
            site.named = false;
            let past = Self::of(site)?;
            let at = past.newest(None)?.map_or(i64::MIN, |run| run.started_at);
            if newest.as_ref().is_none_or(|(before, _)| *before < at) {
                newest = Some((at, past));
            }
        }
        let (_, past) = newest.expect("there are unnamed sites");
        Ok(past)
    }

    fn of(site: SiteAt) -> Result<Self, Abort> {
        let dir = SiteDir::new(&site::root(), &site.site.name);
        let reader = Reader::open(&dir).map_err(execution::state)?;
        Ok(Self { site, dir, reader })
    }

    /// The history.
    ///
    /// # Errors
    ///
    /// Nothing ever ran here.
    pub(super) fn reader(&self) -> Result<&Reader, Abort> {
        self.reader.as_ref().ok_or_else(|| self.nothing("nothing has run"))
    }

    /// All runs, oldest first; none where nothing ever ran.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub(super) fn runs(&self) -> Result<Vec<RunSummary>, Abort> {
        let Some(reader) = &self.reader else { return Ok(Vec::new()) };
        reader.runs().map_err(execution::state)
    }

    /// The newest run, of one workflow or of any.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub(super) fn newest(&self, workflow: Option<&str>) -> Result<Option<RunSummary>, Abort> {
        let Some(reader) = &self.reader else { return Ok(None) };
        reader.latest_run(workflow).map_err(execution::state)
    }

    /// The run of this number, or the newest one, of one workflow or of any.
    ///
    /// # Errors
    ///
    /// There is none, or the state cannot be read.
    pub(super) fn run(
        &self,
        number: Option<u32>,
        workflow: Option<&str>,
    ) -> Result<RunSummary, Abort> {
        let Some(number) = number else {
            return self.newest(workflow)?.ok_or_else(|| match workflow {
                Some(workflow) => self.nothing(&format!("`{workflow}` has not run")),
                None => self.nothing("nothing has run"),
            });
        };
        let run = self.runs()?.into_iter().find(|run| run.run == RunId(number));
        run.ok_or_else(|| {
            let message = format!("there is no run {number} of {}", self.site.site.name);
            let help = format!("`flow runs{}` lists them", self.site.flag());
            Abort::words(Exit::Usage, "state::no-run", message, help)
        })
    }

    fn nothing(&self, what: &str) -> Abort {
        let message = format!("{what} on {} yet", self.site.site.name);
        let help = format!("`flow run{}` begins", self.site.flag());
        Abort::words(Exit::Usage, "state::nothing", message, help)
    }

    /// The workflow of a run as its file is now, with the inputs of that run; where the file is
    /// not found by its name, as the run read it.
    ///
    /// # Errors
    ///
    /// It is wrong, or neither the file nor the text is there.
    pub(super) fn workflow(
        &self,
        run: &RunSummary,
        asked: Option<&str>,
    ) -> Result<Workflow, Abort> {
        let set = Set::from_recorded(&run.started.inputs);
        workflow::load(&self.asset(run, asked)?, &self.site, set)
    }

    /// The file of a run's workflow; see [`Past::workflow`].
    ///
    /// # Errors
    ///
    /// Neither the file nor the text is there.
    pub(super) fn asset(&self, run: &RunSummary, asked: Option<&str>) -> Result<Asset, Abort> {
        let found = assets::workflow(asked.unwrap_or(&run.started.file));
        if found.is_ok() || asked.is_some() {
            return found;
        }
        let text = self.reader()?.text(&run.started.text).map_err(execution::state)?;
        let shown = format!("{}.toml, as run {} read it", run.workflow, run.run);
        text.map(|text| Asset { shown, text, path: None }).map_or(found, Ok)
    }
}

/// The name under which the history keeps a workflow that was asked for by name or path.
///
/// # Errors
///
/// There is no such file.
pub(super) fn name_of(word: &str) -> Result<String, Abort> {
    let asset = assets::workflow(word)?;
    let table: toml::Table = asset.text.parse().unwrap_or_default();
    let name = table.get("workflow").and_then(|workflow| workflow.get("name")?.as_str());
    Ok(name.unwrap_or(word).to_owned())
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    i64::try_from(now).unwrap_or_default()
}
