//! Images of the store: names that builds, pulls, loads and users gave, and what they stand for.

mod bases;
mod index;
mod inspect;
pub(crate) mod keep;
mod listing;
mod parts;
mod shelf;
mod stored;
mod transfer;

pub(crate) use bases::Bases;
pub use index::{IndexChange, IndexMade, IndexPlace, IndexRequest};
pub use inspect::inspect;
pub use listing::ListedImage;
pub use shelf::Shelf;
