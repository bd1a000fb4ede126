//! Running a workflow: lock, lab, state, reporter and signals around [`flow_engine::runner::Run`].

mod refused;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use flow_engine::event::{RunEnded, RunStarted, SelectionArgs};
use flow_engine::journal::Vault;
use flow_engine::ledger::Ledger;
use flow_engine::report::Reporter;
use flow_engine::runner::{Confirm, Options, Run, RunError, Selected, Summary};
use flow_engine::workflow::{Selection, Workflow, select};
use flow_engine::{Instance, RunId, Seq, Stop};
use flow_state::{Begin, EventStore, Site, SiteDir, SiteVault, StateError, VaultPlace};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use crate::abort::Abort;
use crate::args::Execution;
use crate::assets::Asset;
use crate::confirm::confirm;
use crate::env;
use crate::exit::{self, Exit};
use crate::lab;
use crate::logs::Logged;
use crate::render::outlook::Outlook;
use crate::render::since::{Since, apart};
use crate::render::text::{count, hang};
use crate::render::{self, selection::SelectionView};
use crate::signals::{Request, Signals};
use crate::site::{self, SiteAt};
use crate::terminal::Terminal;
use crate::terminal::live::Live;
use crate::terminal::plain::Plain;
use crate::terminal::stream::Stream;
use crate::workflow::{self, Set};

/// What is run, and how.
pub(crate) struct Execute<'a> {
    pub(crate) terminal: Terminal,
    pub(crate) asset: &'a Asset,
    pub(crate) site: &'a SiteAt,
    pub(crate) set: Set,
    pub(crate) selection: SelectionArgs,
    pub(crate) how: &'a Execution,
    /// The run that goes on.
    pub(crate) resumed: Option<Resumed>,
}

/// A run that goes on.
pub(crate) struct Resumed {
    pub(crate) run: RunId,
    /// How many sessions it has had.
    pub(crate) sessions: u32,
    /// How it ended, in words.
    pub(crate) words: String,
    /// The workflow's text as it was read last.
    pub(crate) text: Option<String>,
}

/// A run that came to its end.
pub(crate) struct Executed {
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) run: RunId,
    /// How many sessions the run has had, this one included.
    pub(crate) sessions: u32,
    pub(crate) summary: Summary,
    /// Effects that were asked for and have no outcome, as the ledger has them now.
    pub(crate) open: Vec<String>,
    /// How to exit if it was interrupted.
    pub(crate) interrupted: Exit,
}

/// The exit code of a state that cannot be used.
pub(crate) fn state(error: StateError) -> Abort {
    let exit = match error {
        StateError::Locked { .. } => Exit::Locked,
        StateError::Place { .. }
        | StateError::Newer { .. }
        | StateError::Damaged { .. }
        | StateError::Lost { .. }
        | StateError::Full { .. }
        | StateError::Disk { .. }
        | StateError::Database { .. } => Exit::State,
    };
    Abort::new(exit, error)
}

/// The vault of a site; its identity is made by itself where the site holds nothing of worth.
pub(crate) fn vault(dir: &SiteDir, site: &SiteAt) -> Arc<SiteVault> {
    let own = site.folder.join("identity");
    let worthless = site.site.is_lab || site.is_local();
    let identity = if worthless { own } else { env::identity().unwrap_or(own) };
    let place = VaultPlace::of(dir, identity);
    Arc::new(SiteVault::new(VaultPlace { create_identity: worthless, ..place }))
}

