//! Validators: they tell whether a file has changed since its last download.
//!
//! A server that answers 304 is believed only where its answer proves that the bytes are the same.
//! Many servers compare dates with "not newer than", so a file that went back to an older version
//! is "not modified" for them.
//!
//! **Source** — RFC 9110 § 8.8 Validator Fields, § 13 Conditional Requests, § 15.4.5.

use std::time::SystemTime;

use reqwest::Url;
use reqwest::header::{
    DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use xbuild_model::Digest;

use crate::date::parse_date;

/// Bytes of a validator; longer ones are not kept.
const MAX_VALIDATOR: usize = 1024;

/// The names that a server gives a version of a file, to ask later whether there is a newer one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header.
    pub last_modified: Option<String>,
    /// Whether the answer is at least a second younger than `last_modified`: then no other version
    /// has that date (RFC 9110 § 8.8.2.2).
    pub settled: bool,
    /// A hash of the URL that the file came from, after all redirects, without its query.
    pub url: Option<Digest>,
    /// A hash of that URL's query, which may hold a signature.
    pub query: Option<Digest>,
}

/// The validator that is proof for a URL.
enum Proof<'a> {
    /// The strong `ETag`.
    Tag(&'a str),
    /// The `Last-Modified` date, and the weak `ETag` if there is one.
    Date(&'a str, Option<&'a str>),
}

impl Validators {
    /// Returns the time of the last change in seconds since 1970, if the server names it in the
    /// preferred form of RFC 9110.
    pub fn modified(&self) -> Option<u64> {
        parse_date(self.last_modified.as_deref()?)
    }

    /// Returns the validators of an answer that came from `url` at the time `now`.
    pub(super) fn of(url: &Url, headers: &HeaderMap, now: SystemTime) -> Self {
        let last_modified = text(headers, LAST_MODIFIED);
        let received = || now.duration_since(SystemTime::UNIX_EPOCH).ok().map(|d| d.as_secs());
        let made = match text(headers, DATE) {
            Some(date) => parse_date(&date),
            None => received(),
        };
        let modified = last_modified.as_deref().and_then(parse_date);
        let settled = modified.zip(made).is_some_and(|(modified, made)| modified < made);
        let (url, query) = place(url);
        Self { etag: text(headers, ETAG), last_modified, settled, url: Some(url), query }
    }

    /// Returns the headers that ask `url` for another version than this one; none if no answer
    /// could prove that it is still this one.
    pub(super) fn conditions(&self, url: &Url) -> HeaderMap {
        let (date, tag) = match self.proof(url) {
            None => (None, None),
            Some(Proof::Tag(tag)) => (None, Some(tag)),
            Some(Proof::Date(date, tag)) => (Some(date), tag),
        };
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        headers.extend(tag.and_then(value).map(|value| (IF_NONE_MATCH, value)));
        headers.extend(date.and_then(value).map(|value| (IF_MODIFIED_SINCE, value)));
        headers
    }

    /// Returns whether a 304 of `url` proves that the file is still this version.
    ///
    /// A server compares tags weakly (RFC 9110 § 13.1.2) and dates as it likes, so the tag and the
    /// date that the 304 itself names count.
    pub(super) fn are_confirmed(&self, url: &Url, answer: &HeaderMap) -> bool {
        if answer.contains_key(ETAG) && text(answer, ETAG) != self.etag {
            return false;
        }
        match self.proof(url) {
            None => false,
            Some(Proof::Tag(_)) => true,
            Some(Proof::Date(date, _)) => text(answer, LAST_MODIFIED).as_deref() == Some(date),
        }
    }

    /// Returns the validator that `url` may be asked with.
    ///
    /// A tag means something for one resource only, and redirects lead elsewhere one day. The query
    /// may differ for a tag, since stores sign each URL anew.
    fn proof(&self, url: &Url) -> Option<Proof<'_>> {
        let (url, query) = place(url);
        if self.url != Some(url) {
            return None;
        }
        let tag = self.etag.as_deref();
        match (tag, &self.last_modified) {
            (Some(tag), _) if is_strong(tag) => Some(Proof::Tag(tag)),
            (_, Some(date)) if self.settled && self.query == query => Some(Proof::Date(date, tag)),
            _ => None,
        }
    }
}

