//! `flow plan`: what a run would do. Takes no lock, and opens the state read-only.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flow_engine::event::{Done, SelectionArgs};
use flow_engine::journal::Vault;
use flow_engine::ledger::Ledger;
use flow_engine::plan::{self, Planned, Survey};
use flow_engine::report::Silent;
use flow_engine::runner::Clock;
use flow_engine::workflow::{Workflow, select};
use flow_engine::{Failure, Instance, RunId, Stop};
use flow_state::{Reader, SiteDir};
use tokio::sync::watch;

use crate::abort::Abort;
use crate::args::{Global, Plan};
use crate::assets;
use crate::execution::{self, vault};
use crate::exit::Exit;
use crate::lab;
use crate::render::plan::{Change, PlanView, Sign, plan as lines};
use crate::site::{self, SiteAt};
use crate::terminal::Terminal;
use crate::workflow::{self, Set};

/// How many instances are looked at at a time.
const SLOTS: u32 = 16;

/// Shows what a run would do.
///
/// # Errors
///
/// Workflow, site or state cannot be used.
pub(crate) async fn plan(terminal: Terminal, global: &Global, args: &Plan) -> Result<Exit, Abort> {
    let asset = assets::workflow(&args.workflow.workflow)?;
    let site = site::resolve(global.site.as_deref(), Some(&asset))?;
    // What is wrong with the files is told before a lab is made.
    let set = Set::from_args(&args.workflow.inputs)?;
    let workflow = Arc::new(workflow::load(&asset, &site, set)?);
    let selection = select(&workflow, &SelectionArgs::from(&args.selection))
        .map_err(|error| Abort::new(Exit::Usage, error))?;
    let dir = SiteDir::new(&site::root(), &site.site.name);
    let (ledger, last) = known(&dir, &workflow)?;
    let beside = lab::start(&site, &args.lab)?;
    // A lab of our own has only just been switched on: what still boots would be unknown.
    beside.until_up().await;
    let survey = Survey {
        workflow: Arc::clone(&workflow),
        ledger,
        selected: selection.selected,
        site: Arc::new(site.context()),
        vault: Arc::new(vault(&dir, &site).of(&workflow.name)) as Arc<dyn Vault>,
        slots: SLOTS,
        seed: 0,
        clock: Clock::default(),
    };
    let (_stop, stopped) = watch::channel(Stop::No);
    let plan = plan::plan(survey, &mut Silent, stopped).await;
    let view = view(&workflow, &site, &plan, last);
    if terminal.json {
        for object in view.objects() {
            terminal.object(&object);
        }
    } else {
        for line in lines(&view) {
            terminal.data(line);
        }
    }
    Ok(if args.exit_code { view.exit() } else { Exit::Ok })
}

fn known(dir: &SiteDir, workflow: &Workflow) -> Result<(Ledger, Option<(RunId, Duration)>), Abort> {
    let Some(reader) = Reader::open(dir).map_err(execution::state)? else {
        return Ok((Ledger::default(), None));
    };
    let ledger = reader.ledger(&workflow.name).map_err(execution::state)?;
    let last = reader.latest_run(Some(&workflow.name)).map_err(execution::state)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let last = last.map(|last| {
        let at = u64::try_from(last.started_at).unwrap_or_default();
        (last.run, now.saturating_sub(Duration::from_millis(at)))
    });
    Ok((ledger, last))
}

fn view(
    workflow: &Workflow,
    site: &SiteAt,
    plan: &plan::Plan,
    last: Option<(RunId, Duration)>,
) -> PlanView {
    let mut view = PlanView {
        workflow: workflow.name.clone(),
        site: site.site.name.clone(),
        took: plan.took,
        last,
        eta: plan.is_pending().then_some(plan.eta),
        ..PlanView::default()
    };
    for (id, item) in (0..).map(Instance).zip(&plan.items) {
        match change(workflow, &item.planned) {
            Shown::Change(sign, words) => {
                let name = workflow.instance(id).name.to_string();
                view.changes.push(Change { sign, name, words });
                view.looked_at += 1;
            }
            Shown::Unchanged => {
                view.unchanged += 1;
                view.looked_at += 1;
            }
            Shown::Nothing => {}
        }
    }
    view
}

/// How an instance appears in a plan.
enum Shown {
    Change(Sign, String),
    Unchanged,
    Nothing,
}

fn change(workflow: &Workflow, planned: &Planned) -> Shown {
    match planned {
        Planned::Unchanged(_) | Planned::Drift { pending: false, .. } => Shown::Unchanged,
        Planned::Apply { done, diff } => {
            let sign = match done {
                Done::Recreated => Sign::Recreate,
                Done::Updated => Sign::Update,
                Done::Ran => Sign::Run,
                Done::Created
                | Done::Adopted
                | Done::UpToDate
                | Done::Recovered
                | Done::Kept
                | Done::Unverified
                | Done::Passed
                | Done::LeftDrifted => Sign::Create,
            };
            Shown::Change(sign, diff.clone().unwrap_or_default())
        }
        Planned::Drift { diff, pending: true } => Shown::Change(Sign::Drifted, diff.clone()),
        Planned::Underway(what) => {
            Shown::Change(Sign::Update, format!("a change is in progress: {what}"))
        }
        Planned::Stuck(failure) => Shown::Change(Sign::Stop, words(failure)),
        Planned::Unreadable(failure) => Shown::Change(Sign::Unknown, words(failure)),
        Planned::Unknown { root, .. } => {
            let root = &workflow.instance(*root).name;
            Shown::Change(Sign::Unknown, format!("unknown until {root} is applied"))
        }
        Planned::Skipped | Planned::LeftOut => Shown::Nothing,
    }
}

fn words(failure: &Failure) -> String {
    std::iter::once(failure.message.as_str())
        .chain(failure.causes.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(": ")
}
