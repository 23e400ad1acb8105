//! The documents of an image, for display.

use std::sync::Arc;

use xbuild_image::{FoundStatement, Inspection, Layout};
use xbuild_model::{Cancel, Platform, Reference};

use super::stored::StoredImage;
use crate::error::{ImageError, InspectError};
use crate::events::{Event, Events};
use crate::import::{Place, place};
use crate::machine::Machine;
use crate::wiring;

/// Reads the documents of an image: of the store if it has the name, and the platform if there is
/// one. `events` takes warnings.
pub fn inspect(
    machine: &Machine,
    name: &str,
    platform: Option<&Platform>,
    events: &Arc<dyn Events>,
) -> Result<Inspection, InspectError> {
    let place = place(name)?;
    if let Place::Name(reference) = &place
        && let Some(found) = stored(machine, reference, platform, events)?
    {
        return Ok(found);
    }
    match place {
        Place::Name(reference) | Place::Registry(reference) => {
            let client = wiring::client(machine, None, events, Cancel::default());
            Ok(client.inspect(&reference).map_err(ImageError::from)?)
        }
        Place::Layout(path, tag) => {
            let layout = Layout::open(&path).map_err(ImageError::from)?;
            Ok(layout.inspect(tag.as_deref()).map_err(ImageError::from)?)
        }
    }
}

/// Reads the statements about the images that [`inspect`] has found, at the same place.
pub fn statements(
    machine: &Machine,
    name: &str,
    found: &Inspection,
    events: &Arc<dyn Events>,
) -> Result<Vec<FoundStatement>, InspectError> {
    let place = place(name)?;
    if let Place::Name(reference) = &place
        && let Some(store) = wiring::existing_store(machine, events)?
        && let Some(record) = store.image(&reference.to_string()).map_err(ImageError::from)?
    {
        let image = StoredImage { store: &store, record: &record, client: None };
        return Ok(xbuild_image::statements(&image, found)?);
    }
    match place {
        Place::Name(reference) | Place::Registry(reference) => {
            let client = wiring::client(machine, None, events, Cancel::default());
            let documents = client.documents(&reference).map_err(ImageError::from)?;
            Ok(xbuild_image::statements(&documents, found).map_err(ImageError::from)?)
        }
        Place::Layout(path, tag) => {
            let layout = Layout::open(&path).map_err(ImageError::from)?;
            let documents = layout.documents(tag.as_deref()).map_err(ImageError::from)?;
            Ok(xbuild_image::statements(&documents, found).map_err(ImageError::from)?)
        }
    }
}

/// Reads the documents that the store has of an image.
fn stored(
    machine: &Machine,
    reference: &Reference,
    platform: Option<&Platform>,
    events: &Arc<dyn Events>,
) -> Result<Option<Inspection>, InspectError> {
    let Some(store) = wiring::existing_store(machine, events)? else { return Ok(None) };
    let record = store.image(&reference.to_string()).map_err(ImageError::from)?;
    let Some(record) = record else { return Ok(None) };
    let image = StoredImage { store: &store, record: &record, client: None };
    if let Some(platform) = platform {
        let Some(image) = image.resolve(platform)? else { return Ok(None) };
        events.event(Event::Base { image: &image, is_stored: true });
    }
    Ok(Some(xbuild_image::inspect(&image)?))
}
