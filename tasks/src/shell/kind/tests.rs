use std::path::Path;

use super::*;

fn task(folder: &Path, with: Value) -> Value {
    let mut with = with;
    with["cwd"] = json!(folder);
    with["sh"] = json!(true);
    with
}

fn outputs(verdict: AnyVerdict) -> Value {
    match verdict {
        AnyVerdict::Satisfied { outputs, .. } => outputs,
        AnyVerdict::Absent(_) | AnyVerdict::Drifted { .. } | AnyVerdict::Underway(_) => {
            panic!("not satisfied: {verdict:?}")
        }
    }
}

#[tokio::test]
async fn a_check_says_absent_drifted_satisfied_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let probe = async |check: &str| {
        let params = task(folder.path(), json!({ "check": check, "apply": "true" }));
        Shell.probe(&Cx::default(), &params).await
    };
    assert_eq!(probe("exit 1").await, Ok(AnyVerdict::Absent(Mark::Nowhere)));
    assert_eq!(outputs(probe("exit 0").await.unwrap()), json!({}));
    let drifted = probe("printf 'state=drifted\\ndiff=older\\n' > $FLOW_OUTPUT; exit 1").await;
    assert_eq!(drifted, Ok(AnyVerdict::Drifted { diff: "older".to_owned(), mark: Mark::Nowhere }));
    let unknown = probe("exit 2").await.unwrap_err();
    assert_eq!((unknown.code.as_str(), unknown.retry), ("shell::unknown", Retry::Backoff));
    assert_eq!(probe("kill -9 $$").await.unwrap_err().code, "shell::unknown");
}

#[tokio::test]
async fn creates_is_a_check_that_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let params = task(folder.path(), json!({ "creates": "made", "apply": "touch made" }));
    let cx = Cx::default();
    assert_eq!(Shell.probe(&cx, &params).await, Ok(AnyVerdict::Absent(Mark::Nowhere)));
    Shell.apply(&cx, &params).await.unwrap();
    assert_eq!(outputs(Shell.probe(&cx, &params).await.unwrap()), json!({}));
}

#[tokio::test]
async fn an_action_hands_out_what_its_apply_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let with = json!({ "apply": "echo ip=192.0.2.1 > $FLOW_OUTPUT", "outputs": ["ip"] });
    let params = task(folder.path(), with);
    let cx = Cx::default();
    assert_eq!(Shell.probe(&cx, &params).await, Ok(AnyVerdict::Absent(Mark::Nowhere)));
    Shell.apply(&cx, &params).await.unwrap();
    assert_eq!(outputs(Shell.probe(&cx, &params).await.unwrap()), json!({ "ip": "192.0.2.1" }));
}

#[tokio::test]
async fn a_declared_output_that_nobody_wrote_is_a_failure_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let params = task(folder.path(), json!({ "check": "exit 0", "outputs": ["ip"] }));
    let failure = Shell.probe(&Cx::default(), &params).await.unwrap_err();
    let told = (failure.code.as_str(), failure.message.as_str());
    assert_eq!(told, ("shell::no-output", "the check did not write `ip`"));
    let with = json!({ "apply": "echo ip=1 > $FLOW_OUTPUT", "outputs": ["a", "ip", "b"] });
    let failure = Shell.apply(&Cx::default(), &task(folder.path(), with)).await.unwrap_err();
    let told = (failure.message.as_str(), failure.retry);
    assert_eq!(told, ("the apply did not write `a`, `b`", Retry::Never));
    let with = json!({ "check": "test -e made", "apply": "touch made", "outputs": ["ip"] });
    let failure = Shell.apply(&Cx::default(), &task(folder.path(), with)).await.unwrap_err();
    assert_eq!(failure.message, "the check did not write `ip`");
}

#[tokio::test]
async fn only_declared_outputs_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let with = json!({ "apply": "printf 'ip=1\\nc2Vj=cmV0\\n' > $FLOW_OUTPUT", "outputs": ["ip"] });
    let cx = Cx::default();
    Shell.apply(&cx, &task(folder.path(), with)).await.unwrap();
    assert_eq!(cx.recorded("outputs").as_deref(), Some(r#"{"ip":"1"}"#));
}

#[tokio::test]
async fn a_failure_shows_the_last_that_its_own_command_printed() {
    let folder = tempfile::tempdir().unwrap();
    let cx = Cx::default();
    let with = json!({ "check": "echo not there; exit 1", "apply": "seq 9; echo; exit 3" });
    let params = task(folder.path(), with);
    Shell.probe(&cx, &params).await.unwrap();
    let failure = Shell.apply(&cx, &params).await.unwrap_err();
    assert_eq!(failure.causes, ["> 5", "> 6", "> 7", "> 8", "> 9"]);
    let silent = task(folder.path(), json!({ "apply": "exit 3" }));
    let failure = Shell.apply(&cx, &silent).await.unwrap_err();
    assert_eq!(failure.causes, Vec::<String>::new());
}

#[tokio::test]
async fn a_command_may_print_more_than_a_pipe_holds_before_it_reads() {
    const MUCH: usize = 1 << 20;
    let line = format!("head -c {MUCH} /dev/zero; cat > got");
    let folder = tempfile::tempdir().unwrap();
    let params = task(folder.path(), json!({ "apply": line, "stdin": "x".repeat(MUCH) }));
    let cx = Cx::default();
    let apply = Shell.apply(&cx, &params);
    tokio::time::timeout(std::time::Duration::from_secs(30), apply).await.unwrap().unwrap();
    assert_eq!(std::fs::metadata(folder.path().join("got")).unwrap().len(), MUCH as u64);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let params = json!({ "apply": ["true"], "cwd": "/nonexistent/folder" });
    let failure = Shell.apply(&Cx::default(), &params).await.unwrap_err();
    let told = (failure.message.as_str(), failure.refused);
    assert_eq!(told, ("the folder `/nonexistent/folder` cannot be entered", true));
}

#[tokio::test]
async fn a_secret_goes_in_by_environment_or_standard_input_and_output_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let with = json!({
        "apply": "cat > got; printf %s \"$TOKEN\" >> got; echo said; echo warned >&2",
        "env": { "TOKEN": "t0ken" },
        "stdin": "line ",
    });
    Shell.apply(&Cx::default(), &task(folder.path(), with)).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("got")).unwrap(), "line t0ken");
}

#[tokio::test]
async fn only_exit_code_75_asks_for_another_try() {
    let folder = tempfile::tempdir().unwrap();
    let apply = async |line: &str| {
        let params = task(folder.path(), json!({ "apply": line }));
        Shell.apply(&Cx::default(), &params).await.unwrap_err()
    };
    assert_eq!(apply("exit 75").await.retry, Retry::Backoff);
    let failed = apply("exit 3").await;
    assert_eq!(
        (failed.retry, failed.message.as_str()),
        (Retry::Never, "the apply ended with exit code 3")
    );
    assert!(!failed.refused, "a command that failed may have done half of its work");
}

#[tokio::test]
async fn a_program_that_is_not_there_was_certainly_not_run() {
    let params = json!({ "apply": ["/nonexistent/program"] });
    let failure = Shell.apply(&Cx::default(), &params).await.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.refused), ("shell::spawn", true));
}
