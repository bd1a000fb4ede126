//! Jobs: pods that run until enough of them have succeeded, or too many failed.

use serde_json::{Value, json};

use super::{Turn, pods};
use crate::kubernetes::{
    json::{is_true, name, now, number, set_condition, set_status, text},
    objects::View,
};

/// Looks at every Job.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for job in turn.tx.list("batch/jobs") {
        if !pods::is_leaving(&job) && !is_true(&job, "Complete") && !is_true(&job, "Failed") {
            one(turn, &job);
        } else if let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_u64()
            && turn.waited(
                &format!("ttl/{}", name(&job)),
                f64::from(u32::try_from(ttl).unwrap_or(u32::MAX)),
            )
        {
            turn.delete("batch/jobs", &job);
        }
    }
}

fn one(turn: &mut Turn<'_, '_>, job: &Value) {
    if job["spec"]["suspend"] == json!(true) {
        return;
    }
    let mut held = turn.pods_of(job);
    held.retain(|p| !pods::is_leaving(p));
    let phase = |wanted: &str| held.iter().filter(|p| text(p, "/status/phase") == wanted).count();
    let (succeeded, failed) = (phase("Succeeded"), phase("Failed"));
    let active = held.len() - succeeded - failed;
    let wanted = usize::try_from(number(job, "/spec/completions")).unwrap_or(1);
    let restarts: i64 = held.iter().map(|p| pods::restarts(p)).sum();
    let tries = i64::try_from(failed).unwrap_or(i64::MAX).saturating_add(restarts);
    let limit = number(job, "/spec/backoffLimit");
    let spent = tries > limit;
    if succeeded < wanted && !spent {
        let parallel = usize::try_from(number(job, "/spec/parallelism")).unwrap_or(1);
        let pause = if failed == 0 { 0.0 } else { 10.0 * f64::from(1_u32 << failed.min(6)) };
        let missing = parallel.min(wanted - succeeded).saturating_sub(active);
        if missing > 0 && turn.waited(&format!("job/{}/{failed}", name(job)), pause) {
            for _ in 0..missing {
                let pod = pods::from_template(job, &[]);
                let made = format!("Created pod: {}", name(&pod));
                turn.tx.make("core/pods", pod);
                turn.event(job, "Normal", ("SuccessfulCreate", &made), "job-controller");
            }
        }
    }
    if spent {
        for pod in held.iter().filter(|p| !pods::is_over(p)) {
            turn.delete("core/pods", pod);
        }
    }
    turn.change("batch/jobs", job, |j| {
        if j["status"].get("startTime").is_none() {
            set_status(j, "startTime", now());
        }
        set_status(j, "active", if spent { 0 } else { active });
        set_status(j, "succeeded", succeeded);
        set_status(j, "failed", failed);
        set_status(j, "ready", held.iter().filter(|p| is_true(p, "Ready")).count());
        set_status(j, "uncountedTerminatedPods", json!({}));
        if succeeded >= wanted {
            let why = ("CompletionsReached", "Reached expected number of succeeded pods");
            set_condition(j, "SuccessCriteriaMet", "True", why);
            set_condition(j, "Complete", "True", why);
            set_status(j, "completionTime", now());
        } else if spent {
            let why = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
            set_condition(j, "FailureTarget", "True", why);
            set_condition(j, "Failed", "True", why);
        }
    });
}
