//! What may be forgotten. Pure: the caller lists, and the caller removes.

use flow_engine::RunId;

/// How many backups of a database are kept.
pub(crate) const DATABASES: usize = 5;

/// Of how many runs the history and the logs are kept.
pub(crate) const RUNS: usize = 100;

/// How many earlier vaults are kept.
pub(crate) const VAULTS: usize = 10;

/// Which of some names are too many; a name that sorts later is newer.
pub(crate) fn surplus(mut names: Vec<String>, keep: usize) -> Vec<String> {
    names.sort_unstable();
    names.truncate(names.len().saturating_sub(keep));
    names
}

/// The first run whose history is kept, if the newest `keep` of `runs` are.
pub(crate) fn first_kept(runs: &[RunId], keep: usize) -> Option<RunId> {
    let mut runs = runs.to_vec();
    runs.sort_unstable();
    runs.get(runs.len().saturating_sub(keep)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let names = ["b", "c", "a"].map(str::to_owned).to_vec();
        assert_eq!(surplus(names.clone(), 2), ["a"]);
        assert!(surplus(names, 3).is_empty());
        let runs = [3, 1, 2].map(RunId);
        assert_eq!(first_kept(&runs, 2), Some(RunId(2)));
        assert_eq!(first_kept(&runs, 9), Some(RunId(1)));
        assert_eq!(first_kept(&runs, 0), None);
    }
}