/// The command line of this process, as history keeps it. It holds no secret: a secret input
/// takes nothing but a reference.
pub(crate) fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    std::iter::once("flow".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

impl Execute<'_> {
    /// Checks the files, takes the lock, starts the lab if need be, runs, and leaves the state folded.
    ///
    /// # Errors
    ///
    /// Nothing was run, or the run could not be written down.
    pub(crate) async fn execute(self) -> Result<Executed, Abort> {
        // What is wrong with the files is told before anything is made.
        let workflow = Arc::new(workflow::load(self.asset, self.site, self.set.clone())?);
        let selection =
            select(&workflow, &self.selection).map_err(|error| Abort::new(Exit::Usage, error))?;
        let dir = SiteDir::new(&site::root(), &self.site.site.name);
        let opened = Site::open(&dir, &command_line()).map_err(state)?;
        let beside = lab::start(self.site, &self.how.lab)?;
        let ledger = opened.ledger(&workflow.name).map_err(state)?;
        let apart = apart(&workflow, &ledger, opened.open_intents().map_err(state)?);
        let vault = vault(&dir, self.site);
        let begin = Begin {
            workflow: workflow.name.clone(),
            text: workflow.text.clone(),
            names: workflow.names(),
            resumed: self.resumed.as_ref().map(|resumed| resumed.run),
        };
        let store = opened.begin(begin, Arc::clone(&vault)).map_err(state)?;
        let store = Arc::new(store);
        let outlook = self.outlook(&workflow, &ledger, &selection);
        if let Some(banner) = beside.banner(self.site, &self.how.lab) {
            self.terminal.say(banner);
        }
        self.introduce(&workflow, store.run(), &selection, outlook.as_deref());
        self.terminal.say_all(&apart);
        self.terminal.say("");
        let is_free = Arc::new(Notify::new());
        let run = Run {
            ledger,
            selected: selection.selected.clone(),
            site: Arc::new(self.site.context()),
            store: Arc::clone(&store) as Arc<_>,
            vault: Arc::new(vault.of(&workflow.name)) as Arc<dyn Vault>,
            options: self.options(&store, &workflow, &is_free),
            workflow: Arc::clone(&workflow),
        };
        let mut signals = Signals::listen()?;
        let number = store.run();
        let shown = self.reporter(&workflow, &selection, outlook);
        let mut reporter = Logged::new(dir, number, workflow.names(), shown, is_free);
        let ended = supervise(run, &mut reporter, &mut signals).await;
        // The terminal is as it was before whatever is said next.
        reporter.close();
        let ended = ended.map_err(|error| self.run_error(error, &workflow))?;
        let Some(summary) = ended else { self.leave(signals.exit()) };
        let open = settle(store, &workflow.name, summary.ended).await?;
        let sessions = self.resumed.as_ref().map_or(0, |resumed| resumed.sessions) + 1;
        let interrupted = signals.exit();
        Ok(Executed { workflow, run: number, sessions, summary, open, interrupted })
    }

    /// Ends the process, whatever still works in it.
    fn leave(&self, exit: Exit) -> ! {
        let help = "`flow resume` looks at what was in flight";
        let left = Abort::words(exit, "flow::interrupted", "left at once", help);
        exit::leave(left.show_on(self.terminal))
    }

    fn options(&self, store: &EventStore, workflow: &Workflow, is_free: &Arc<Notify>) -> Options {
        let started = RunStarted {
            workflow: workflow.name.clone(),
            file: self.asset.word(),
            command: command_line(),
            selection: self.selection.clone(),
            inputs: self.set.recorded(&workflow.roots.inputs),
            text: base16ct::lower::encode_string(&Sha256::digest(&workflow.text)),
            resumed: self.resumed.is_some(),
        };
        let crash_at = env::text(env::CRASH_AT).and_then(|seq| seq.parse().ok()).map(Seq);
        let mut options = Options::new(store.run(), store.first_seq(), started);
        options.slots = self.how.jobs;
        options.fail_fast = self.how.fail_fast;
        options.seed = u64::from(std::process::id());
        options.confirm = self.confirm(is_free);
        options.crash_at = crash_at;
        if let Some(at) = crash_at {
            options.on_durable = Some(Arc::new(move |seq| crash(at, seq)));
        }
        options
    }

    /// A real site is asked about once; a lab and the local site hold nothing of worth.
    fn confirm(&self, is_free: &Arc<Notify>) -> Option<Confirm> {
        let site = &self.site.site;
        let asks = !site.is_lab && !self.site.is_local();
        if !asks || self.how.yes || self.resumed.is_some() {
            return None;
        }
        Some(confirm(self.terminal, site.name.clone(), Arc::clone(is_free)))
    }

    /// What is expected of the run; a program that reads has no use for it.
    fn outlook(
        &self,
        workflow: &Arc<Workflow>,
        ledger: &Ledger,
        selection: &Selection,
    ) -> Option<Arc<Outlook>> {
        let speed = lab::pace(self.site, &self.how.lab);
        let outlook = (!self.terminal.json)
            .then(|| Outlook::new(workflow, ledger, &selection.selected, self.how.jobs, speed));
        outlook.flatten().map(Arc::new)
    }

    fn introduce(
        &self,
        workflow: &Workflow,
        run: RunId,
        selection: &Selection,
        outlook: Option<&Outlook>,
    ) {
        if let Some(resumed) = &self.resumed {
            self.tell_resumed(resumed, workflow);
        }
        let tasks = selection.selected.run.iter().map(|id| workflow.instance(*id).task);
        let tasks = count(tasks.collect::<BTreeSet<_>>().len(), "task");
        let instances = count(selection.selected.run.len(), "instance");
        let (name, site) = (&workflow.name, &self.site.site.name);
        let time = outlook.map(|outlook| format!(", {}", outlook.words())).unwrap_or_default();
        let words = format!("on {site}, run {run}: {tasks}, {instances}{time}");
        self.terminal.say_all(&hang(&format!("{name:<10} "), &words));
        if selection.is_partial() {
            self.tell_selection(&selection_view(workflow, &self.selection, selection));
        }
    }

    fn tell_resumed(&self, resumed: &Resumed, workflow: &Workflow) {
        let since = match &resumed.text {
            Some(text) if *text == workflow.text => "; its file is unchanged since",
            Some(_) => "; its file has changed since",
            None => "",
        };
        self.terminal.say(format!("{}{since}", resumed.words));
        let before = resumed.text.as_deref().unwrap_or(&workflow.text);
        let since = Since::between(before, &workflow.text).unwrap_or_default();
        self.terminal.say_all(&since.lines());
    }

    fn tell_selection(&self, view: &SelectionView) {
        if self.terminal.json {
            self.terminal.object(&view.object());
        }
        self.terminal.say_all(&render::selection::selection(view));
    }

    fn reporter(
        &self,
        workflow: &Arc<Workflow>,
        selection: &Selection,
        outlook: Option<Arc<Outlook>>,
    ) -> Box<dyn Shown> {
        let (terminal, workflow) = (self.terminal, Arc::clone(workflow));
        if terminal.json {
            return Box::new(Stream::new(terminal, workflow));
        }
        if terminal.interactive {
            let run = selection.selected.run.iter().copied();
            return Box::new(Live::new(terminal, workflow, run, outlook));
        }
        Box::new(Plain::new(terminal, workflow))
    }
}

