//! The disks of a machine: one, with Talos on it.

use tonic::{Request, Response, Status};

use super::Api;
use crate::talos::wire::storage::{
    Disk, Disks, DisksResponse, disk::DiskType, storage_service_server::StorageService,
};

#[tonic::async_trait]
impl StorageService for Api {
    async fn disks(&self, _: Request<()>) -> Result<Response<DisksResponse>, Status> {
        let size = self.look(|_, machine, _| Ok(machine.hardware.disk_size))?;
        let disk = Disk {
            size,
            model: "QEMU HARDDISK".to_owned(),
            device_name: "/dev/sda".to_owned(),
            name: "sda".to_owned(),
            r#type: i32::from(DiskType::Hdd),
            bus_path: "/pci0000:00/0000:00:05.0/0000:01:01.0/virtio2/host0/target0:0:0/0:0:0:0/"
                .to_owned(),
            system_disk: true,
            subsystem: "/sys/class/block".to_owned(),
            ..Disk::default()
        };
        let messages = vec![Disks { metadata: None, disks: vec![disk] }];
        Ok(Response::new(DisksResponse { messages }))
    }
}
