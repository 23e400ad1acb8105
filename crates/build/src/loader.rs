//! Loading an image into a container engine of this machine: docker by its API, podman by its
//! program or, without that, by the same API.
//!
//! An archive is sent that lacks the layers which the engine has. Docker and podman look for the
//! layer before they open its file in the archive, so they miss none. What an engine has is known by
//! its images: if one of them begins with the same layers, these are there. Whatever goes wrong with
//! such an archive, the whole one is sent.
//!
//! **Source** — moby, `image/tarexport/load.go`: a layer is looked up by its chain ID first;
//! containers/image, `copy`: a blob of a known digest is not copied.

mod engine;
mod find;
mod known;
mod podman;

pub(crate) use engine::Loaded;
pub(crate) use find::find;
