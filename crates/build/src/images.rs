//! Images of the store: names that builds, pulls, loads and users gave, and what they stand for.

mod bases;
mod copy;
pub(crate) mod docker_form;
mod index;
mod index_add;
mod inspect;
pub(crate) mod keep;
mod listing;
mod load;
mod parts;
mod save;
mod shelf;
mod sibling;
mod stored;
mod transfer;

pub(crate) use bases::Bases;
pub use copy::ImagePlace;
pub use index::{IndexChange, IndexMade, IndexPlace, IndexRequest};
pub use inspect::{inspect, statements};
pub use listing::ListedImage;
pub use load::LoadedImage;
pub use save::ArchiveForm;
pub use shelf::Shelf;
pub(crate) use sibling::sibling;
