//! `flow lab`: the world of a lab site, apart from any run.

use std::io::ErrorKind;
use std::process::Stdio;

use serde_json::json;

use crate::abort::Abort;
use crate::args::{Global, Lab, LabOptions};
use crate::exit::Exit;
use crate::lab::{self, Beside};
use crate::render;
use crate::site::{self, SiteAt};
use crate::terminal::{Terminal, stream};

/// The exit code where there is no such program, and where it cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// Does what was asked of the lab.
///
/// # Errors
///
/// The site is no lab, or its world cannot be used.
pub(crate) async fn lab(terminal: Terminal, global: &Global, what: Lab) -> Result<Exit, Abort> {
    let site = site::resolve(global.site.as_deref(), None)?;
    if !site.site.is_lab {
        let message = format!("the site {} is not a lab", site.site.name);
        let help = "`flow lab` speaks of a site with `kind = \"lab\"`";
        return Err(Abort::words(Exit::Usage, "site::no-lab", message, help));
    }
    match what {
        Lab::Serve(options) => serve(terminal, &site, &options).await,
        Lab::Exec { command } => exec(terminal, &site, &command).await,
        Lab::Status => status(terminal, &site),
        Lab::Reset => reset(terminal, &site),
    }
}

async fn serve(terminal: Terminal, site: &SiteAt, options: &LabOptions) -> Result<Exit, Abort> {
    let beside = lab::start(site, options)?;
    let Beside::Ours(lab) = &beside else {
        let message = "another process serves this lab already";
        let help = "`flow lab status` shows which one";
        return Err(Abort::words(Exit::Locked, "lab::running", message, help));
    };
    let octet = lab.octet();
    terminal.say(beside.banner(site, options).unwrap_or_default());
    terminal.say(format!("proxmox    https://127.{octet}.0.10:8006"));
    terminal.say(format!("factory    https://127.{octet}.0.40:8443"));
    terminal.say(format!("git        https://127.{octet}.0.50:8443/cluster.git"));
    terminal.say(format!("authority  {}", site.world().join("ca.pem").display()));
    terminal.say("until Ctrl-C, which is a power cut");
    let ended = tokio::signal::ctrl_c().await;
    ended.map_err(|error| Abort::io(Exit::Bug, "signals cannot be received", error))?;
    Ok(Exit::Ok)
}

/// Runs a command while the lab runs: beside it if it does, else for as long as the command.
async fn exec(terminal: Terminal, site: &SiteAt, command: &[String]) -> Result<Exit, Abort> {
    let beside = lab::start(site, &LabOptions::default())?;
    beside.until_up().await;
    let (program, arguments) = command.split_first().expect("clap requires a command");
    let kubeconfig = site.folder.join("kubeconfig");
    if !kubeconfig.exists() {
        terminal.say(format!("no cluster yet: flow run bootstrap{}", site.flag()));
    }
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("TALOSCONFIG", site.folder.join("talosconfig"))
        .stdin(Stdio::inherit())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| {
            // As shells do.
            let exit = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
            Abort::io(Exit::Of(exit), format!("`{program}` cannot be run"), error)
        })?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if code.is_none() {
        terminal.say(format!("`{program}` was ended by a signal"));
    }
    Ok(Exit::Of(code.unwrap_or(1)))
}

fn status(terminal: Terminal, site: &SiteAt) -> Result<Exit, Abort> {
    let status =
        flow_lab::status(&site.world()).map_err(|error| Abort::new(Exit::NeedsHuman, error))?;
    if terminal.json {
        let object = serde_json::to_value(&status)
            .map_err(|error| Abort::bug("the lab's status is no JSON", &error))?;
        let mut object = stream::spelled(object);
        object["flow"] = json!(stream::VERSION);
        object["type"] = json!("lab");
        terminal.object(&object);
        return Ok(Exit::Ok);
    }
    for line in render::lab::status(&status) {
        terminal.data(line);
    }
    Ok(Exit::Ok)
}

/// Removes the world and, since it speaks of nothing else, all state of the site.
fn reset(terminal: Terminal, site: &SiteAt) -> Result<Exit, Abort> {
    flow_lab::reset(&site.world()).map_err(|error| Abort::new(Exit::Locked, error))?;
    if site.folder.exists() {
        let dir = flow_state::SiteDir::new(&site::root(), &site.site.name);
        let lock = flow_state::SiteLock::acquire(&dir, "flow lab reset");
        let _lock = lock.map_err(|error| Abort::new(Exit::Locked, error))?;
        std::fs::remove_dir_all(&site.folder).map_err(|error| {
            Abort::io(Exit::State, format!("{} cannot be removed", site.folder.display()), error)
        })?;
    }
    terminal.say("the lab's world and what flow knew of it are gone");
    Ok(Exit::Ok)
}