/// A reporter that may have something on the screen.
pub(crate) trait Shown: Reporter {
    /// Leaves the screen as it is to stay.
    fn close(&mut self) {}
}

impl Shown for Plain {}
impl Shown for Stream {}
impl Shown for Live {
    fn close(&mut self) {
        Live::close(self);
    }
}

/// Leaves the state folded, and after a good run tidy. Answers what is in doubt of a workflow.
async fn settle(
    store: Arc<EventStore>,
    workflow: &str,
    ended: RunEnded,
) -> Result<Vec<String>, Abort> {
    let broken = |error| Abort::new(Exit::State, error);
    store.settle().await.map_err(broken)?;
    // The run that shared it is over.
    let store = Arc::into_inner(store)
        .ok_or_else(|| Abort::bug("the state cannot be closed", &"it is still in use"))?;
    let mut site = store.close().map_err(broken)?;
    if ended == RunEnded::Complete {
        site.tidy().map_err(state)?;
    }
    let open = site.open_intents().map_err(state)?.into_iter();
    Ok(open.filter(|open| open.workflow == workflow).map(|open| open.name.to_string()).collect())
}

/// Runs, and hands signals on as requests to stop; `None` where it is to be left at once.
async fn supervise(
    run: Run,
    reporter: &mut Logged,
    signals: &mut Signals,
) -> Result<Option<Summary>, RunError> {
    let (stop, stopped) = watch::channel(Stop::No);
    let mut running = pin!(run.execute(reporter, stopped));
    loop {
        tokio::select! {
            ended = &mut running => return ended.map(Some),
            request = signals.next() => match request {
                Request::Stop(how) => drop(stop.send(how)),
                Request::AtOnce => return Ok(None),
            },
        }
    }
}

/// The lists of a partial run, by name.
pub(crate) fn selection_view(
    workflow: &Workflow,
    typed: &SelectionArgs,
    selection: &Selection,
) -> SelectionView {
    let names = |instances: &BTreeSet<Instance>| {
        instances.iter().map(|id| workflow.instance(*id).name.to_string()).collect()
    };
    let said = [("only", &typed.only), ("until", &typed.until), ("from", &typed.from)];
    let skipped = ("skip", &typed.skip);
    let how = said.into_iter().chain([skipped]).filter(|(_, selectors)| !selectors.is_empty());
    let how: Vec<_> = how.map(|(word, all)| format!("{word} {}", all.join(" "))).collect();
    let Selected { run, verify, skip, force: _, redo: _ } = &selection.selected;
    SelectionView {
        how: how.join(", "),
        will_run: names(run),
        from_ledger: names(&(verify | skip)),
        not_considered: names(&selection.unconsidered),
    }
}

/// Ends this process as `kill -9` does, once the event is durable. For tests of recovery.
fn crash(at: Seq, durable: Seq) {
    if durable >= at {
        let me = rustix::process::getpid();
        // If even this fails, the test that asked for it fails too.
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    }
}
