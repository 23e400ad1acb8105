//! A build from end to end: from a request to images in stores, files and registries.
//!
//! The crate joins the stages of the pipeline. It knows no terminal, command line and environment:
//! a [`BuildRequest`] says what to build, a [`Machine`] where, and whatever happens on the way is
//! told to [`Events`]. A build is seven functions that share one [`Build`]:
//!
//! ```text
//! Build::open -> read -> plan -> may_push -> preflight -> run -> export -> save_cache
//! ```
//!
//! Several builds run at the same time if they are opened in one [`Batch`].
//!
//! [`heal()`] repeats the stages after `read` if the store had a damaged file.

mod attested;
mod batch;
mod bound;
mod build;
mod cache;
mod check;
mod claim_files;
mod container;
mod contexts;
mod definition;
mod demands;
pub mod docker_config;
mod dockerfile_file;
mod emulators;
pub mod error;
pub mod events;
mod export;
pub mod file_out;
mod files;
mod ground;
mod heal;
mod hosts;
mod identities;
mod images;
mod import;
mod layer_files;
mod linting;
mod loader;
mod login;
mod logins;
mod machine;
mod main_context;
mod outline;
mod planning;
mod platform_names;
mod preflight;
mod project;
mod provenance;
mod push_ahead;
pub mod request;
mod rescue;
mod room;
mod run;
mod sbom;
mod secrets;
pub mod sources;
mod survey;
mod tasks;
mod tools;
mod transfers;
mod twins;
mod variant;
mod verify;
mod wiring;
mod workers;

pub use batch::Batch;
pub use bound::Bound;
pub use build::Build;
pub use cache::{CacheContents, CachePruned, CacheShelf, CacheWarning, CachedBuild, save_cache};
pub use check::{Checked, CheckedFile, check};
pub use container::{CONTAINER_DOCKERFILE, Container, Volume, container_request, run_container};
pub use definition::RemoteDefinition;
pub use emulators::{
    EmulatorInUse, EmulatorSource, Installation, Installations, InstalledRecord,
    install as install_emulators, installed_records,
};
pub use events::{Event, Events, Warning};
pub use export::{Outcome, export, may_push};
pub use ground::Ground;
pub use heal::heal;
pub use hosts::{REGISTRY_OPTIONS, RegistryOption};
pub use images::{
    ArchiveForm, ImagePlace, IndexChange, IndexMade, IndexPlace, IndexRequest, ListedImage,
    LoadedImage, Shelf, inspect, statements,
};
pub use import::layout_tag;
pub use login::{login, logout, reach};
pub use machine::{HostFiles, LoginPlace, Machine};
pub use main_context::{Input, MainContext, MainFile, read};
pub use outline::{Answer, outline, targets};
pub use planning::{Plan, plan};
pub use preflight::preflight;
pub use request::BuildRequest;
pub use rescue::Shells;
pub use room::make_room;
pub use run::{Solved, run};
pub use survey::survey;
pub use tasks::all as tasks;
pub use verify::{DifferentByte, ImageDifference, Verdict, verify, verify_request};
pub use wiring::{existing_store, remove_leftovers, store as open_store};
