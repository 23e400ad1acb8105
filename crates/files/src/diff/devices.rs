//! Telling stand-ins for devices from files that only claim to be stand-ins.
//!
//! Everyone who may write to a file can set the attribute, even users who could not make a device
//! on a real system. So a device counts only if the command's root was seen making it, or if the
//! layers below have it already.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use xbuild_layer::path;
use xbuild_model::device::{ATTRIBUTE, Device};

use crate::root::{Root, remove, xattr};

/// The devices that an upper folder may have.
pub(super) struct Devices<'a> {
    made: &'a BTreeSet<Device>,
    lowers: &'a [Root],
    hidden: &'a [PathBuf],
    /// Whether false claims stay.
    stays: bool,
    /// The devices of the lower folders, once they are needed.
    below: Option<BTreeSet<Device>>,
}

impl<'a> Devices<'a> {
    pub fn new(
        made: &'a BTreeSet<Device>,
        lowers: &'a [Root],
        hidden: &'a [PathBuf],
        stays: bool,
    ) -> Self {
        Self { made, lowers, hidden, stays, below: None }
    }

    /// Returns the device that a file of the upper folder stands in for. A false claim is removed:
    /// the folder will become a lower one, where all claims count.
    pub fn claimed(&mut self, file: &File) -> io::Result<Option<Device>> {
        let Some(value) = xattr(file.as_fd(), ATTRIBUTE)? else { return Ok(None) };
        if let Some(device) = Device::parse(&value)
            && (self.made.contains(&device) || self.is_below(&device)?)
        {
            return Ok(Some(device));
        }
        if !self.stays {
            remove(file.as_fd(), ATTRIBUTE.as_bytes())?;
        }
        Ok(None)
    }

    fn is_below(&mut self, device: &Device) -> io::Result<bool> {
        if self.below.is_none() {
            let mut found = BTreeSet::new();
            for lower in self.lowers {
                collect(lower, &mut found)?;
            }
            for path in self.hidden {
                collect(&Root::open(path)?, &mut found)?;
            }
            self.below = Some(found);
        }
        Ok(self.below.as_ref().is_some_and(|below| below.contains(device)))
    }
}

/// Returns the device that a file of a lower folder stands in for.
pub(super) fn device_of(file: &File) -> io::Result<Option<Device>> {
    Ok(xattr(file.as_fd(), ATTRIBUTE)?.and_then(|value| Device::parse(&value)))
}

/// Adds all devices of a lower folder.
fn collect(lower: &Root, found: &mut BTreeSet<Device>) -> io::Result<()> {
    let mut todo = vec![Vec::new()];
    while let Some(at) = todo.pop() {
        let folder = lower.dir(&at)?;
        for entry in folder.read_dir(b"")? {
            let stat = folder.stat(&entry.name)?;
            if stat.is_dir() {
                todo.push(path::join(&at, &entry.name));
            } else if stat.is_file() {
                found.extend(device_of(&folder.open_file(&entry.name)?)?);
            }
        }
    }
    Ok(())
}
