//! `ApplyConfiguration`: which configuration takes effect when, and what is kept.

use std::{sync::Arc, time::Duration};

use tonic::{Response, Status};

use super::{Api, access};
use crate::{
    serve::ChangedNothing,
    store::Changes,
    talos::{
        boot,
        config::Config,
        live::{Leave, Stage},
        wire::machine::{
            ApplyConfiguration, ApplyConfigurationRequest, ApplyConfigurationResponse,
            apply_configuration_request::Mode,
        },
    },
};

/// How long a configuration is tried by default.
const TRIAL: Duration = Duration::from_mins(1);
/// What takes effect is counted as this.
const COUNTED: &str = "ApplyConfiguration";
const WITHOUT_REBOOT: &str = "Applied configuration without a reboot";
const WITH_REBOOT: &str = "Applied configuration with a reboot";

/// What was decided about a configuration.
struct Plan {
    mode: Mode,
    details: String,
    warnings: Vec<String>,
    config: Arc<Config>,
    current: Option<Arc<Config>>,
}

impl Api {
    /// Applies a configuration, or says what would happen.
    pub(super) fn apply(
        &self,
        roles: &access::Roles,
        request: &ApplyConfigurationRequest,
    ) -> Result<Response<ApplyConfigurationResponse>, Status> {
        let mut plan = self.plan(roles, request)?;
        if request.dry_run {
            let difference = plan.difference();
            plan.details =
                format!("Dry run summary:\n{} (skipped in dry-run).\n{difference}", plan.details);
            plan.warnings.clear();
            return Ok(plan.reply(false));
        }
        let changed = match plan.mode {
            Mode::Try => {
                let trial = request
                    .try_mode_timeout
                    .and_then(|timeout| Duration::try_from(timeout).ok())
                    .unwrap_or(TRIAL);
                plan.details.push_str("\nThe config is applied in 'try' mode and will be automatically reverted back in ");
                plan.details.push_str(&go_duration(trial));
                let name = self.look(|_, machine, _| Ok(machine.hardware.name.clone()))?;
                self.rack.commit(Changes::new().count("talos", &name, COUNTED))?;
                self.use_config(&plan.config);
                self.revert_after(trial, plan.current.clone());
                true
            }
            Mode::NoReboot => {
                let changed = self.keep(&plan)?;
                self.use_config(&plan.config);
                changed
            }
            Mode::Staged => self.keep(&plan)?,
            Mode::Reboot => {
                self.keep(&plan)?;
                boot::leave(&self.rack, self.vmid, Leave::Reboot);
                true
            }
            Mode::Auto => {
                return Err(Status::unknown(
                    "incorrect mode 'AUTO' specified for the apply config call",
                ));
            }
        };
        Ok(plan.reply(changed))
    }

    fn plan(
        &self,
        roles: &access::Roles,
        request: &ApplyConfigurationRequest,
    ) -> Result<Plan, Status> {
        let (current, stage, release) =
            self.look(|_, machine, live| Ok((live.config.clone(), live.stage, machine.release())))?;
        if stage == Stage::Rebooting {
            return Err(Status::failed_precondition(
                "configuration was already applied and node is rebooting, cannot apply more configuration changes until next reboot",
            ));
        }
        if current.is_some() && !roles.has(access::ADMIN) {
            return Err(Status::permission_denied("not authorized"));
        }
        let old = current.is_none() && !release.reads_in_maintenance();
        let mode = Mode::try_from(request.mode)
            .map_err(|_| Status::unknown(format!("incorrect mode '{}'", request.mode)))?;
        if old && matches!(mode, Mode::Staged | Mode::NoReboot) {
            let name = mode.as_str_name().to_lowercase().replace('_', "-");
            return Err(Status::unimplemented(format!(
                "apply configuration --mode='{name}' is not supported in maintenance mode"
            )));
        }
        let config = Config::parse(&request.data, release.minor()).map_err(|error| {
            if old {
                Status::unknown(format!("failed to parse config: {error}"))
            } else {
                Status::invalid_argument(error)
            }
        })?;
        if current.is_some() && !config.is_complete() {
            return Err(Status::invalid_argument(
                "the applied machine configuration doesn't contain v1alpha1 config, did you mean to patch the machine config instead?",
            ));
        }
        let warnings = config.validate(release.minor()).map_err(|error| {
            let prefix = if old { "configuration validation failed: " } else { "" };
            Status::invalid_argument(format!("{prefix}{error}"))
        })?;
        let (mode, details) =
            decide(mode, current.as_deref(), &config, release.reboots_for_config())?;
        Ok(Plan { mode, details, warnings, config: Arc::new(config), current })
    }

