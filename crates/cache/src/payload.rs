//! The bytes that a signature covers.

use xbuild_model::Descriptor;

/// Fields, each with its length before it, so that no two lists of fields are the same bytes.
#[derive(Debug)]
pub(crate) struct Payload(Vec<u8>);

impl Payload {
    /// Begins a payload of one kind; signatures of one kind are none of another.
    pub(crate) fn new(kind: &str) -> Self {
        Self(Vec::new()).text(kind)
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.text(&number.to_string())
    }

    /// Adds what a descriptor says about its blob; not its annotations.
    pub(crate) fn descriptor(self, blob: &Descriptor) -> Self {
        self.text(&blob.media_type).text(&blob.digest.to_string()).number(blob.size)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Payload::new("k").text("ab").text("c");
        let other = Payload::new("k").text("a").text("bc");
        assert_ne!(one.bytes(), other.bytes());
        assert_ne!(Payload::new("k").text("").bytes(), Payload::new("k").bytes());
    }
}
