//! The machine service.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, Replies, access, kubeconfig, replies};
use crate::store::Changes;
use crate::talos::{
    boot,
    live::{Leave, Part},
    wire::{
        common::Data,
        machine::{
            ApplyConfigurationRequest, ApplyConfigurationResponse, Bootstrap, BootstrapRequest,
            BootstrapResponse, DmesgRequest, EtcdAlarmListResponse, EtcdMemberListRequest,
            EtcdMemberListResponse, EtcdStatusResponse, FeaturesInfo, FileInfo, Hostname,
            HostnameResponse, ListRequest, PlatformInfo, Reboot, RebootRequest, RebootResponse,
            ServiceList, ServiceListResponse, Shutdown, ShutdownRequest, ShutdownResponse, Version,
            VersionInfo, VersionResponse, machine_service_server::MachineService,
        },
    },
};

#[tonic::async_trait]
impl MachineService for Api {
    async fn apply_configuration(
        &self,
        request: Request<ApplyConfigurationRequest>,
    ) -> Result<Response<ApplyConfigurationResponse>, Status> {
        let roles = access::roles(&request);
        self.apply(&roles, request.get_ref())
    }

    async fn bootstrap(
        &self,
        _: Request<BootstrapRequest>,
    ) -> Result<Response<BootstrapResponse>, Status> {
        self.bootstrap_etcd()?;
        Ok(Response::new(BootstrapResponse { messages: vec![Bootstrap::default()] }))
    }

    type DmesgStream = Replies<Data>;

    async fn dmesg(
        &self,
        request: Request<DmesgRequest>,
    ) -> Result<Response<Self::DmesgStream>, Status> {
        let lines = if request.get_ref().tail { Vec::new() } else { self.kernel_log()? };
        let shown = replies(lines);
        Ok(Response::new(if request.get_ref().follow {
            use futures_util::StreamExt as _;
            Box::pin(shown.chain(futures_util::stream::pending()))
        } else {
            shown
        }))
    }

    async fn etcd_alarm_list(
        &self,
        _: Request<()>,
    ) -> Result<Response<EtcdAlarmListResponse>, Status> {
        self.alarm_list().map(Response::new)
    }

    async fn etcd_member_list(
        &self,
        request: Request<EtcdMemberListRequest>,
    ) -> Result<Response<EtcdMemberListResponse>, Status> {
        self.member_list(request.get_ref().query_local).map(Response::new)
    }

    async fn etcd_status(&self, _: Request<()>) -> Result<Response<EtcdStatusResponse>, Status> {
        self.member_status().map(Response::new)
    }

    async fn hostname(&self, _: Request<()>) -> Result<Response<HostnameResponse>, Status> {
        let hostname = self.look(|_, _, live| Ok(live.hostname.clone()))?;
        let messages = vec![Hostname { metadata: None, hostname }];
        Ok(Response::new(HostnameResponse { messages }))
    }

    type KubeconfigStream = Replies<Data>;

    async fn kubeconfig(&self, _: Request<()>) -> Result<Response<Self::KubeconfigStream>, Status> {
        self.controller("kubeconfig")?;
        let config = self.look(|_, _, live| {
            live.config.clone().ok_or_else(|| Status::unavailable("the machine has no power"))
        })?;
        let bytes = kubeconfig::archive(&kubeconfig::make(&config)?)?;
        Ok(Response::new(replies(vec![Data { metadata: None, bytes }])))
    }