    /// Makes it the configuration of the next boot; says whether it was not all the same.
    fn keep(&self, plan: &Plan) -> Result<bool, Status> {
        self.rack.change(|fleet| {
            let Some(machine) = fleet.machines.get_mut(&self.vmid) else {
                return Err(Status::unavailable("the machine has no power"));
            };
            let mut disk = machine.disk.clone();
            disk.config = Some(plan.config.text().to_owned());
            let unchanged = plan.current.as_ref().is_some_and(|now| **now == *plan.config)
                && machine.disk.config == disk.config;
            let verb = if unchanged { "ApplyConfiguration-unchanged" } else { COUNTED };
            let changes = Changes::new().count("talos", &machine.hardware.name, verb);
            self.rack.commit(disk.put(self.vmid, changes))?;
            machine.disk = disk;
            Ok(!unchanged)
        })
    }

    /// Makes it the configuration in force; an incomplete one does not end maintenance mode.
    fn use_config(&self, config: &Arc<Config>) {
        if !config.is_complete() {
            return;
        }
        self.rack.change_live(self.vmid, |live| {
            live.config = Some(Arc::clone(config));
            live.trials += 1;
            if let Some(name) = config.hostname() {
                live.hostname = name;
            }
        });
    }

    /// Takes a tried configuration back, unless another one has come in between.
    fn revert_after(&self, trial: Duration, before: Option<Arc<Config>>) {
        let (rack, vmid) = (Arc::clone(&self.rack), self.vmid);
        let number = self.rack.read(|fleet| fleet.live(vmid).map(|live| (live.boot, live.trials)));
        let world = self.rack.world.clone();
        world.spawn(async move {
            rack.world.clock().sleep(trial).await;
            let still =
                rack.read(|fleet| fleet.live(vmid).map(|live| (live.boot, live.trials))) == number;
            match before {
                _ if !still => {}
                Some(before) => rack.change_live(vmid, |live| live.config = Some(before)),
                None => boot::leave(&rack, vmid, Leave::Reboot),
            }
        });
    }
}

impl Plan {
    fn difference(&self) -> String {
        match &self.current {
            None => {
                "Node is running in maintenance mode and does not have a config yet.".to_owned()
            }
            Some(current) => {
                let difference = current.difference(&self.config);
                let shown = if difference.is_empty() { "No changes." } else { &difference };
                format!("Config diff:\n\n{shown}")
            }
        }
    }

    fn reply(self, changed: bool) -> Response<ApplyConfigurationResponse> {
        let mut response = Response::new(ApplyConfigurationResponse {
            messages: vec![ApplyConfiguration {
                metadata: None,
                warnings: self.warnings,
                mode: i32::from(self.mode),
                mode_details: self.details,
            }],
        });
        if !changed {
            response.extensions_mut().insert(ChangedNothing);
        }
        response
    }
}

/// The mode that a configuration really takes effect in.
fn decide(
    mode: Mode,
    current: Option<&Config>,
    config: &Config,
    reboots: bool,
) -> Result<(Mode, String), Status> {
    let Some(current) = current else {
        return Ok(match mode {
            Mode::Reboot | Mode::Auto | Mode::NoReboot => {
                (Mode::NoReboot, WITHOUT_REBOOT.to_owned())
            }
            Mode::Try => (Mode::Try, WITHOUT_REBOOT.to_owned()),
            Mode::Staged => (Mode::Staged, STAGED.to_owned()),
        });
    };
    let obstacle = reboots.then(|| current.needs_reboot_for(config)).flatten();
    match (mode, obstacle) {
        (Mode::Reboot, _) if !reboots => Err(Status::unimplemented(
            "the REBOOT mode is not supported, please use AUTO or NO_REBOOT modes instead",
        )),
        (Mode::Reboot, _) => Ok((Mode::Reboot, WITH_REBOOT.to_owned())),
        (Mode::Staged, _) => Ok((Mode::Staged, STAGED.to_owned())),
        (Mode::Try | Mode::NoReboot, Some(why)) => Err(Status::invalid_argument(why)),
        (Mode::Auto, Some(why)) => Ok((Mode::Reboot, format!("{WITH_REBOOT}: {why}"))),
        (Mode::Try, None) => Ok((Mode::Try, WITHOUT_REBOOT.to_owned())),
        (Mode::Auto | Mode::NoReboot, None) => Ok((Mode::NoReboot, WITHOUT_REBOOT.to_owned())),
    }
}

const STAGED: &str = "Staged configuration to be applied after the next reboot";

/// A duration as Go prints it, to the second.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
