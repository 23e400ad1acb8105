//! The vocabulary of xbuild: digests, platforms, references, image documents, and the seams
//! between the stages of the pipeline.
//!
//! Everything here is a plain value or a trait, and nothing does I/O; [`thread`] alone asks the
//! system for something. Sources: OCI image-spec 1.1,
//! OCI distribution-spec 1.1, and containerd's platform normalisation rules.

pub mod cancel;
pub mod device;
pub mod digest;
pub mod failure;
pub mod file_op;
pub mod ids;
pub mod image;
pub mod manifest;
pub mod mode_change;
mod null;
pub mod own_root;
pub mod owner;
pub mod passwd;
pub mod platform;
pub mod records;
pub mod reference;
pub mod remote;
pub mod resolved;
pub mod rootfs;
pub mod run;
pub mod seam;
pub mod step;
pub mod thread;
pub mod transfer;
pub mod ward;
mod wrong_bytes;

pub use cancel::{Cancel, Cancelled};
pub use digest::{Chain, DiffId, Digest, DigestError};
pub use failure::{
    FailureKind, MachineFault, StepFailure, TaskFailure, machine_fault, machine_fault_of,
};
pub use image::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Descriptor, Index, Manifest};
pub use mode_change::{ModeChange, ModeError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use remote::RemoteSource;
pub use resolved::{BlobSource, ImageLayer, LayerBlob, ResolvedImage};
pub use step::{StepRecord, short_label};
pub use wrong_bytes::WrongBytes;
