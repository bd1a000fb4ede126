//! Files by name: the user's own go before the shipped ones, which are embedded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::abort::Abort;
use crate::exit::Exit;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../workflows");

/// A file as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Asset {
    /// How messages name it.
    pub(crate) shown: String,
    /// Its text.
    pub(crate) text: String,
    /// Where it is; `None` for a shipped one.
    pub(crate) path: Option<PathBuf>,
}

impl Asset {
    /// The word by which it is found again, from any folder: a name, or an absolute path.
    pub(crate) fn word(&self) -> String {
        match &self.path {
            Some(path) => {
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                whole.to_string_lossy().into_owned()
            }
            None => self.shown.trim_end_matches(".toml").to_owned(),
        }
    }

    /// The word by which a person names it in this folder; see [`typed`].
    pub(crate) fn typed(&self) -> String {
        typed(&self.word())
    }

    /// The folder beside which relative names are looked up.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.path.as_deref().map(|path| path.parent().unwrap_or(Path::new("")))
    }
}

/// A workflow by name or by path.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub(crate) fn workflow(name: &str) -> Result<Asset, Abort> {
    find(name, "workflows", "workflow")
}

/// A site by name or by path.
///
/// # Errors
///
/// There is none, or it cannot be read.
pub(crate) fn site(name: &str) -> Result<Asset, Abort> {
    find(name, "sites", "site")
}

/// The Flux tree that is shipped: path and content of each file.
pub(crate) fn tree() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    if let Some(tree) = SHIPPED.get_dir("gitops") {
        collect(tree, &mut files);
    }
    files
}

fn collect(folder: &Dir<'_>, files: &mut BTreeMap<String, Vec<u8>>) {
    for file in folder.files() {
        let path = file.path().strip_prefix("gitops").unwrap_or(file.path());
        files.insert(path.to_string_lossy().into_owned(), file.contents().to_vec());
    }
    for folder in folder.dirs() {
        collect(folder, files);
    }
}

/// How a workflow is named on a command line in this folder, from the word that history keeps: a
/// name where that finds it, else the shortest path.
pub(crate) fn typed(word: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = Path::new(word);
    let path = path.strip_prefix(&here).unwrap_or(path);
    let named = path.strip_prefix("workflows").ok().filter(|name| name.components().count() == 1);
    let named = named.and_then(|name| name.file_stem());
    named.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Whether a word is a path, and not a name.
fn is_path(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|extension| extension == "toml")
}

fn find(word: &str, folder: &str, what: &'static str) -> Result<Asset, Abort> {
    let own = if is_path(word) {
        PathBuf::from(word)
    } else {
        Path::new(folder).join(format!("{word}.toml"))
    };
    match std::fs::read_to_string(&own) {
        Ok(text) => {
            return Ok(Asset { shown: own.display().to_string(), text, path: Some(own) });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_path(word) => {}
        Err(error) => {
            let message = format!("the {what} {} cannot be read", own.display());
            return Err(Abort::io(Exit::InvalidFile, message, error));
        }
    }
    let shipped = match what {
        "site" => format!("sites/{word}.toml"),
        _ => format!("{word}.toml"),
    };
    let file = SHIPPED.get_file(&shipped).and_then(|file| file.contents_utf8());
    file.map(|text| Asset { shown: shipped.clone(), text: text.to_owned(), path: None })
        .ok_or_else(|| unknown(word, folder, what))
}

fn unknown(word: &str, folder: &str, what: &str) -> Abort {
    let shipped = match what {
        "site" => SHIPPED.get_dir("sites"),
        _ => Some(&SHIPPED),
    };
    let names: Vec<_> = shipped
        .into_iter()
        .flat_map(Dir::files)
        .filter_map(|file| file.path().file_stem()?.to_str())
        .collect();
    let help = format!("shipped are: {}; your own stand in ./{folder}/", names.join(", "));
    Abort::words(Exit::Usage, "flow::unknown", format!("there is no {what} `{word}`"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flagship_and_its_tree_are_shipped() {
        assert!(workflow("bootstrap").unwrap().text.contains("[workflow]"));
        assert!(tree().contains_key("k8s/cert-manager/deployments.yaml"));
        assert_eq!(typed("bootstrap"), "bootstrap");
        let here = std::env::current_dir().unwrap();
        let typed = |path: &str| typed(&here.join(path).to_string_lossy());
        assert_eq!(typed("ten.toml"), "ten.toml");
        assert_eq!(typed("workflows/ten.toml"), "ten");
        assert_eq!(typed("workflows/more/ten.toml"), "workflows/more/ten.toml");
        assert_eq!(workflow("no-such-thing").unwrap_err().exit, Exit::Usage);
    }
}