/// Returns whether a tag is strong: quoted, not empty, without `W/`.
fn is_strong(tag: &str) -> bool {
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.is_empty() && !inner.contains('"'))
}

/// Returns the hashes of a URL without its query, and of its query.
fn place(url: &Url) -> (Digest, Option<Digest>) {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    (Digest::of(bare.as_str().as_bytes()), url.query().map(|query| Digest::of(query.as_bytes())))
}

/// Returns a header that has a value of a sensible length.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty() && text.len() <= MAX_VALIDATOR).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    /// Asks `to` after an answer of `from` with the headers `got`; returns the names of the
    /// conditions, and whether a 304 with the headers `answer` is believed.
    fn ask(
        (from, to): (&str, &str),
        got: &[(&str, &str)],
        answer: &[(&str, &str)],
    ) -> (Vec<String>, bool) {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let known = Validators::of(&from, &headers(got), SystemTime::now());
        let names = known.conditions(&to).keys().map(ToString::to_string).collect();
        (names, known.are_confirmed(&to, &headers(answer)))
    }

    #[test]
    fn a_strong_tag_is_proof_and_a_date_only_if_the_answer_has_it() {
        let same = ("http://h/f", "http://h/f");
        let (tag, weak) = (("etag", "\"1\""), ("etag", "W/\"1\""));
        let (date, other) = (("last-modified", OLD), ("last-modified", NEW));
        for (got, answer, conditions, believed) in [
            (&[tag][..], &[][..], &["if-none-match"][..], true),
            (&[tag, date], &[], &["if-none-match"], true),
            (&[tag, date], &[tag, other], &["if-none-match"], true),
            // The server compared weakly, or means another version.
            (&[tag], &[weak], &["if-none-match"], false),
            (&[tag, date], &[("etag", "\"2\""), date], &["if-none-match"], false),
            (&[date], &[date], &["if-modified-since"], true),
            (&[date], &[], &["if-modified-since"], false),
            (&[date], &[other], &["if-modified-since"], false),
            (&[date], &[date, tag], &["if-modified-since"], false),
            (&[weak, date], &[weak, date], &["if-none-match", "if-modified-since"], true),
            (&[weak, date], &[weak], &["if-none-match", "if-modified-since"], false),
            (&[weak], &[weak], &[], false),
            (&[("etag", "1")], &[("etag", "1")], &[], false),
            (&[("etag", "\"\"")], &[("etag", "\"\"")], &[], false),
            (&[], &[], &[], false),
            // In the second of the change there may be another one.
            (&[date, ("date", OLD)], &[date], &[], false),
            (&[date, ("date", NEW)], &[date], &["if-modified-since"], true),
            (&[date, ("date", "yesterday")], &[date], &[], false),
            (&[("last-modified", "now")], &[("last-modified", "now")], &[], false),
        ] {
            let asked = ask(same, got, answer);
            assert_eq!(asked.0, conditions, "{got:?} {answer:?}");
            assert_eq!(asked.1, believed, "{got:?} {answer:?}");
        }
    }

    #[test]
    fn the_validators_of_one_url_say_nothing_about_another() {
        let (tag, date) = ([("etag", "\"1\"")], [("last-modified", OLD)]);
        for (from, to, by_tag, by_date) in [
            ("http://h/f", "http://h/f#x", true, true),
            ("http://h/f?signature=1", "http://h/f?signature=2", true, false),
            ("http://h/v2", "http://h/v1", false, false),
            ("http://h/f", "http://g/f", false, false),
            ("http://h/f", "https://h/f", false, false),
        ] {
            for (got, expected) in [(tag, by_tag), (date, by_date)] {
                let (conditions, believed) = ask((from, to), &got, &got);
                assert_eq!((!conditions.is_empty(), believed), (expected, expected), "{from} {to}");
            }
        }
    }
}
