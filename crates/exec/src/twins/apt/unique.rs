//! Places that must be the only ones of their kind.

/// Returns the only item; `None` if there is another one, or none.
pub(super) fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}
