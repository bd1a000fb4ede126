//! Many instances in few words.

use std::collections::BTreeMap;

/// From how many instances of one task on they are counted, not named.
const MANY: usize = 3;

/// Names in the order in which they came; three or more of one task as `TASK ×N`.
pub(crate) fn folded<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        *sizes.entry(task(name)).or_default() += 1;
    }
    let mut folded = Vec::new();
    for name in names {
        let task = task(name);
        match sizes.get(task).copied() {
            Some(size) if size >= MANY => {
                folded.push(format!("{task} ×{size}"));
                sizes.insert(task, 0);
            }
            Some(0) | None => {}
            Some(_) => folded.push(name.to_owned()),
        }
    }
    folded
}

/// The task's part of an instance's name.
fn task(name: &str) -> &str {
    name.split_once('/').map_or(name, |(task, _)| task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_instances_of_a_task_are_counted() {
        let names = ["a", "vm/0", "vm/1", "pair/0", "vm/2", "pair/1"];
        assert_eq!(folded(names), ["a", "vm ×3", "pair/0", "pair/1"]);
    }
}
