//! Bake files: many builds in one file, as `docker buildx bake` reads them.
//!
//! Files and what is given from outside become a [`Config`], and this a [`Selection`]: targets with all
//! their attributes. Nothing is read here and nothing is built.
//!
//! **Source** — buildx 0.36: `docs/bake-reference.md`, `docs/bake-stdlib.md`,
//! `docs/reference/buildx_bake.md`.
//!
//! ```
//! use xbuild_bake::{Config, File, Given, Overrides, World};
//!
//! let text = "variable \"TAG\" { default = \"1\" }\ntarget \"default\" { tags = [\"app:${TAG}\"] }\n";
//! let file = File { name: "docker-bake.hcl".to_owned(), text: text.to_owned() };
//! let given = Given {
//!     variables: [("TAG".to_owned(), "2".to_owned())].into(),
//!     environment: &|_| None,
//!     files: &|_| Ok(None),
//!     built_in: [].into(),
//!     world: World { now: 0, home: "/root".to_owned(), random: || [0; 16] },
//! };
//! let config = Config::read(&[file], &given)?;
//! let selection = config.select(&[], &Overrides::default())?;
//! assert_eq!(selection.targets["default"].tags.as_deref(), Some(&["app:2".to_owned()][..]));
//! # Ok::<(), xbuild_bake::BakeError>(())
//! ```

mod compose;
mod config;
mod convert;
mod definition;
mod entries;
mod error;
mod eval;
mod functions;
mod given;
mod hcl;
mod hcl_json;
mod json;
mod local;
mod number;
mod operators;
mod outside;
mod overrides;
mod pattern;
mod place;
mod read;
mod resolve;
mod scope;
mod selection;
mod similar;
mod syntax;
mod target;
mod unify;
mod value;

pub use compose::{
    Manner, Project, ProjectName, Service, Setting, VariableFile, add_variables,
    normal_project_name,
};
pub use config::{Config, DEFAULT_FILES, File, Group, VariableInfo};
pub use entries::{Options, Secret, Ssh, shorthand as attestation_shorthand};
pub use error::{BakeError, Reason};
pub use given::{Given, World};
pub use local::is_local as is_local_path;
pub use overrides::Overrides;
pub use place::Place;
pub use selection::Selection;
pub use target::{Pairs, Target};
