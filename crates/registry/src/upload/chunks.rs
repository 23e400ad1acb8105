//! Sending the bytes of a blob: whole, the rest of a broken upload, or in chunks.

use reqwest::Method;
use reqwest::header::HeaderValue;
use xbuild_model::Descriptor;

use super::{OpenAt, Position, Session, UploadError, Uploads, arrived};

impl Uploads<'_> {
    /// Sends the bytes from a position on and completes the upload. The position moves along.
    ///
    /// A whole blob goes in one PUT, or in a PATCH if the registry does not take that. Chunks, and the
    /// rest of a broken upload, go in PATCHes, because only a PATCH may name the byte at which it begins.
    pub(super) fn send(
        &self,
        blob: &Descriptor,
        at: &mut Position,
        open: &OpenAt<'_>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), UploadError> {
        let limit = self.connections.chunk_size(self.endpoint).into_iter().chain(at.session.limit);
        let limit = limit.min().unwrap_or(u64::MAX);
        let begin = at.offset;
        let is_split = begin > 0 || blob.size > limit || self.patches.get();
        while at.offset < blob.size && is_split {
            self.send_chunk(blob, at, limit, open, sent)?;
        }
        at.is_whole = at.offset == 0 && blob.size > 0;
        let mut end = at.session.clone();
        end.url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let rest = (at.offset, Some(blob.size - at.offset));
        self.stream(Method::PUT, end, None, rest, open, sent).map(drop)
    }

    fn send_chunk(
        &self,
        blob: &Descriptor,
        at: &mut Position,
        limit: u64,
        open: &OpenAt<'_>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), UploadError> {
        let length = limit.min(blob.size - at.offset);
        let end = at.offset + length;
        let range = HeaderValue::try_from(format!("{}-{}", at.offset, end - 1));
        // A whole blob goes without, as container engines have always sent it.
        let range = (length < blob.size).then(|| range.expect("numbers are ASCII"));
        let part = (at.offset, Some(length));
        let answer = self.stream(Method::PATCH, at.session.clone(), range, part, open, sent)?;
        let next = self.session(&answer).map_err(UploadError::Request)?;
        at.session = Session { limit: next.limit.or(at.session.limit), ..next };
        // A registry may have kept less than it was sent, but not go back.
        let kept = arrived(answer.headers()).filter(|kept| (at.offset + 1..end).contains(kept));
        at.offset = kept.unwrap_or(end);
        Ok(())
    }
}