    type ListStream = Replies<FileInfo>;

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        self.files(&request.get_ref().root).map(|files| Response::new(replies(files)))
    }

    async fn reboot(&self, _: Request<RebootRequest>) -> Result<Response<RebootResponse>, Status> {
        let actor_id = self.go_down(Leave::Reboot)?;
        let messages = vec![Reboot { metadata: None, actor_id }];
        Ok(Response::new(RebootResponse { messages }))
    }

    async fn service_list(&self, _: Request<()>) -> Result<Response<ServiceListResponse>, Status> {
        let services = self.look(|_, _, live| Ok(live.services.list()))?;
        let messages = vec![ServiceList { metadata: None, services }];
        Ok(Response::new(ServiceListResponse { messages }))
    }

    async fn shutdown(
        &self,
        _: Request<ShutdownRequest>,
    ) -> Result<Response<ShutdownResponse>, Status> {
        let actor_id = self.go_down(Leave::Shutdown)?;
        let messages = vec![Shutdown { metadata: None, actor_id }];
        Ok(Response::new(ShutdownResponse { messages }))
    }

    async fn version(&self, _: Request<()>) -> Result<Response<VersionResponse>, Status> {
        let (tag, configured) = self.look(|_, machine, live| {
            Ok((machine.release().tag().to_owned(), live.config.is_some()))
        })?;
        let version = VersionInfo {
            tag,
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            go_version: "go1.25".to_owned(),
            ..VersionInfo::default()
        };
        let platform = PlatformInfo { name: "metal".to_owned(), mode: "metal".to_owned() };
        let messages = vec![Version {
            metadata: None,
            version: Some(version),
            platform: Some(platform),
            features: configured.then_some(FeaturesInfo { rbac: true }),
        }];
        Ok(Response::new(VersionResponse { messages }))
    }
}

impl Api {
    /// Has a new etcd cluster made; the data are on the disk a little later.
    fn bootstrap_etcd(&self) -> Result<(), Status> {
        let minor = self.look(|_, machine, live| {
            if live.has(Part::Containers) {
                Ok(machine.release().minor())
            } else {
                Err(Status::failed_precondition("bootstrap is not available yet"))
            }
        })?;
        self.controller("bootstrap").map_err(|status| {
            if minor >= 13 {
                status
            } else {
                Status::failed_precondition(
                    "bootstrap can only be performed on a control plane node",
                )
            }
        })?;
        self.rack.change(|fleet| {
            let Some(machine) = fleet.machines.get_mut(&self.vmid) else { return Ok(()) };
            let data = machine.disk.etcd.is_some();
            let Some(power) = &mut machine.power else { return Ok(()) };
            let authority =
                power.live.config.as_ref().and_then(|config| config.authority("cluster.etcd.ca"));
            if authority.is_none() {
                return Err(Status::invalid_argument(
                    "etcd is not configured, bootstrap is not possible",
                ));
            }
            if !power.live.has(Part::Clock) {
                return Err(Status::failed_precondition("time is not in sync yet"));
            }
            if data {
                return Err(Status::already_exists("etcd data directory is not empty"));
            }
            power.live.set(Part::Bootstrap, true);
            Ok(())
        })
    }

    /// Goes down once the reply has left; the name of the sequence in the machine's events.
    fn go_down(&self, how: Leave) -> Result<String, Status> {
        let name = self.look(|_, machine, _| Ok(machine.hardware.name.clone()))?;
        let verb = match how {
            Leave::Reboot => "Reboot",
            Leave::Shutdown => "Shutdown",
        };
        self.rack.commit(Changes::new().count("talos", &name, verb))?;
        boot::leave(&self.rack, self.vmid, how);
        Ok(Uuid::new_v4().to_string())
    }

    /// A few lines as the kernel writes them.
    fn kernel_log(&self) -> Result<Vec<Data>, Status> {
        self.look(|_, machine, live| {
            let at = live.since;
            let stamp = at.format(&time::format_description::well_known::Rfc3339);
            let stamp = stamp.unwrap_or_default();
            let hardware = &machine.hardware;
            let lines = [
                format!("Linux version 6.18.0-talos ({})", machine.release().tag()),
                format!("DMI: QEMU Standard PC (Q35 + ICH9, 2009), UUID {}", hardware.uuid),
                format!("smpboot: Allowing {} CPUs", hardware.cores),
                format!("Memory: {}K available", hardware.memory_mib * 1024),
                format!("virtio_net virtio0 eth0: {}", hardware.mac),
                format!("[talos] hostname: {}", live.hostname),
            ];
            Ok(lines
                .into_iter()
                .map(|line| Data {
                    metadata: None,
                    bytes: format!("kern:    info: [{stamp}]: {line}\n").into_bytes(),
                })
                .collect())
        })
    }
}
