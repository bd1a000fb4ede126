//! Git's objects: blobs, trees and commits, named by the SHA-1 of their content.
//!
//! Format: gitformat-loose(5), git-mktree(1), git-commit-tree(1).

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use flate2::{Compression, write::ZlibEncoder};
use sha1::{Digest, Sha1};

/// An object's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id([u8; 20]);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Objects as they lie in a repository, compressed, by name.
#[derive(Debug, Default)]
pub(super) struct Objects(BTreeMap<String, Vec<u8>>);

/// A folder on the way to its tree.
#[derive(Debug, Default)]
struct Folder<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
    folders: BTreeMap<&'a str, Folder<'a>>,
}

impl Objects {
    /// An object by its name, compressed.
    pub(super) fn get(&self, id: &str) -> Option<&[u8]> {
        self.0.get(id).map(Vec::as_slice)
    }

    fn add(&mut self, kind: &str, content: &[u8]) -> Id {
        let mut object = format!("{kind} {}\0", content.len()).into_bytes();
        object.extend_from_slice(content);
        let id = Id(Sha1::digest(&object).into());
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        let packed = packed.write_all(&object).and_then(|()| packed.finish());
        self.0.insert(id.to_string(), packed.expect("writing to memory does not fail"));
        id
    }

    /// Adds the tree of files by path. Paths that git does not allow are left out.
    pub(super) fn add_tree(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Id {
        let mut root = Folder::default();
        for (path, content) in files {
            let mut parts = path.split('/').collect::<Vec<_>>();
            let fits = parts.iter().all(|part| !matches!(*part, "" | "." | ".." | ".git"));
            let Some(name) = parts.pop().filter(|_| fits) else { continue };
            let mut folder = &mut root;
            for part in parts {
                folder = folder.folders.entry(part).or_default();
            }
            folder.files.insert(name, content);
        }
        self.add_folder(&root)
    }

    fn add_folder(&mut self, folder: &Folder<'_>) -> Id {
        // Git sorts folders as if their names ended in a slash.
        let mut entries = BTreeMap::new();
        for (name, content) in &folder.files {
            entries.insert((*name).to_owned(), ("100644", *name, self.add("blob", content)));
        }
        for (name, inner) in &folder.folders {
            entries.insert(format!("{name}/"), ("40000", *name, self.add_folder(inner)));
        }
        let mut tree = Vec::new();
        for (mode, name, id) in entries.values() {
            tree.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            tree.extend_from_slice(&id.0);
        }
        self.add("tree", &tree)
    }

    /// Adds a commit without parents.
    pub(super) fn add_commit(&mut self, tree: Id, who: &str, message: &str) -> Id {
        let mut commit = String::new();
        // Writing to a string cannot fail.
        let _ = write!(commit, "tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}\n");
        self.add("commit", commit.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_gits_names() {
        let mut objects = Objects::default();
        assert_eq!(
            objects.add("blob", b"hello\n").to_string(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            objects.add_tree(&BTreeMap::new()).to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }

    /// `git write-tree` of `a-b`, `a/x` and `b`, each holding `hello\n`.
    #[test]
    fn folders_are_sorted_as_git_does() {
        let files = ["a/x", "a-b", "b", "../x", ".git/config"];
        let files = files.map(|path| (path.to_owned(), b"hello\n".to_vec()));
        let tree = Objects::default().add_tree(&BTreeMap::from(files));
        assert_eq!(tree.to_string(), "7a61b279b5ba50390ef25bc28038709d5101eaaf");
    }
}
