//! Functions of digests and identifiers.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use uuid::Uuid;
use xbuild_wording::quoted;

use super::args::{Args, Native};
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("md5", digest::<Md5>),
    ("sha1", digest::<Sha1>),
    ("sha256", digest::<Sha256>),
    ("sha512", digest::<Sha512>),
    ("uuidv4", |args| {
        args.count(0)?;
        let uuid = uuid::Builder::from_random_bytes((args.world.random)()).into_uuid();
        Ok(Value::text(uuid.to_string()))
    }),
    ("uuidv5", |args| {
        args.count(2)?;
        let namespace = match args.text(0)?.as_str() {
            "dns" => Uuid::NAMESPACE_DNS,
            "url" => Uuid::NAMESPACE_URL,
            "oid" => Uuid::NAMESPACE_OID,
            "x500" => Uuid::NAMESPACE_X500,
            other => Uuid::parse_str(other).map_err(|_| {
                format!(
                    "{other} is no namespace: expected dns, url, oid, x500 or a UUID",
                    other = quoted(&other)
                )
            })?,
        };
        Ok(Value::text(Uuid::new_v5(&namespace, args.text(1)?.as_bytes()).to_string()))
    }),
];

fn digest<D: Digest>(args: &Args<'_>) -> Result<Value, String> {
    args.count(1)?;
    let bytes = D::digest(args.text(0)?);
    Ok(Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}
