//! The packages of an image.

use std::collections::BTreeMap;

use super::package::{Listing, Package, Unread};
use super::system::System;

/// The place of a file in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePlace {
    /// Its path, without a leading slash.
    pub path: String,
    /// The diff ID of its layer.
    pub layer: String,
}

/// The packages of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The system.
    pub system: System,
    /// By the URL of a package: the package, and the files that tell of it.
    pub(super) packages: BTreeMap<String, (Package, Vec<FilePlace>)>,
    pub(super) unread: Vec<(String, Unread)>,
}

impl Inventory {
    /// Begins the packages of an image with this system.
    pub fn new(system: System) -> Self {
        Self { system, ..Self::default() }
    }

    /// Adds the packages of a file.
    pub fn add(&mut self, place: &FilePlace, read: Listing) {
        self.unread.extend(read.unread.map(|why| (place.path.clone(), why)));
        for package in read.packages.into_iter().filter(|package| !package.name.is_empty()) {
            let key = package.purl.to_string();
            let (_, places) = self.packages.entry(key).or_insert((package, Vec::new()));
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
    }

    /// Returns how many packages there are.
    pub fn len(&self) -> usize {
        self.packages.len()
    }

    /// Returns whether there are no packages.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Returns the files whose packages are not all known, each with the reason.
    pub fn unread(&self) -> &[(String, Unread)] {
        &self.unread
    }
}
