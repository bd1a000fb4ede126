//! Which site a command speaks of, read and checked.

use std::path::{Path, PathBuf};

use flow_engine::SiteContext;
use flow_tasks::site::Site;
use miette::Report;
use serde_json::{Value, json};

use crate::abort::Abort;
use crate::assets::{self, Asset};
use crate::env;
use crate::exit::Exit;

/// The site without a file, for workflows that speak of none.
const LOCAL: &str = "local";

/// A site with the place of its state.
#[derive(Debug, Clone)]
pub(crate) struct SiteAt {
    /// What the file says.
    pub(crate) site: Site,
    /// Whether the user named it, by flag or variable.
    pub(crate) named: bool,
    /// `.flow/sites/NAME`.
    pub(crate) folder: PathBuf,
}

impl SiteAt {
    /// The site as kinds are told of it.
    pub(crate) fn context(&self) -> SiteContext {
        SiteContext {
            name: self.site.name.clone(),
            cluster: self.site.cluster.clone(),
            folder: self.folder.clone(),
        }
    }

    /// Whether it is the site without a file.
    pub(crate) fn is_local(&self) -> bool {
        self.site.name == LOCAL
    }

    /// The lab's world of this site.
    pub(crate) fn world(&self) -> PathBuf {
        self.folder.join("lab")
    }

    /// ` --site NAME` where commands that are proposed need it.
    pub(crate) fn flag(&self) -> String {
        if self.named { format!(" --site {}", self.site.name) } else { String::new() }
    }
}

/// The site that was asked for, or the default one for a workflow.
///
/// # Errors
///
/// There is no such site, or its file is wrong.
pub(crate) fn resolve(asked: Option<&str>, workflow: Option<&Asset>) -> Result<SiteAt, Abort> {
    let asked = asked.map(str::to_owned).or_else(|| env::text(env::SITE));
    let named = asked.is_some();
    let word = asked.unwrap_or_else(|| default(workflow).to_owned());
    if word == LOCAL {
        return Ok(at(local(), named));
    }
    let asset = assets::site(&word)?;
    let base = base(&asset);
    let site = flow_tasks::site::load(&asset.shown, &asset.text, &base).map_err(|errors| {
        Abort { exit: Exit::InvalidFile, reports: errors.0.into_iter().map(Report::new).collect() }
    })?;
    Ok(at(site, named))
}

fn at(site: Site, named: bool) -> SiteAt {
    let folder = folder(&site.name);
    SiteAt { site, named, folder }
}

/// The folder that holds `.flow`: the working directory.
pub(crate) fn root() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// `.flow/sites/NAME`.
fn folder(name: &str) -> PathBuf {
    root().join(".flow").join("sites").join(name)
}

fn local() -> Site {
    let value = json!({ "name": LOCAL, "cluster": LOCAL, "kind": "real" });
    Site { name: LOCAL.to_owned(), cluster: LOCAL.to_owned(), is_lab: false, value }
}

/// Where relative files of a site are: beside its file; a lab's are made by the lab itself.
fn base(asset: &Asset) -> PathBuf {
    let table: toml::Table = asset.text.parse().unwrap_or_default();
    let of = |key: &str| table.get("site")?.get(key)?.as_str();
    if let (Some("lab"), Some(name)) = (of("kind"), of("name")) {
        return folder(name).join("lab");
    }
    root().join(asset.folder().unwrap_or(Path::new("")))
}

/// `lab` for a workflow that speaks of a site, else `local`.
fn default(workflow: Option<&Asset>) -> &'static str {
    let Some(workflow) = workflow else { return "lab" };
    // A file that is no TOML is refused later, with its place.
    let Ok(table) = workflow.text.parse::<toml::Table>() else { return "lab" };
    let value = serde_json::to_value(&table).unwrap_or_default();
    if speaks_of_a_site(&value) { "lab" } else { LOCAL }
}

/// Whether an expression reads `site`, or a kind other than `shell` is used.
fn speaks_of_a_site(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split("${").skip(1).any(|expression| {
            let expression = expression.split('}').next().unwrap_or_default();
            let mut words = expression.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)));
            words.any(|word| word == "site" || word.starts_with("site."))
        }),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, field)| (key == "uses" && field != "shell") || speaks_of_a_site(field)),
        Value::Array(items) => items.iter().any(speaks_of_a_site),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_tasks_that_read_no_site_need_none() {
        let speaks = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            speaks_of_a_site(&serde_json::to_value(table).unwrap())
        };
        assert!(!speaks("[tasks.a]\nuses = \"shell\"\nwith.apply = [\"echo\", \"site.x\"]"));
        assert!(speaks("[tasks.a]\nuses = \"shell\"\nwith.apply = [\"${lower(site.name)}\"]"));
        assert!(speaks("[tasks.a]\nuses = \"kube-api\""));
    }

    #[test]
    fn the_shipped_lab_is_the_default_for_the_flagship() {
        let workflow = assets::workflow("bootstrap").unwrap();
        assert_eq!(default(Some(&workflow)), "lab");
        assert!(resolve(Some("lab"), None).unwrap().site.is_lab);
    }
}
